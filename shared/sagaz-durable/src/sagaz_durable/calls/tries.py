"""The tries of one call: each with a fresh copy of its context, until one returns, waits, or was the last."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

from sagaz_durable._upstream.instances import Prepared
from sagaz_durable.calls.foreign import cause_of, is_a, members
from sagaz_durable.calls.interpreter_exit import caused_by_exit
from sagaz_durable.calls.limits import Limits, NotCalled
from sagaz_durable.calls.step_caller import StepCaller
from sagaz_durable.calls.step_environment import StepEnvironment
from sagaz_durable.calls.step_result import Given, Tried
from sagaz_durable.calls.thread_call import Outcome
from sagaz_durable.calls.transactional import TransactionalCall
from sagaz_durable.calls.waits import CallWaits, RunWaits
from sagaz_durable.concurrency.cancellation import Halt
from sagaz_durable.masked_errors import masked_error
from sagaz_integration_core.contract.records import ClaimedRun, Phase
from sagaz_integration_core.errors import RunInProgress, RunInterrupted, RunWaiting, StepError

__all__ = ["Halted", "Tries"]

logger = logging.getLogger(__name__)


# What leaves open whether a step has had its effect; after all but the first two, the run that it executed goes on.
_IN_DOUBT = (TimeoutError, asyncio.CancelledError, RunWaiting, RunInProgress, RunInterrupted)


class Halted(Exception):
    """The run is being stopped; nothing more of it is called here."""


class Tries:
    """Tries the calls of one run.

    Args:
        waits: Of the run.
        halt: Of the run.
    """

    def __init__(
        self,
        run: ClaimedRun,
        prepared: Prepared,
        environment: StepEnvironment,
        caller: StepCaller,
        waits: RunWaits,
        halt: Halt,
    ) -> None:
        self._run = run
        self._prepared = prepared
        self._environment = environment
        self._caller = caller
        self._waits = waits
        self._halt = halt

    def given(self, step: str, phase: Phase, values: dict[str, Any]) -> Given:
        """Return what a call is given, with which it may do as it likes.

        Raises:
            ContextValueError: What is recorded does not fit the type that the saga declares.
        """
        context, before = self._prepared.given(step, phase, values)
        return Given(values, context, before)

    async def of(
        self, step: str, phase: Phase, given: Given, doubtful: bool, limits: Limits, waits: CallWaits,
        inside: TransactionalCall | None = None,
    ) -> Tried:  # fmt: skip
        """Try a call, of which `current_step` tells.

        Args:
            given: The context; each further try gets a new one.
            doubtful: Whether the call may have had its effect before.
            waits: Of the first try; each further one has its own.
            inside: What calls it inside of a transaction.

        Raises:
            Halted: The run is being stopped.
            RunInterrupted: The process ends.
        """
        timeout, retries = self._prepared.timeout(step, phase), self._prepared.retries(step, phase)
        retry = 0
        error: Exception | None = None
        while True:
            context, before = given.context, given.before
            waits.open = True
            try:
                outcome = await self._once(step, phase, given, timeout, limits, inside)
            finally:
                await waits.close()
            if self._halt.reason is not None:
                raise Halted
            if error is None or outcome.error is None or not is_a(outcome.error, NotCalled):
                error = outcome.error
            if waits.left and error is not None:
                return Tried(None, None, context, before, False, waits)
            if error is not None and caused_by_exit(error):
                raise RunInterrupted("this process is exiting, and steps get no threads any more.")
            doubtful = doubtful or outcome.interrupted or (inside is None and _leaves_open(error))
            if (mistake := waits.mistake(error)) is not None:
                return Tried(None, mistake, context, before, True)
            if error is None or retry >= retries or limits.is_over():
                return Tried(outcome.value, error, context, before, doubtful)
            retry += 1
            logger.warning("Step %r failed, try %d of %d: %s", step, retry, retries + 1, masked_error(error))
            await limits.pause(self._environment.backoff(retry))
            waits = self._waits.of_call((step, phase), waits.refused)
            self._environment.enter(self._run, step, phase, retry, waits)
            given = self.given(step, phase, given.values)

    async def _once(
        self,
        step: str,
        phase: Phase,
        given: Given,
        timeout: float,
        limits: Limits,
        inside: TransactionalCall | None,
    ) -> Outcome:
        function = self._prepared.function(step, phase)
        if inside is not None:
            fresh = partial(self.given, step, phase, given.values)
            work = inside.tried(self._caller, step, function, fresh, timeout, limits)
        else:
            work = self._caller.call(step, function, given.context, timeout, limits)
        try:
            return await work
        except NotCalled as uncalled:
            return Outcome(error=uncalled)


def _leaves_open(error: BaseException | None) -> bool:
    """Whether what a step has raised, or one of a task group's errors, tells nothing of its effect."""
    if error is None:
        return False
    if is_a(error, StepError) and (cause := cause_of(error)) is not None and not is_a(cause, Exception):
        # What is no `Exception` does not leave its caller as what it is.
        error = cause
    return any(is_a(one, *_IN_DOUBT) for one in members(error))
