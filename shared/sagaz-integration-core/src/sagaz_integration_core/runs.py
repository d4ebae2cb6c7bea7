"""The one way in which a saga is executed, inline, in the background and by workers alike, and its truthful end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sagaz_integration_core import codec
from sagaz_integration_core.entries import Entries
from sagaz_integration_core.errors import (
    LeaseLost,
    RunFailed,
    RunInterrupted,
    SagaDefinitionError,
    SagazError,
    StoreUnavailable,
)
from sagaz_integration_core.events import EventLog
from sagaz_integration_core.journal import Journal
from sagaz_integration_core.leases import Lease
from sagaz_integration_core.outbox import EventWrite
from sagaz_integration_core.records import ClaimedRun, RunRecord, RunStatus, StepRecord
from sagaz_integration_core.texts import error_text, message_text

if TYPE_CHECKING:
    from sagaz import SagaStatus

    from sagaz_integration_core._upstream.engine import Engine
    from sagaz_integration_core.lifecycle import SagazRuntime

__all__ = ["RunExecution", "SagaRun", "values_of"]


class SagaRun(dict[str, Any]):
    """The result of a run: its final context as a dict, which also knows which run it was.

    Attributes:
        saga_id: The run's id.
        saga_name: The saga's name.
        status: sagaz's ``SagaStatus``.
    """

    saga_id: str
    saga_name: str
    status: SagaStatus

    def __init__(self, values: Mapping[str, Any], *, saga_id: str, saga_name: str, status: RunStatus) -> None:
        from sagaz import SagaStatus

        super().__init__({key: value for key, value in values.items() if not key.startswith("__")})
        self.saga_id = saga_id
        self.saga_name = saga_name
        self.status = SagaStatus(status)

    def __repr__(self) -> str:
        # Without its values: they are customers' data, and what is logged is read by many.
        return f"<SagaRun {self.saga_name} {self.saga_id} {self.status.value}>"


def values_of(record: RunRecord, steps: Iterable[StepRecord]) -> dict[str, Any]:
    """Return a run's context as its journal tells it: the input, and what its steps have added so far."""
    values = codec.decode(record.context)
    for step in steps:
        if step.phase == "do" and step.status == "done" and step.result:
            values.update(codec.decode(step.result))
    return values


