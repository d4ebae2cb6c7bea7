"""The one way in which a saga is executed, inline, in the background and by workers alike, and its truthful end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from sagaz_durable.calls.context_values import unstorable_text
from sagaz_durable.calls.waits import waits_for
from sagaz_durable.engine.environment import ExecutionEnvironment
from sagaz_durable.engine.executor import Executor
from sagaz_durable.engine.journal.entries import Entries
from sagaz_durable.engine.journal.known_entries import check_words
from sagaz_durable.engine.result import Ending, SagaRun, note_end
from sagaz_durable.engine.state import End, RunState
from sagaz_durable.leases.lease import Lease
from sagaz_durable.masked_errors import masked_error
from sagaz_durable.outbox.run_events import EventLog
from sagaz_durable.serialization import codec
from sagaz_durable.serialization.attempt_text import attempt_text
from sagaz_integration_core.contract.events import EventWrite
from sagaz_integration_core.contract.records import ClaimedRun, Release, RunStatus, RunWrite
from sagaz_integration_core.error_text import storable
from sagaz_integration_core.errors import (
    LeaseLost,
    RunFailed,
    RunInterrupted,
    RunWaiting,
    SagaDefinitionError,
    StepError,
    StoreUnavailable,
    UnstorableValue,
)

__all__ = ["RunExecution"]

logger = logging.getLogger(__name__)


class RunExecution:
    """One process's attempt at one run, from its claim to its end, its release or its loss.

    Attributes:
        outcome: The run's status when nothing more is done about it here: the final one, or ``waiting``.
        is_ending: Whether no step is called any more: what the run has come to is being recorded, and told.
        on_ending: Called when that begins, if somebody wants to know.
        began_at: When its lease was taken, by `concurrency.clock`.
    """

    def __init__(self, environment: ExecutionEnvironment, run: ClaimedRun, lease: Lease) -> None:
        self._environment = environment
        self._max_failures = environment.settings.max_failures
        self.run = run
        self._lease = lease
        self._entries = Entries(
            run, environment.owner, lease, environment.settings.lease_seconds, environment.write,
            environment.held_writes,
        )  # fmt: skip
        settings = environment.settings
        self._events = EventLog(
            run.saga_id, run.saga_name, run.correlation_id, run.attempt, enabled=environment.publishes,
            max_bytes=settings.max_context_bytes, wording=settings.wording,
        )  # fmt: skip
        self._executor: Executor | None = None
        self._halted: BaseException | None = None
        self._waits: asyncio.Event | None = None
        self.outcome: RunStatus | None = None
        self.is_ending = False
        self.on_ending: Callable[[], None] | None = None
        self.began_at = lease.taken_at
        lease.on_stop = self.halt

    def halt(self, reason: BaseException) -> None:
        """Stop without compensating; a lost run is left alone, one that is given up for a shutdown is released."""
        if self._halted is None:
            self._halted = reason
        if self._waits is not None:
            self._waits.set()
        if self._executor is not None:
            self._executor.halt(self._halted)

    async def wait_for(self, earlier: Future[None]) -> None:
        """Return when nothing of an earlier execution of this run goes on in this process, or this one is stopped."""
        waits = self._waits = asyncio.Event()
        loop = asyncio.get_running_loop()

        def left(_: Future[None]) -> None:
            with suppress(RuntimeError):  # The loop is closed.
                loop.call_soon_threadsafe(waits.set)

        earlier.add_done_callback(left)
        if self._halted is None:
            await waits.wait()

    async def execute(self) -> SagaRun:
        """Execute the run to its end.

        Raises:
            RunInterrupted: This process stopped before the end; the run goes on elsewhere or later.
            RunFailed: The run was given up; it needs manual intervention.
            Exception: The saga failed: the step's own exception, after compensation.
        """
        try:
            ending = await self._execute()
        except Exception as error:
            # Whatever it is, it did not come out of a step.
            ending = await self._stopped(error)
        finally:
            self._entries.close()
            self._environment.leases.drop(self._lease, () if self._executor is None else self._executor.in_threads)
            # What does not refer to itself any more goes at once, and costs the garbage collector nothing.
            self._lease.on_stop = None
            if self._executor is not None:
                self._executor.close()
        if ending.result is None:
            raise RunInterrupted("The run was stopped.") if ending.error is None else ending.error
        return ending.result

    async def _execute(self) -> Ending:
        if self.run.failures >= self._max_failures:
            return await self._give_up(await self._why())
        executor = self._executor = self._prepared()
        await self._environment.mirror.started(self.run)
        state = await executor.run() if self._halted is None else RunState()
        if (reason := executor.halted if self._halted is None else self._halted) is not None:
            return await self._stopped(reason)
        if state.unknown:
            return await self._without(state.unknown)
        if state.waits:
            return await self._park(executor)
        if state.end is None:
            raise RuntimeError(f"Run {self.run.saga_id} has nothing left to call, and no end.")
        return await self._ended(executor, state, state.end)

    def _prepared(self) -> Executor:
        environment = self._environment
        check_words(self.run)
        # Another deployment, or a later try, may be able to build it: what this raises is no failure of the saga.
        prepared = environment.registry.get(self.run.saga_name).prepare(environment.listeners)
        return Executor(self.run, prepared, environment.steps, self._lease, self._entries, self._events)

    async def _park(self, executor: Executor) -> Ending:
        waits = tuple(waits_for(wait) for wait in self._entries.waits.open)
        self._calls_nothing_more()
        await self._entries.release(Release(waits=True, by_deadline=executor.course.heeds_deadline))
        self.outcome = "waiting"
        text = f"Run {self.run.saga_id} of saga {self.run.saga_name!r} waits for {', and for '.join(waits)}."
        return Ending(error=RunWaiting(text, self.run.saga_id, waits))

    async def _without(self, steps: tuple[str, ...]) -> Ending:
        """End a run that waits, or has waited, in a step which this deployment has not.

        Raises:
            SagaDefinitionError: Another process may have the steps, or have them soon; so this one gives the run back.
        """
        text = (
            f"The journal of run {self.run.saga_id} has the steps {', '.join(sorted(steps))}, which saga "
            f"{self.run.saga_name!r} has not in this deployment. Deploy a version that has them"
        )
        waiting = any(step in steps for step, phase in self._entries.waits.calls if phase != "undo")
        if not waiting or await self._is_known_elsewhere():
            raise SagaDefinitionError(f"{text}.")
        return await self._fail(f"{text}, and retry; nothing was compensated.")

    async def _is_known_elsewhere(self) -> bool:
        """Whether another process lives that knows the saga, and not with the very steps that it has here."""
        name, own = self.run.saga_name, self._environment.owner
        mark = self._environment.registry.mark(name)
        workers = [worker for worker in await self._environment.store.workers() if worker.name != own]
        return any(name in worker.sagas and mark not in worker.sagas for worker in workers)

    async def _ended(self, executor: Executor, state: RunState, end: End) -> Ending:
        values = executor.values
        await self._environment.mirror.finished(self.run, end, values)
        if end == "completed":
            # An empty text replaces what an earlier attempt left.
            await self._finish(end, "" if self.run.error else None, self._events.completed())
            await executor.tell_end(None)
            return Ending(SagaRun(values, saga_id=self.run.saga_id, saga_name=self.run.saga_name, status="completed"))
        course = executor.course
        decision = course.decision or "The run was rolling back."
        error = StepError(decision) if course.error is None else course.error
        await self._finish(end, "; ".join([decision, *state.left]), self._events.failed(course.message))
        await executor.tell_end(error)
        note_end(error, f"Saga {self.run.saga_name!r}, run {self.run.saga_id}, ended as {end}.")
        return Ending(error=error)

    async def _finish(self, status: RunStatus, error: str | None, events: tuple[EventWrite, ...]) -> None:
        self._calls_nothing_more()
        try:
            await self._entries.finish(status, error, events)
        except LeaseLost:
            # A commit whose answer was lost is sent again, and then refused: the row tells which it was.
            record = await self._environment.store.load(self.run.saga_id)
            if record is None or (record.status, record.attempt) != (status, self.run.attempt):
                raise
        self.outcome = status
        self._report(status, error)

    def _calls_nothing_more(self) -> None:
        self.is_ending = True
        if self.on_ending is not None:
            self.on_ending()

    def _report(self, status: RunStatus, error: str | None) -> None:
        if self._environment.settings.logging or status == "failed":
            level = {"completed": logging.INFO, "rolled_back": logging.WARNING}.get(status, logging.ERROR)
            why = f" ({error})" if error else ""
            logger.log(level, "Saga %r, run %s: %s%s", self.run.saga_name, self.run.saga_id, status, why)

    # What stops a run before its end.

    async def _stopped(self, reason: BaseException) -> Ending:
        try:
            if isinstance(reason, UnstorableValue) and self._entries.unstorable is not None:
                return await self._unstorable(reason, self._entries.unstorable)
            if isinstance(reason, RunInterrupted):
                await self._entries.release(Release(detail=storable(str(reason))))
            elif not isinstance(reason, LeaseLost):
                return await self._give_back(reason)
        except Exception as error:
            # It is not this process's any more, or cannot be told of: a worker claims it when its lease has ended.
            logger.debug("Run %s was not released: %s", self.run.saga_id, masked_error(error))
        return self._interrupted(reason)

    async def _unstorable(self, reason: UnstorableValue, write: RunWrite) -> Ending:
        values = {step.step: step.result for step in write.steps if step.result is not None}
        for step in values:
            self._entries.lost(step, "do", masked_error(reason))
        return await self._fail(unstorable_text(reason, values, [wait.step for wait in write.waits]))

    async def _give_back(self, reason: BaseException) -> Ending:
        failures = (0 if self._entries.progressed else self.run.failures) + 1
        text = masked_error(reason)
        if failures >= self._max_failures:
            return await self._give_up(text)
        delay = self._environment.settings.backoff(failures)
        if self._executor is not None and (rest := self._executor.course.shorten(delay)) > 0:
            # By then it is to roll back.
            delay = rest
        await self._entries.release(Release(delay, failed=True, detail=text), text)
        return self._interrupted(reason)

    async def _give_up(self, reason: str) -> Ending:
        return await self._fail(f"Given up after {self._max_failures} failures without progress. {reason}")

    async def _fail(self, text: str) -> Ending:
        values = self._input()
        try:
            await self._environment.mirror.finished(self.run, "failed", values)
        except StoreUnavailable as error:
            # That may be why it is given up.
            logger.error("%s", error)
        await self._finish("failed", text, self._events.failed(text))
        return Ending(error=RunFailed(f"Run {self.run.saga_id} of saga {self.run.saga_name!r} has failed. {text}"))

    def _input(self) -> dict[str, Any]:
        """The run's input, as far as it can be read: it may be why the run is given up."""
        try:
            return codec.decode(self.run.context)
        except Exception:
            return {}

    async def _why(self) -> str:
        """Tell how the last attempt ended, as far as that was seen."""
        attempts = await self._environment.store.load_attempts(self.run.saga_id)
        return attempt_text(attempts[-1]) if attempts else self.run.error or "No attempt has left a reason."

    def _interrupted(self, reason: BaseException) -> Ending:
        error = RunInterrupted(
            f"Run {self.run.saga_id} of saga {self.run.saga_name!r} stopped in this process before its end, "
            f"and a worker resumes it: {masked_error(reason)}"
        )
        error.__cause__ = reason
        return Ending(error=error)
