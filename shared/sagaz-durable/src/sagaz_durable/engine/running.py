"""The runs of one process: claimed, held until their turn, executed, and stopped at a shutdown."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from datetime import UTC, datetime

from sagaz_durable.concurrency.clock import now
from sagaz_durable.concurrency.thread_pool import StepThreads
from sagaz_durable.engine.ends import RunEnds
from sagaz_durable.engine.environment import ExecutionEnvironment
from sagaz_durable.engine.execution import RunExecution
from sagaz_durable.engine.result import SagaRun
from sagaz_integration_core.context import correlation as context
from sagaz_integration_core.context import log_fields as logs
from sagaz_integration_core.contract.records import FINISHED, ClaimedRun
from sagaz_integration_core.errors import RunInterrupted, RunWaiting

__all__ = ["Runs", "took"]

logger = logging.getLogger(__name__)


def _nothing(_: asyncio.Task[SagaRun]) -> None:
    """Do nothing more at the end of a run."""


class Runs:
    """Owns the tasks of running sagas, so that no request's end cancels them.

    Attributes:
        ends: Tells of runs that have ended, here or elsewhere.

    Args:
        environment: What they share.
        loop: Where they run.
        is_private: Whether nobody else can see the runs that are executed now.
        on_execute: Called with each execution that begins, and its task.
    """

    def __init__(
        self,
        environment: ExecutionEnvironment,
        loop: asyncio.AbstractEventLoop,
        is_private: Callable[[], bool],
        on_execute: Callable[[RunExecution, asyncio.Task[SagaRun]], None],
    ) -> None:
        self.environment = environment
        self._loop = loop
        self._is_private = is_private
        self._on_execute = on_execute
        self._active: dict[asyncio.Task[SagaRun], RunExecution] = {}
        self._parked: set[RunExecution] = set()
        self._halted: RunInterrupted | None = None
        self.ends = RunEnds(environment.store, self._going_on)

    @property
    def is_private(self) -> bool:
        """Whether nobody else can see the runs that are executed now."""
        return self._is_private()

    @property
    def leases_end(self) -> bool:
        """Whether somebody else could take a run over that is executed here."""
        return not (self.environment.store.embedded or self._is_private())

    def unfit(self) -> list[str]:
        """Return what keeps this process from executing runs: a blocked event loop, threads that do not come back."""
        pool = self.environment.steps.pool
        exhausted = pool.exhausted if isinstance(pool, StepThreads) else None
        return [text for text in (self.environment.leases.watch.given_up, exhausted) if text]

    async def claim(
        self, limit: int, saga_ids: Sequence[str] | None = None, *, alone: Sequence[str] = ()
    ) -> list[ClaimedRun]:
        """Lease runs that are due, their first steps journaled; whoever got them executes them.

        Args:
            alone: One run of these sagas, of those that are to be executed with nothing beside them; by default, none
                of those.
        """
        environment = self.environment
        if not self.leases_end:
            await environment.leases.renew_here()
        seconds = environment.settings.lease_seconds
        sagas = environment.registry.first_steps
        if alone:
            sagas = {name: sagas[name] for name in alone}
        return await environment.store.claim(
            environment.owner, limit, seconds, sagas, saga_ids=saga_ids, alone=bool(alone)
        )

    def park(self, run: ClaimedRun, taken_at: float) -> RunExecution:
        """Hold a run that this process has leased, without executing it yet."""
        lease = self.environment.leases.hold(run, taken_at, endless=not self.leases_end)
        execution = RunExecution(self.environment, run, lease)
        if self._halted is not None:
            # It was on its way to here, from its insertion or from a claim, when all others were stopped.
            execution.halt(self._halted)
        self._parked.add(execution)
        return execution

    def is_parked(self, execution: RunExecution) -> bool:
        """Whether nobody has executed this run yet; a drain executes what is parked."""
        return execution in self._parked

    def begin(self, saga_id: str) -> None:
        """Execute a run at once that is parked for later: somebody waits for its end, and it could not come."""
        for execution in [parked for parked in self._parked if parked.run.saga_id == saga_id]:
            self.execute(execution)

    def execute(
        self, execution: RunExecution, then: Callable[[asyncio.Task[SagaRun]], None] = _nothing
    ) -> asyncio.Task[SagaRun]:
        """Execute a parked run, once nothing of an earlier execution of the same run goes on in this process.

        It does so in a task of its own: no request's end cancels it.

        Args:
            then: Called with the task when that is over.
        """
        lease = self.environment.leases.held.get(execution.run.saga_id)
        after = lease.after if lease is not None and lease.attempt == execution.run.attempt else None
        self._parked.discard(execution)
        task = self._loop.create_task(_execute(execution, after), name=f"saga {execution.run.saga_id}")
        self._active[task] = execution
        task.add_done_callback(lambda task: self._ended(task, then))
        self._on_execute(execution, task)
        return task

    def _ended(self, task: asyncio.Task[SagaRun], then: Callable[[asyncio.Task[SagaRun]], None]) -> None:
        execution = self._active.pop(task)
        run = execution.run
        if execution.outcome in FINISHED:
            self.ends.tell(run.saga_id, None if task.cancelled() else task)
            self.environment.registry.durations.note(run.saga_name, run.saga_id, took(execution))
        else:
            self.ends.look()
        if not task.cancelled():
            task.exception()  # Logged already; whoever awaits the task still gets it.
        then(task)

    def _going_on(self) -> set[str]:
        return {execution.run.saga_id for execution in self._active.values()}

    async def wait(self, seconds: float | None = None) -> None:
        """Return when all have ended, at the latest after ``seconds``."""
        if self._active:
            await asyncio.wait(self._active, timeout=seconds)

    def halt(self, reason: RunInterrupted) -> None:
        """Stop all, and what comes later; those that are parked are executed, to give their leases back."""
        self._halted = reason
        self.ends.stop()
        parked = list(self._parked)
        for execution in [*self._active.values(), *parked]:
            execution.halt(reason)
        for execution in parked:
            self.execute(execution)


def took(execution: RunExecution) -> float:
    """Return how many seconds a run has taken, waits and earlier attempts included, from its first step on."""
    first = next((step.started_at for step in execution.run.steps if step.started_at is not None), None)
    if first is None:
        return now() - execution.began_at
    return (datetime.now(UTC) - first).total_seconds()


async def _execute(execution: RunExecution, after: Future[None] | None) -> SagaRun:
    run = execution.run
    if after is not None:
        await execution.wait_for(after)
    logs.log_fields.set({"saga_id": run.saga_id, "saga_name": run.saga_name, "attempt": run.attempt})
    with context.bound(run.correlation_id) if run.correlation_id else nullcontext():
        try:
            return await execution.execute()
        except RunWaiting:
            raise
        except RunInterrupted as error:
            logger.warning("%s", error)
            raise
        except Exception:
            if execution.outcome is None:
                logger.exception("Run %s stopped unexpectedly; it is resumed when its lease ends.", run.saga_id)
            raise