class RunExecution:
    """One process's attempt at one run, from its claim to its end, its release or its loss.

    Attributes:
        outcome: The run's final status once it has one.
    """

    def __init__(self, runtime: SagazRuntime, run: ClaimedRun, lease: Lease) -> None:
        self._runtime = runtime
        self.run = run
        self._lease = lease
        self._entries = Entries(run, runtime.owner, lease, runtime.write, runtime.loop)
        self._events = EventLog(
            run.saga_id,
            run.saga_name,
            run.correlation_id,
            run.attempt,
            enabled=runtime.publishes,
            max_bytes=runtime.settings.max_context_bytes,
        )
        self._journal: Journal | None = None
        self._halted: Exception | None = None
        self.outcome: RunStatus | None = None
        lease.on_stop = self.halt

    def halt(self, reason: Exception) -> None:
        """Stop without compensating; a lost run is left alone, one that is given up for a shutdown is released."""
        self._halted = self._halted or reason
        if self._journal is not None:
            self._journal.halt(self._halted)

    async def execute(self) -> SagaRun:
        """Execute the run to its end.

        Raises:
            RunInterrupted: This process stopped before the end; the run goes on elsewhere or later.
            RunFailed: The run was given up; a person is needed.
            Exception: The saga failed: the step's own exception, after compensation.
        """
        try:
            return await self._execute()
        except (LeaseLost, StoreUnavailable) as error:
            raise self._interrupted(error) from error
        finally:
            self._entries.close()
            self._runtime.leases.drop(self._lease)
            # What does not refer to itself any more goes at once, and costs the garbage collector nothing.
            self._lease.on_stop = None
            if self._journal is not None:
                self._journal.close()

    async def _execute(self) -> SagaRun:
        if self.run.failures >= self._runtime.settings.max_failures:
            raise await self._give_up(self.run.error or "Its process died every time.")
        try:
            engine = self._build()
        except Exception as error:
            # Another deployment, or a later try, may be able to build it: backed off, not failed at once.
            raise await self._give_back(error) from error
        self._journal = Journal(self._runtime, self.run, engine, self._entries, self._events)
        await self._runtime.mirror.started(self.run)
        try:
            if self._halted is None:
                await self._journal.run()
        except Exception as error:
            return await self._rolled_back(engine, self._journal, self._journal.error or error)
        if self._halted is not None or self._journal.halted is not None:
            raise await self._release(self._halted or self._journal.halted or LeaseLost("The run was halted."))
        # An empty text replaces what an earlier attempt left.
        await self._finish("completed", "" if self.run.error else None, engine.context, self._events.completed())
        return SagaRun(engine.context, saga_id=self.run.saga_id, saga_name=self.run.saga_name, status="completed")

    def _build(self) -> Engine:
        from sagaz_integration_core._upstream.engine import Engine

        registration = self._runtime.registry.get(self.run.saga_name)
        engine = Engine(registration.create(), self._runtime.listeners)
        if lost := self._entries.steps() - engine.steps.keys():
            raise SagaDefinitionError(
                f"The journal of run {self.run.saga_id} has the steps {', '.join(sorted(lost))}, which saga "
                f"{self.run.saga_name!r} has not in this deployment. Deploy a version that has them."
            )
        return engine

    async def _rolled_back(self, engine: Engine, journal: Journal, error: Exception) -> SagaRun:
        problems = [f"compensation of {step!r}: {text}" for step, text in sorted(journal.undo_errors.items())]
        if engine.passed_pivots:
            problems.append(f"not rolled back behind the completed pivot {', '.join(engine.passed_pivots)}")
        status: RunStatus = "failed" if problems else "rolled_back"
        text = "; ".join([journal.decision or error_text(error), *problems])
        await self._finish(status, text, engine.context, self._events.failed(journal.message or message_text(error)))
        error.add_note(f"Saga {self.run.saga_name!r}, run {self.run.saga_id}, ended as {status}.")
        raise error

    async def _finish(
        self, status: RunStatus, error: str | None, values: dict[str, Any], events: tuple[EventWrite, ...]
    ) -> None:
        await self._runtime.mirror.finished(self.run, status, values)
        try:
            await self._entries.finish(status, error, events)
        except LeaseLost:
            # A commit whose answer was lost is sent again, and then refused: the row tells which it was.
            record = await self._runtime.store.load(self.run.saga_id)
            if record is None or (record.status, record.attempt) != (status, self.run.attempt):
                raise
        self.outcome = status
        self._runtime.report(self.run, status, error)

    async def _give_back(self, error: Exception) -> SagazError:
        if self.run.failures + 1 >= self._runtime.settings.max_failures:
            return await self._give_up(error_text(error))
        delay = self._runtime.backoff(self.run.failures + 1)
        await self._entries.release(delay, failed=True, error=error_text(error))
        return self._interrupted(error)

    async def _give_up(self, reason: str) -> SagazError:
        text = f"Given up after {max(self.run.failures, self._runtime.settings.max_failures)} failures. {reason}"
        await self._finish("failed", text, codec.decode(self.run.context), self._events.failed(text))
        return RunFailed(f"Run {self.run.saga_id} of saga {self.run.saga_name!r} has failed. {text}")

    async def _release(self, reason: Exception) -> RunInterrupted:
        if isinstance(reason, RunInterrupted):
            await self._entries.release()
        return self._interrupted(reason)

    def _interrupted(self, reason: Exception) -> RunInterrupted:
        return RunInterrupted(
            f"Run {self.run.saga_id} of saga {self.run.saga_name!r} stopped in this process before its end, "
            f"and a worker resumes it: {reason}"
        )
