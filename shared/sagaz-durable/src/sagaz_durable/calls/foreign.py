"""Looking at exceptions and values of others by the interpreter's own hand, whatever their classes make of it.

A class may answer for ``__class__``, ``__cause__`` or ``__eq__`` itself, and raise: `isinstance`, attributes and
comparisons would ask it, and what comes out of that would pass for an error of ours.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from sagaz_durable.masked_errors import masked_error
from sagaz_integration_core.errors import StepError

__all__ = ["cause_of", "chain", "is_a", "is_awaitable", "is_unread", "members", "sent", "traceback_of"]

_cause: Any = vars(BaseException)["__cause__"].__get__
_context: Any = vars(BaseException)["__context__"].__get__
_exceptions: Any = vars(BaseExceptionGroup)["exceptions"].__get__
traceback_of: Any = vars(BaseException)["__traceback__"].__get__


def is_a(error: BaseException, *kinds: type[BaseException]) -> bool:
    """Return whether an exception is an instance of one of these classes."""
    return issubclass(type(error), kinds)


def cause_of(error: BaseException) -> BaseException | None:
    """Return what an exception was raised from, or while that was handled."""
    found: BaseException | None = _cause(error)
    if found is None:
        found = _context(error)
    return found


def members(error: BaseException) -> Iterator[BaseException]:
    """Return an exception, and those that it groups."""
    return _each(error, causes=False)


def chain(error: BaseException) -> Iterator[BaseException]:
    """Return an exception, those that it groups, and what each of them came from."""
    return _each(error, causes=True)


def _each(error: BaseException, *, causes: bool) -> Iterator[BaseException]:
    # A module may keep an exception, and it grow with each use; groups may share their members.
    todo: list[BaseException] = [error]
    seen: set[int] = set()
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if is_a(one, BaseExceptionGroup):
            todo.extend(_exceptions(one))
        if causes and (cause := cause_of(one)) is not None:
            todo.append(cause)


def sent(error: Exception) -> Exception:
    """Return an exception as it passes the ``with`` blocks of others, unchanged wherever that is possible.

    What `contextlib` makes of generators sets its traceback; a frozen dataclass refuses that, and what it raises then
    would pass for an error of the block's own.
    """
    try:
        error.__traceback__ = traceback_of(error)
    except Exception:
        return StepError(masked_error(error))
    return error


def is_awaitable(value: object) -> bool:
    """Return whether a value is to be awaited; one that cannot be asked is not."""
    try:
        return inspect.isawaitable(value)
    except BaseException as error:
        if is_a(error, KeyboardInterrupt, SystemExit):
            raise
        return False


def is_unread(value: object) -> bool:
    """Return whether a value does something only when somebody awaits it, or iterates over it."""
    return is_awaitable(value) or issubclass(type(value), GeneratorType | AsyncGeneratorType)
