"""One call in a thread, and what comes out of the user's own function, there and on the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from sagaz_durable.calls.foreign import is_a, sent, traceback_of
from sagaz_durable.calls.interpreter_exit import stops_the_process
from sagaz_durable.calls.limits import Limits, check_call
from sagaz_durable.leases.lease import Lease
from sagaz_durable.masked_errors import masked_error
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.errors import LeaseLost, RunInterrupted, StepError

__all__ = ["Function", "Outcome", "Scope", "ThreadCall", "as_exception", "check_scope", "told_by"]

_MAX_FRAMES = 100

Scope = Callable[[], AbstractContextManager[Any]]
Function = Callable[[dict[str, Any]], Any]


@record
class Outcome:
    """What came out of the user's own function: a value, or an exception.

    Attributes:
        interrupted: Whether the function was stopped on its way (or cancelled itself), so that its effect is in doubt.
    """

    value: Any = None
    error: Exception | None = None
    interrupted: bool = False


class ThreadCall:
    """One call in a thread, whose time begins when the function does."""

    def __init__(self, name: str, function: Function, context: Any, scope: Scope, lease: Lease, limits: Limits) -> None:
        self._name = name
        self._function = function
        self._context = context
        self._scope = scope
        self._lease = lease
        self._limits = limits
        self._began_at: float | None = None

    def __call__(self) -> Outcome:
        """Make it; what is around the function may raise, and what it raises itself is in the outcome."""
        check_call(self._name, self._lease, self._limits)
        self._began_at = time.monotonic()
        outcome, told = Outcome(), None
        try:
            with self._scope():
                outcome = self._called()
                if (told := told_by(outcome)) is not None:
                    raise told
        except Exception as error:
            if error is not told:
                check_scope(error)
                raise
        return outcome

    def _called(self) -> Outcome:
        try:
            return Outcome(self._function(self._context))
        except BaseException as error:
            if stops_the_process(error):
                raise
            return Outcome(error=as_exception(self._name, error))

    def remaining(self, seconds: float) -> float:
        """Return how much is left of ``seconds`` since the function began."""
        return seconds if self._began_at is None else self._began_at + seconds - time.monotonic()

    async def ends_within(self, seconds: float, waiter: asyncio.Future[Outcome]) -> bool:
        """Wait for the end; return False when the function has taken longer than ``seconds``."""
        pause = seconds
        while pause > 0:
            done, _ = await asyncio.wait([waiter], timeout=pause)
            if done:
                return True
            # Waiting for a thread is not the step's time.
            pause = self.remaining(seconds)
        return False


def check_scope(error: Exception) -> None:
    """Refuse what a scope has raised that tells of a run, as it may have executed another one."""
    if is_a(error, LeaseLost, RunInterrupted):
        raise RuntimeError(f"What is entered around steps raised {masked_error(error)}") from error


def told_by(outcome: Outcome) -> Exception | None:
    """Return the step's exception for what is around the call, which sees it, as Flask's teardown functions do."""
    return None if outcome.error is None else sent(outcome.error)


def as_exception(name: str, error: BaseException) -> Exception:
    """Return what a step has raised as an `Exception` that can travel through coroutines and futures."""
    if is_a(error, Exception) and not is_a(error, StopIteration, StopAsyncIteration):
        _cut_traceback(error)
        return error  # type: ignore[return-value]  # It is one, whatever it says of itself.
    failure = StepError(f"Step {name!r} raised {masked_error(error)}")
    failure.__cause__ = error
    return failure


def _cut_traceback(error: BaseException) -> None:
    # Each time that an exception object is raised again (one that a module keeps), its traceback grows by the frames
    # of that time.
    last: TracebackType | None = traceback_of(error)
    for _ in range(_MAX_FRAMES):
        if last is None:
            return
        last = last.tb_next
    if last is not None:
        last.tb_next = None
