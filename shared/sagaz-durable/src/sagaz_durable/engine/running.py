"""The runs that one process executes at the moment, or is about to."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Future
from contextlib import nullcontext

from sagaz_durable.engine.execution import RunExecution, SagaRun
from sagaz_integration_core.context import correlation as context
from sagaz_integration_core.context import log_fields as logs
from sagaz_integration_core.errors import RunInterrupted

__all__ = ["Executing"]

logger = logging.getLogger(__name__)


class Executing:
    """Owns the tasks of running sagas, so that no request's end cancels them.

    Args:
        loop: Where they run.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._active: dict[asyncio.Task[SagaRun], RunExecution] = {}
        self._parked: set[RunExecution] = set()

    def park(self, execution: RunExecution) -> None:
        """Hold a run that is not executed yet."""
        self._parked.add(execution)

    def is_parked(self, execution: RunExecution) -> bool:
        """Whether nobody has executed this run yet."""
        return execution in self._parked

    def execute(self, execution: RunExecution, after: Future[None] | None = None) -> asyncio.Task[SagaRun]:
        """Execute a parked run, once nothing of an earlier execution of the same run goes on in this process."""
        self._parked.discard(execution)
        task = self._loop.create_task(_execute(execution, after), name=f"saga {execution.run.saga_id}")
        self._active[task] = execution
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[SagaRun]) -> None:
        del self._active[task]
        if not task.cancelled():
            task.exception()  # Logged already; whoever awaits the task still gets it.

    async def wait(self, seconds: float | None = None) -> None:
        """Return when all have ended, at the latest after ``seconds``."""
        if self._active:
            await asyncio.wait(self._active, timeout=seconds)

    def halt(self, reason: RunInterrupted) -> list[RunExecution]:
        """Stop all, and return those that are parked: they are to be executed, to give their leases back."""
        parked = list(self._parked)
        for execution in [*self._active.values(), *parked]:
            execution.halt(reason)
        return parked


async def _execute(execution: RunExecution, after: Future[None] | None) -> SagaRun:
    run = execution.run
    if after is not None:
        await execution.wait_for(after)
    logs.log_fields.set({"saga_id": run.saga_id, "saga_name": run.saga_name, "attempt": run.attempt})
    with context.bound(run.correlation_id) if run.correlation_id else nullcontext():
        try:
            return await execution.execute()
        except RunInterrupted as error:
            logger.warning("%s", error)
            raise
        except Exception:
            if execution.outcome is None:
                logger.exception("Run %s stopped unexpectedly; it is resumed when its lease ends.", run.saga_id)
            raise
