"""Runs that a web process executes after its responses: so many at once, and what waits for a place is a row."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sagaz_durable.concurrency.clock import now
from sagaz_integration_core.errors import StoreUnavailable

if TYPE_CHECKING:
    from sagaz_durable.engine.execution import RunExecution
    from sagaz_durable.engine.result import SagaRun
    from sagaz_durable.engine.running import Runs

__all__ = ["BackgroundRuns"]

logger = logging.getLogger(__name__)


class BackgroundRuns:
    """The background runs of one process.

    A run that finds no free place is recorded ``pending``, as one that is started for later. This process takes it up
    itself as soon as a place is free, unless a worker was faster; if the process ends before, a worker executes it.

    Args:
        runs: All runs of this process, to which it adds.
        places: How many are executed at once.
    """

    def __init__(self, runs: Runs, places: int) -> None:
        self._runs = runs
        self._places = places
        self._taken: set[object] = set()
        self._waiting: deque[str] = deque()
        self._taking: asyncio.Task[None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether another run has to wait for a place."""
        return bool(self._waiting) or len(self._taken) >= self._places

    def wait_for_place(self, saga_id: str) -> None:
        """Take a recorded run up as soon as a place is free."""
        self._waiting.append(saga_id)
        self._take_soon()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Keep a place while a run is recorded that `hold` may then give it to."""
        place = object()
        self._taken.add(place)
        try:
            yield
        finally:
            self._taken.discard(place)
            self._take_soon()

    def hold(self, execution: RunExecution) -> None:
        """Give a place to a run until it has ended."""
        self._taken.add(execution)

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
            self._taking = asyncio.get_running_loop().create_task(self._take(), name="sagaz-background")
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
            await asyncio.sleep(self._runs.environment.settings.poll_seconds)
            self._waiting.extend(missed)

    async def _execute(self, saga_ids: list[str]) -> list[str]:
        """Claim and execute these runs; return those that still wait, for instance because their row is locked."""
        taken_at = now()
        claimed = await self._runs.claim(len(saga_ids), saga_ids)
        for run in claimed:
            execution = self._runs.park(run, taken_at)
            self.hold(execution)
            self._runs.execute(execution)
        rest = set(saga_ids) - {run.saga_id for run in claimed}
        return [saga_id for saga_id in rest if await self._still_waits(saga_id)]

    async def _still_waits(self, saga_id: str) -> bool:
        record = await self._runs.environment.store.load(saga_id)
        return record is not None and record.status == "pending" and not record.attempt
