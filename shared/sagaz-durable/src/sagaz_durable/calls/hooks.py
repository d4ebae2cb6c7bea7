"""Telling sagaz's hooks and listeners what a run does; whatever they do, the run goes on as if they had not been."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sagaz_durable.calls.interpreter_exit import stops_the_process
from sagaz_durable.concurrency.cancellation import Halt, clear_own_cancellation, settle_own_cancellation
from sagaz_durable.concurrency.time_limits import TimeIsUp, within
from sagaz_durable.masked_errors import masked_error
from sagaz_integration_core.error_text import type_name

__all__ = ["Hooks"]

logger = logging.getLogger(__name__)

_SECONDS = 30.0
"""How long one hook or listener may take; one that hangs would hang the run."""


class Hooks:
    """The hooks and listeners of one run.

    sagaz logs what a hook or a listener raises, and goes on. It stops at what is no `Exception`, or takes it for the
    step's success; here that is logged too, and the step is called all the same.

    Args:
        saga_name: For listeners, as sagaz tells it.
        halt: Of the run.
    """

    def __init__(self, saga_name: str, listeners: Sequence[Any], halt: Halt) -> None:
        self._saga_name = saga_name
        self._listeners = listeners
        self._halt = halt

    @property
    def listening(self) -> bool:
        """Whether anybody is to be told of anything."""
        return bool(self._listeners)

    async def tell(self, event: str, *values: Any) -> None:
        """Notify the listeners that have a method of this name, in their order."""
        for listener in self._listeners:
            await self._call((listener, event), partial(_notify, listener, event), self._saga_name, *values)

    async def call(self, hook: Callable[..., Any] | None, what: str, context: dict[str, Any], *values: Any) -> None:
        """Call a step's hook, if it has one; the first of the values is the step's name."""
        if hook is not None:
            await self._call((what, values[0]), hook, context, *values)

    async def _call(self, whose: tuple[Any, str], function: Callable[..., Any], *values: Any) -> None:
        try:
            result = function(*values)
            if inspect.isawaitable(result):
                await within(_SECONDS, result)
        except TimeIsUp:
            logger.warning("%s was given up after %g s; the run goes on", _named(*whose), _SECONDS)
        except asyncio.CancelledError:
            if self._halt.reason is not None:
                raise
            clear_own_cancellation()
            logger.warning("%s was cancelled, though nobody stopped the run; the run goes on", _named(*whose))
        except BaseException as error:
            if stops_the_process(error):
                raise
            logger.warning("%s raised %s; the run goes on", _named(*whose), masked_error(error))
        if self._halt.reason is None and await settle_own_cancellation():
            logger.warning("%s cancelled the task that called it; the run goes on", _named(*whose))


def _notify(listener: Any, event: str, *values: Any) -> Any:
    # To look for the method is to call the listener's code already.
    handler = getattr(listener, event, None)
    return None if handler is None else handler(*values)


def _named(owner: Any, name: str) -> str:
    return f"Hook {owner} of step {name!r}" if isinstance(owner, str) else f"Listener {type_name(owner)}.{name}"
