"""Runs that a web process executes after its responses: so many at once, and what waits for a place is a row."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sagaz_durable.concurrency.clock import now
from sagaz_durable.runtime import starting as starts
from sagaz_integration_core.errors import StoreUnavailable

if TYPE_CHECKING:
    from sagaz import Saga

    from sagaz_durable.engine.execution import RunExecution, SagaRun
    from sagaz_durable.runtime.runtime import SagazRuntime

__all__ = ["BackgroundRuns"]

logger = logging.getLogger(__name__)


class BackgroundRuns:
    """The background runs of one runtime.

    A run that finds no free place is recorded ``pending``, as one that is started for later. This process takes it up
    itself as soon as a place is free, unless a worker was faster; if the process ends before, a worker executes it.

    Args:
        places: How many are executed at once.
    """

    def __init__(self, runtime: SagazRuntime, places: int) -> None:
        self._runtime = runtime
        self._places = places
        self._taken: set[object] = set()
        self._waiting: deque[str] = deque()
        self._taking: asyncio.Task[None] | None = None

    async def launch(
        self, saga_class: type[Saga], context: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> tuple[str, RunExecution | None]:
        """Record a run; return its saga_id, and what the caller has to execute, if there is a place for it.

        Raises:
            RuntimeNotOpen: This process takes no new runs.
            StoreUnavailable: Nothing was recorded.
        """
        if self._waiting or len(self._taken) >= self._places:
            self._runtime.check_fit()
            saga_id = await starts.start(self._runtime, saga_class, context, idempotency_key=idempotency_key)
            self._waiting.append(saga_id)
            self._take_soon()
            return saga_id, None
        place = object()
        self._taken.add(place)
        try:
            saga_id, execution = await starts.launch(
                self._runtime, saga_class, context, idempotency_key=idempotency_key
            )
            if execution is not None:
                self._taken.add(execution)
            return saga_id, execution
        finally:
            self._taken.discard(place)
            self._take_soon()

    def began(self, execution: RunExecution, task: asyncio.Task[SagaRun]) -> None:
        """Note that a run is executed now; if it has a place, that is free when the run has ended."""
        if execution in self._taken:
            task.add_done_callback(lambda _: self._ended(execution))

    async def stop(self) -> None:
        """Take nothing more up; what waits is left to workers."""
        self._waiting.clear()
        if self._taking is not None:
            await asyncio.wait([self._taking])

    def _ended(self, execution: RunExecution) -> None:
        self._taken.discard(execution)
        self._take_soon()

    def _take_soon(self) -> None:
        if self._waiting and self._taking is None and len(self._taken) < self._places:
            self._taking = self._runtime.loop.create_task(self._take(), name="sagaz-background")
            self._taking.add_done_callback(self._has_taken)

    def _has_taken(self, _: asyncio.Task[None]) -> None:
        self._taking = None
        self._take_soon()

    async def _take(self) -> None:
        free = min(self._places - len(self._taken), len(self._waiting))
        saga_ids = [self._waiting.popleft() for _ in range(free)]
        try:
            missed = await self._execute(saga_ids)
        except StoreUnavailable as error:
            logger.warning("Background runs that wait cannot be taken up now; trying again: %s", error)
            missed = saga_ids
        except Exception:
            # The rows are there for workers; but perhaps there is none.
            logger.exception("Background runs that wait cannot be taken up now; trying again")
            missed = saga_ids
        if missed:
            await asyncio.sleep(self._runtime.settings.poll_seconds)
            self._waiting.extend(missed)

    async def _execute(self, saga_ids: list[str]) -> list[str]:
        """Claim and execute these runs; return those that still wait, for instance because their row is locked."""
        taken_at = now()
        claimed = await self._runtime.claim(len(saga_ids), saga_ids)
        for run in claimed:
            execution = self._runtime.park(run, taken_at)
            self._taken.add(execution)
            self._runtime.execute(execution)
        rest = set(saga_ids) - {run.saga_id for run in claimed}
        return [saga_id for saga_id in rest if await self._still_waits(saga_id)]

    async def _still_waits(self, saga_id: str) -> bool:
        record = await self._runtime.store.load(saga_id)
        return record is not None and record.status == "pending" and not record.attempt
