"""The correlation id of the request at hand: accepted or made, bound for its duration, and always reset."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Mapping
from contextvars import ContextVar, Token
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from sagaz_integration_core.context.identifiers import random_uuid

__all__ = [
    "Binding",
    "BoundContext",
    "Mirror",
    "accept",
    "bind",
    "bound",
    "correlation_id",
    "current",
    "mirror_to",
    "unbind",
]

_is_safe = re.compile(r"[A-Za-z0-9._~:/+=@-]{1,128}").fullmatch
_NOTHING: Mapping[str, object] = MappingProxyType({})
_logger = logging.getLogger(__name__)
_refused = itertools.count(1)


class BoundContext(NamedTuple):
    """What is known of the request at hand; a `RequestContext`.

    Attributes:
        correlation_id: Ties the request's log records, runs and events together.
        propagate: Whether the id is also put into the context of the sagas that the request starts.
        values: What else was bound, here or around; a `Mirror` sees it too.
    """

    correlation_id: str
    propagate: bool = True
    values: Mapping[str, object] = _NOTHING


_current: ContextVar[BoundContext | None] = ContextVar("sagaz_request", default=None)


class Mirror(Protocol):
    """Another library's own request context, which is to show what is bound here."""

    def push(self, correlation_id: str, values: Mapping[str, object]) -> Any:
        """Show these values besides what it shows already; return what `pop` needs, None when nobody looks."""
        ...

    def pop(self, token: Any) -> None:
        """Put back what it showed before, also in another `contextvars.Context`; raises nothing."""
        ...


_mirror: Mirror | None = None


class Binding:
    """What `unbind` needs to put everything back."""

    __slots__ = ("context", "mirrored", "token")

    def __init__(self, context: BoundContext, token: Token[BoundContext | None], mirrored: Any) -> None:
        self.context = context
        self.token = token
        self.mirrored = mirrored


def accept(value: str | bytes | None) -> str:
    """Return the correlation id that a header carries if it is a safe one, else a fresh one.

    Args:
        value: The header's value; None when there is none. One that is not safe is counted in a log line, without
            the value: 1 to 128 characters out of letters, digits and ``. _ ~ : / + = @ -`` are.
    """
    if value is None:
        return random_uuid()
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    return text if _is_safe(text) else _replacement()


def bind(correlation_id: str, *, propagate: bool = True, values: Mapping[str, object] = _NOTHING) -> Binding:
    """Make this the request at hand, until `unbind`; `bound` does both.

    Args:
        correlation_id: As `accept` returned it.
        propagate: Whether the sagas that the request starts get it into their context.
        values: What else a `Mirror` is to show; what is bound around stays visible.
    """
    outer = _current.get()
    if outer is not None and outer.values:
        values = {**outer.values, **values}
    context = BoundContext(correlation_id, propagate, values)
    mirrored = None if _mirror is None else _mirror.push(correlation_id, values)
    return Binding(context, _current.set(context), mirrored)


def unbind(binding: Binding) -> None:
    """Put back what was bound before; harmless a second time, and in another Context than the binding's.

    The body of a streaming response ends in a copy of the request's Context, and an abandoned generator in whatever
    Context the garbage collector runs; the latter may belong to another request, which is left alone.
    """
    try:
        _current.reset(binding.token)
    except ValueError:
        if _current.get() is not binding.context:
            return
        outer = binding.token.old_value
        _current.set(None if outer is Token.MISSING else outer)
    except RuntimeError:
        return
    if binding.mirrored is not None and _mirror is not None:
        _mirror.pop(binding.mirrored)


class bound:
    """Make this the request at hand within a ``with`` block; see `bind`.

    No generator with `contextlib`, which sets the traceback of what leaves the block: a frozen exception refuses that.
    """

    def __init__(self, correlation_id: str, *, propagate: bool = True, values: Mapping[str, object] = _NOTHING) -> None:
        self._given = correlation_id, propagate, values
        self._binding: Binding | None = None

    def __enter__(self) -> BoundContext:
        """Bind it, as `bind` does."""
        correlation_id, propagate, values = self._given
        self._binding = bind(correlation_id, propagate=propagate, values=values)
        return self._binding.context

    def __exit__(self, *raised: object) -> None:
        """Put back what was bound before."""
        if self._binding is not None:
            unbind(self._binding)


def current() -> BoundContext | None:
    """Return the request at hand, if there is one."""
    return _current.get()


def correlation_id() -> str | None:
    """Return the correlation id of the request at hand, if there is one."""
    context = _current.get()
    return None if context is None else context.correlation_id


def mirror_to(mirror: Mirror) -> None:
    """Have another request context of this process show what is bound from now on; an engine does so once."""
    global _mirror
    _mirror = mirror


def _replacement() -> str:
    fresh = random_uuid()
    _logger.warning(
        "A request's correlation id was replaced by %s: expected 1 to 128 characters out of A-Z a-z 0-9 . _ ~ : / + = "
        "@ - in the header (number %d since this process started)",
        fresh,
        next(_refused),
    )
    return fresh
