"""What a step's call is given, what came of it, and what of it can be kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

from sagaz_durable._upstream.instances import Prepared
from sagaz_durable.calls.context_values import changes
from sagaz_durable.calls.foreign import is_awaitable
from sagaz_durable.calls.interpreter_exit import stops_the_process
from sagaz_durable.calls.waits import CallWaits
from sagaz_durable.contexts.context_types import ContextTypes, Handed
from sagaz_durable.contexts.misfit import Misfit
from sagaz_durable.contexts.models import as_values
from sagaz_durable.masked_errors import masked_error
from sagaz_durable.outbox.run_events import EventLog
from sagaz_durable.serialization import codec
from sagaz_durable.serialization.diagnostics import Refused
from sagaz_durable.serialization.model_fields import is_model_class
from sagaz_durable.settings.wording import Wording
from sagaz_integration_core.contract.events import EventWrite
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.error_text import type_name
from sagaz_integration_core.errors import ContextValueError, StepError

__all__ = ["Given", "Recordable", "Tried", "assigned", "fitting", "not_awaited", "recordable"]


@record
class Given:
    """What one call is given.

    Attributes:
        values: The context as the journal has it; not to be changed.
        context: What the step gets: a dict, or an instance of the type that the saga declares.
        before: The values of that, by which changes are seen.
    """

    values: dict[str, Any]
    context: Any
    before: dict[str, Any]


@record
class Tried:
    """What came of a call, and of the context that it was given.

    Attributes:
        before: The values of the context before the call.
        doubtful: Whether an earlier try, or this one, ended without telling whether it had its effect.
        left: The waits at which it was left; None when it has come to its end.
    """

    value: Any
    error: Exception | None
    context: Any
    before: dict[str, Any]
    doubtful: bool
    left: CallWaits | None = None


@record
class Recordable:
    """What is journaled of a call that returned.

    Attributes:
        text: The JSON of what it has added to the context, None for nothing.
        events: What tells of it.
    """

    text: str | None
    events: tuple[EventWrite, ...]


def recordable(
    step: str, tried: Tried, prepared: Prepared, events: EventLog, max_bytes: int, wording: Wording
) -> Recordable | Exception:
    """Return what is journaled of a call that returned; an exception if it raised, or nothing can be."""
    if tried.error is not None:
        return tried.error
    saga_class = type(prepared.saga)
    encode = partial(codec.encode_result, max_bytes=max_bytes, wording=wording, saga_class=saga_class)
    try:
        returned, result = _result(step, tried, prepared.types, encode)
        return Recordable(encode(result) if result else None, events.step_done(step, returned, saga_class))
    except (ContextValueError, StepError) as error:
        return error
    except BaseException as error:
        # Nothing but what the step has returned or assigned was asked here, and that may answer as it likes.
        if stops_the_process(error):
            raise
        return _unreadable(step, error)


def _unreadable(step: str, error: BaseException) -> StepError:
    failure = StepError(
        f"Step {step!r} has returned, or assigned, what cannot be read: {masked_error(error)}. It was called, so it is "
        "compensated."
    )
    failure.__cause__ = error
    return failure


def _result(
    step: str, tried: Tried, types: ContextTypes | None, encode: Callable[[dict[str, Any]], str]
) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Return what a step has returned, and what it has changed."""
    returned = _returned(step, tried.value)
    if types is None:
        return returned, changes(tried.before, tried.context, returned)
    given = returned
    try:
        assigned, returned = as_values(tried.context), as_values(returned)
    except Refused as refused:
        raise refused.error("the step's result") from None
    if types.is_taken(step, tried.value):
        returned = changes(tried.before, {}, returned)
    changed = changes(tried.before, assigned, returned)
    # Before its types look at it: a list that holds another one ten times, and so on, would keep them busy for ever.
    encode(changed)
    handed = _handed(tried, {} if returned is None or given is None else {name: given[name] for name in returned})
    try:
        return returned, types.result(step, tried.before, changed, returned, "do", handed)
    except Misfit as misfit:
        raise StepError(
            f"Step {step!r} has returned, or assigned, what the types of its saga do not allow: {misfit}. It was "
            "called, so it is compensated."
        ) from misfit


def _handed(tried: Tried, returned: dict[str, Any]) -> Handed:
    models = tuple(one for one in (tried.value, tried.context) if is_model_class(type(one)))
    return Handed({**codec.as_dict(tried.context, "the context"), **returned}, models)


def assigned(step: str, tried: Tried, types: ContextTypes | None) -> dict[str, Any]:
    """Return what the recovery of a step has set in the context that it was given.

    Raises:
        ContextValueError: It cannot be kept, or the types of the saga do not allow it.
    """
    if types is None:
        return changes(tried.before, tried.context, None)
    try:
        set_ = as_values(tried.context)
    except Refused as refused:
        raise refused.error("the context") from None
    return fitting(step, tried.before, changes(tried.before, set_, None), types, _handed(tried, {}))


def fitting(
    step: str,
    before: dict[str, Any],
    changed: dict[str, Any],
    types: ContextTypes | None,
    handed: Handed | None = None,
) -> dict[str, Any]:
    """Return what somebody changes in the context before a step is called again, as the types of the saga have it.

    Raises:
        ContextValueError: They do not allow it.
    """
    if types is None:
        return changed
    try:
        return types.result(step, before, changed, None, "redo", handed or Handed(changed, ()))
    except Misfit as misfit:
        raise ContextValueError(f"the types of its saga do not allow that: {misfit}", misfit.path) from misfit


def _returned(step: str, value: Any) -> dict[str, Any] | None:
    if value is None or issubclass(type(value), dict):
        found: dict[str, Any] | None = value
        return found
    what = f"Step {step!r}"
    if is_awaitable(value):
        raise not_awaited(what, value)
    if not is_model_class(type(value)):
        raise StepError(
            f"{what} returned a {type_name(value)}; a step returns a dict or a model (Pydantic, a dataclass, attrs), "
            "whose fields are merged into the context, or None. It was called, so it is compensated."
        )
    return codec.as_dict(value, "the step's result")


def not_awaited(what: str, value: Any) -> StepError:
    """Return the error of a call that gave back something to be awaited, or iterated over; a coroutine is closed."""
    name, missing, write = type_name(value), "awaited", "return await …"
    kind = type(value)
    if kind is CoroutineType:
        name = f"coroutine ({value.__qualname__})"
        value.close()
    elif issubclass(kind, asyncio.Future):
        value.cancel()
    elif issubclass(kind, GeneratorType | AsyncGeneratorType):
        missing, write = "iterated over", "for one in …: …"
    return StepError(
        f"{what} returned a {name} that nobody {missing}, so what it stands for was not done. Write `{write}`."
    )
