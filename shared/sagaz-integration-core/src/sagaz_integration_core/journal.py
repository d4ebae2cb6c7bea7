"""Wraps a saga instance's steps and compensations, so that what is done is not done again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, NoReturn

from sagaz_integration_core import codec
from sagaz_integration_core.calls import StepCaller
from sagaz_integration_core.entries import Entries
from sagaz_integration_core.errors import ContextValueError, LeaseLost, RunInterrupted, StepError, StoreUnavailable
from sagaz_integration_core.events import EventLog
from sagaz_integration_core.exits import caused_by_exit
from sagaz_integration_core.logs import log_fields
from sagaz_integration_core.records import ClaimedRun, Phase
from sagaz_integration_core.steps import CurrentStep, current
from sagaz_integration_core.texts import error_text, message_of, message_text

if TYPE_CHECKING:
    from sagaz_integration_core._upstream.engine import Call, Engine, Step
    from sagaz_integration_core.lifecycle import SagazRuntime

__all__ = ["Journal"]

logger = logging.getLogger(__name__)


class Journal:
    """The journaled steps of one run.

    Attributes:
        decision: Why the run rolls back, in words that outlive the process.
        error: The exception that made the run roll back, if it was raised in this attempt.
        undo_errors: What went wrong in compensations, by step.
        halted: Why this process stopped executing the run before its end.
    """

    def __init__(
        self, runtime: SagazRuntime, run: ClaimedRun, engine: Engine, entries: Entries, events: EventLog
    ) -> None:
        self._runtime = runtime
        self._run = run
        self._engine = engine
        self._entries = entries
        self._events = events
        self._caller = StepCaller(runtime.pool, runtime.step_scope)
        self._rolling_back = self._resumes_rollback = run.status == "compensating"
        self._task: asyncio.Task[None] | None = None
        self.decision = run.error if self._rolling_back else None
        self.error: Exception | None = None
        self.undo_errors: dict[str, str] = {}
        self.halted: Exception | None = None
        engine.wrap(self._forward, self._undo)

    async def run(self) -> None:
        """Drive sagaz's engine to its end, or until it is halted; then `halted` is set and nothing was compensated."""
        values = {**codec.decode(self._run.context), "saga_id": self._run.saga_id}
        self._task = self._runtime.loop.create_task(self._engine.run(values, self._run.saga_id))
        try:
            await self._task
        except asyncio.CancelledError:
            if self.halted is None:
                self._task.cancel()
                raise

    def halt(self, reason: Exception) -> None:
        """Stop where it is: running async steps are cancelled, nothing is compensated, nothing more is started."""
        if self.halted is None:
            self.halted = reason
        if self._task is not None:
            self._task.cancel()

    def close(self) -> None:
        """Let go of the instance, which has ended or is being cancelled."""
        if self._task is None or self._task.done():
            self._engine.release()

    @property
    def message(self) -> str:
        """What the step that made the run roll back said, in whatever attempt it was."""
        if self.error is not None:
            return message_text(self.error)
        failed = (entry for entry in self._entries.in_order() if entry.phase == "do" and entry.error)
        first = next(failed, None)
        return message_of(first.error) if first is not None and first.error else self.decision or ""

    # What sagaz calls in place of a step.

    def _forward(self, step: Step) -> Call:
        async def do(live: dict[str, Any]) -> dict[str, Any] | None:
            if self._resumes_rollback:
                self._restore(live)
                raise StepError(self.decision or "The run was rolling back.")
            entry = self._entries.get(step.name, "do")
            if entry is not None and entry.status == "done":
                return codec.decode(entry.result) if entry.result else None
            # What the journal says has begun is called, although a step beside it may have failed by now.
            if self._rolling_back and not self._entries.is_begun(step.name):
                raise self.error or StepError(self.decision or "The run was rolling back.")
            return await self._do(step, live)

        return do

    def _restore(self, live: dict[str, Any]) -> None:
        """Bring the engine to where it was, whatever steps the class has gained since: only undoing is left."""
        for entry in self._entries.in_order():
            if entry.phase == "do" and entry.status != "failed":
                live.update(codec.decode(entry.result) if entry.result else {})
                # Whether one that had started had its effect is unknown, so it is compensated like one that had.
                self._engine.mark_executed(entry.step, done=entry.status == "done")

    async def _do(self, step: Step, live: dict[str, Any]) -> dict[str, Any] | None:
        await self._record(self._entries.started(step.name, "do"))
        view = codec.copy_value(live)
        try:
            returned = await self._attempt(step, "do", view)
            result = _result(live, view, returned)
            text = codec.encode_result(result, max_bytes=self._runtime.settings.max_context_bytes) if result else None
            told = self._events.step_done(step.name, returned)
        except Exception as error:
            await self._failed(step, error)
            raise
        self._entries.done(step.name, "do", text, told)
        return codec.decode(text) if text else None

    async def _failed(self, step: Step, error: Exception) -> None:
        # A timed-out step may have had its effect, and one whose result cannot be kept surely had.
        in_doubt = isinstance(error, TimeoutError | ContextValueError)
        text = error_text(error)
        decision = None if self._rolling_back else f"step {step.name!r}: {text}"
        self._rolling_back = True
        self.decision = decision or self.decision
        self.error = self.error or error
        await self._record(
            self._entries.failed(
                step.name,
                "do",
                text,
                in_doubt=in_doubt,
                decision=decision,
                events=self._events.step_failed(step.name, error),
            )
        )
        if in_doubt:
            self._engine.mark_executed(step.name)

    def _undo(self, step: Step) -> Call:
        async def undo(live: dict[str, Any]) -> None:
            entry = self._entries.get(step.name, "undo")
            if entry is not None and entry.status == "done":
                return
            if entry is not None and entry.status == "failed":
                self.undo_errors[step.name] = entry.error or "failed"
                raise StepError(self.undo_errors[step.name])
            await self._record(self._entries.started(step.name, "undo"))
            try:
                await self._attempt(step, "undo", codec.copy_value(live))
            except Exception as error:
                self.undo_errors[step.name] = error_text(error)
                await self._record(self._entries.failed(step.name, "undo", self.undo_errors[step.name]))
                raise
            self._entries.done(step.name, "undo", None, self._events.step_undone(step.name))

        return undo

    async def _attempt(self, step: Step, phase: Phase, view: dict[str, Any]) -> Any:
        function, timeout = step.call(phase)
        retries = step.max_retries if self._engine.retries_steps else 0
        for retry in range(retries + 1):
            self._enter(step, phase, retry)
            try:
                returned = await self._caller.call(step.name, function, view, timeout)
            except Exception as error:
                await self._stop_if_halted()
                if caused_by_exit(error):
                    await self._stop(RunInterrupted("this process is exiting, and steps get no threads any more."))
                if retry == retries:
                    raise
                logger.warning("Step %r failed, try %d of %d: %s", step.name, retry + 1, retries + 1, error)
                await asyncio.sleep(self._runtime.backoff(retry + 1))
            else:
                await self._stop_if_halted()
                return returned
        raise AssertionError("the last try returns or raises")

    def _enter(self, step: Step, phase: Phase, retry: int) -> None:
        run, runtime = self._run, self._runtime
        info = CurrentStep(
            run.saga_id, run.saga_name, step.name, phase, run.attempt, retry, run.correlation_id, runtime.app_given,
            runtime.app_state,
        )  # fmt: skip
        current.set(info)
        log_fields.set({**log_fields.get(), "step": step.name})

    # A journal that cannot be written stops the run; it must not look like a step that failed.

    async def _record(self, write: Awaitable[None]) -> None:
        await self._stop_if_halted(write)
        try:
            await write
        except (LeaseLost, StoreUnavailable) as error:
            await self._stop(error)

    async def _stop_if_halted(self, unused: Awaitable[None] | None = None) -> None:
        if self.halted is not None:
            if asyncio.iscoroutine(unused):
                unused.close()
            await self._stop(self.halted)

    async def _stop(self, reason: Exception) -> NoReturn:
        self.halt(reason)
        await asyncio.get_running_loop().create_future()
        raise AssertionError("a halted run's tasks are cancelled")


def _result(live: dict[str, Any], view: dict[str, Any], returned: Any) -> dict[str, Any]:
    """What a step added or changed, by returning it or by assigning to its context; keys it left alone cost nothing."""
    changed = {**view, **returned} if isinstance(returned, dict) else view
    absent = object()
    result = {}
    for key, value in changed.items():
        old = live.get(key, absent)
        if old is not value and (type(old) is not type(value) or old != value):
            result[key] = value
    codec.check_reserved(result)
    return result
