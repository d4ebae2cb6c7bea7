"""The methods of registered sagas that want events of a source, and what each makes of one."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Callable, Iterator, Mapping
from inspect import isawaitable, iscoroutinefunction
from typing import TYPE_CHECKING, Any

from sagaz_durable import ContextLike
from sagaz_durable._upstream.triggers import Trigger, listeners
from sagaz_durable.calls.interpreter_exit import stops_the_process
from sagaz_durable.masked_errors import masked_error
from sagaz_durable.serialization.client_ids import check_identifier
from sagaz_durable.serialization.model_fields import is_model_class
from sagaz_durable.webhooks.resuming import Place, Resuming
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.error_text import value_text, visible
from sagaz_integration_core.errors import InvalidInput

if TYPE_CHECKING:
    from sagaz_durable.engine.registry import Registration, SagaRegistry

__all__ = ["Handler", "Hook", "NotUsable", "handlers_of"]

logger = logging.getLogger(__name__)

Hook = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Makes a function callable as its framework calls the application's; what it returns is awaited if it can be."""

_MOST_REASON = 500


class NotUsable(Exception):
    """An event cannot be used as a handler means it; says why, for operators."""


@record
class _Raised:
    """What a plain function has raised in a thread, which the event loop's thread is not to raise again."""

    error: BaseException


@record
class Handler:
    """One method that wants events of a source."""

    registration: Registration
    method: str
    declared: Trigger | Resuming

    @property
    def name(self) -> str:
        """Saga and method, as it is recorded."""
        return f"{self.registration.name}.{self.method}"

    async def meaning(self, event: Any, hook: Hook) -> ContextLike | None:
        """Return what the method makes of an event: a context or a payload, or None.

        Raises:
            NotUsable: It raises something, or returns something else.
        """
        try:
            # Each has its own: what one does to it, no other one sees.
            returned = hook(_telling(getattr(self.registration.create(), self.method)))(copy.deepcopy(event))
            returned = await returned if isawaitable(returned) else returned
        except BaseException as error:
            if _is_from_outside(error):
                raise
            raise NotUsable(f"{self.name} raised {_shown(error)}") from error
        if isinstance(returned, _Raised):
            raise NotUsable(f"{self.name} raised {_shown(returned.error)}") from returned.error
        if returned is not None and not isinstance(returned, Mapping) and not is_model_class(type(returned)):
            raise NotUsable(f"{self.name} returned {value_text(returned, 80)}; expected a dict or a model, or None")
        meant: ContextLike | None = returned
        return meant

    def address(self, what: str, place: Place, event: Any) -> str:
        """Return a key or an id that the event has: a text, or a whole number as text.

        Raises:
            NotUsable: It has none, or has something else there.
        """
        try:
            found = place(copy.deepcopy(event)) if callable(place) else _member(event, place)
        except BaseException as error:
            if _is_from_outside(error):
                raise
            raise NotUsable(f"{self.name}: {what} raised {_shown(error)}") from error
        if found is None or found == "":
            where = "" if callable(place) else f" in its member {place!r}"
            raise NotUsable(f"{self.name}: the event has no {what}{where}")
        # Of others the text is Python's, and says less than what it is of: True, 1.0, the order of an object's members.
        if not isinstance(found, str | int) or isinstance(found, bool):
            raise NotUsable(
                f"{self.name}: the event's {what} is a {type(found).__name__}; expected a text or a whole number"
            )
        try:
            address = str(found)
            check_identifier(f"{self.name}: the event's {what}", address)
        except InvalidInput as error:
            raise NotUsable(str(error)) from None
        except ValueError:
            raise NotUsable(f"{self.name}: the event's {what} is a number of too many digits") from None
        return address


def _telling(function: Callable[..., Any]) -> Callable[..., Any]:
    """Have a plain function return what it raises, unless that stops the process.

    A framework calls it in a thread and raises what it has raised on its event loop: there, a SystemExit of a function
    is taken for one that ends the server.
    """
    if iscoroutinefunction(function):
        return function

    def call(event: Any) -> Any:
        try:
            return function(event)
        except BaseException as error:
            if stops_the_process(error):
                raise
            return _Raised(error)

    return call


def handlers_of(registry: SagaRegistry, source: str) -> Iterator[Handler]:
    """Yield all of a source, in the order of their sagas' names."""
    for registration in registry:
        for method, declared in listeners(registration.saga_class):
            if declared.source == source:
                yield Handler(registration, method, declared)


def _member(event: Any, name: str) -> Any:
    return event.get(name) if isinstance(event, dict) else None


def _is_from_outside(error: BaseException) -> bool:
    """Whether it ends the request or the process, and is not what the application's function raised by itself."""
    if isinstance(error, asyncio.CancelledError):
        return _is_cancelled()
    return isinstance(error, GeneratorExit) or stops_the_process(error)


def _is_cancelled() -> bool:
    try:
        task = asyncio.current_task()
    except RuntimeError:
        # Without an event loop, as in synchronous servers, nobody cancels a request.
        return False
    return task is not None and task.cancelling() > 0


def _shown(error: BaseException) -> str:
    return visible(masked_error(error), _MOST_REASON)
