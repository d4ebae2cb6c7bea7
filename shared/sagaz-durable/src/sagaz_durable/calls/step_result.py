"""What came of a step's call, and what of it can be kept."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import dataclass
from functools import partial
from typing import Any

from sagaz_durable.calls.context_values import changes
from sagaz_durable.calls.waits import CallWaits
from sagaz_durable.outbox.run_events import EventLog
from sagaz_durable.serialization import codec
from sagaz_durable.serialization.model_fields import is_model_class
from sagaz_durable.settings.wording import Wording
from sagaz_integration_core.contract.events import EventWrite
from sagaz_integration_core.error_text import type_name
from sagaz_integration_core.errors import ContextValueError, StepError

__all__ = ["Recordable", "Tried", "not_awaited", "recordable"]


@dataclass(slots=True)
class Tried:
    """What came of a call, and of the context that it was given.

    Attributes:
        doubtful: Whether an earlier try, or this one, ended without telling whether it had its effect.
        left: The waits at which it was left; None when it has come to its end.
    """

    value: Any
    error: Exception | None
    context: dict[str, Any]
    doubtful: bool
    left: CallWaits | None = None


@dataclass(frozen=True, slots=True)
class Recordable:
    """What is journaled of a call that returned.

    Attributes:
        text: The JSON of what it has added to the context, None for nothing.
        events: What tells of it.
    """

    text: str | None
    events: tuple[EventWrite, ...]


def recordable(
    step: str,
    given: dict[str, Any],
    tried: Tried,
    events: EventLog,
    max_bytes: int,
    wording: Wording,
    saga_class: type[Any],
) -> Recordable | Exception:
    """Return what is journaled of a call that returned; an exception if it raised, or nothing can be."""
    if tried.error is not None:
        return tried.error
    try:
        returned = _returned(step, tried.value)
        result = changes(given, tried.context, returned)
        encode = partial(codec.encode_result, max_bytes=max_bytes, wording=wording, saga_class=saga_class)
        return Recordable(encode(result) if result else None, events.step_done(step, returned, saga_class))
    except (ContextValueError, StepError) as error:
        return error


def _returned(step: str, value: Any) -> dict[str, Any] | None:
    if value is None or isinstance(value, dict):
        return value
    what = f"Step {step!r}"
    if inspect.isawaitable(value):
        raise not_awaited(what, value)
    if not is_model_class(type(value)):
        raise StepError(
            f"{what} returned a {type_name(value)}; a step returns a dict or a model (Pydantic, a dataclass, attrs), "
            "whose fields are merged into the context, or None. It was called, so it is compensated."
        )
    return codec.as_dict(value, "the step's result")


def not_awaited(what: str, value: object) -> StepError:
    """Return the error of a call that gave back something to be awaited, which is closed."""
    name = type_name(value)
    if inspect.iscoroutine(value):
        name = f"coroutine ({value.__qualname__})"
        value.close()
    elif isinstance(value, asyncio.Future):
        value.cancel()
    return StepError(
        f"{what} returned a {name} that nobody awaited, so what it stands for was not done. Write `return await …`."
    )
