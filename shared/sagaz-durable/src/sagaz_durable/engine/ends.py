"""The ends of runs: waiting for them, whatever process executes them, and what runs took until then."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection

from sagaz_durable.engine.result import SagaRun
from sagaz_integration_core.contract.records import FINISHED
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.errors import StoreUnavailable

__all__ = ["RecentDurations", "RunEnds"]

_SHORTEST, _LONGEST = 0.02, 0.5
"""Seconds between two looks at the store: short at first, and longer the longer nothing ends."""

_KEPT = 20
"""How many of the latest runs of each saga are remembered."""


class RunEnds:
    """Tells when runs have ended that this process or others execute; one poller however many wait.

    Args:
        store: Asked about runs that others execute.
        executed_here: The runs of which this process itself tells the end, by `tell`.
    """

    def __init__(self, store: SagaStore, executed_here: Callable[[], Collection[str]]) -> None:
        self._store = store
        self._executed_here = executed_here
        self._awaited: dict[str, list[asyncio.Future[asyncio.Task[SagaRun] | None]]] = {}
        self._look = asyncio.Event()
        self._poller: asyncio.Task[None] | None = None

    async def wait(self, saga_id: str, seconds: float) -> asyncio.Task[SagaRun] | None:
        """Wait until a run has ended or is not there, at most for this time.

        Return the task in which it ended, if that was in this process.
        """
        ended: asyncio.Future[asyncio.Task[SagaRun] | None] = asyncio.get_running_loop().create_future()
        self._awaited.setdefault(saga_id, []).append(ended)
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll(), name="sagaz-ends")
        self._look.set()
        try:
            await asyncio.wait([ended], timeout=seconds)
            return ended.result() if ended.done() else None
        finally:
            waiting = self._awaited.get(saga_id, [])
            if ended in waiting:
                waiting.remove(ended)
            if not waiting:
                self._awaited.pop(saga_id, None)

    def tell(self, saga_id: str, task: asyncio.Task[SagaRun] | None) -> None:
        """Tell whoever waits for a run that it has ended, here in this task or elsewhere."""
        for ended in self._awaited.pop(saga_id, []):
            if not ended.done():
                ended.set_result(task)

    def look(self) -> None:
        """Look at the store now: this process executes a run no longer, and it may have ended elsewhere."""
        if self._awaited:
            self._look.set()

    def stop(self) -> None:
        """Look at the store no more; whoever waits is told at the end of his time."""
        if self._poller is not None:
            self._poller.cancel()

    async def _poll(self) -> None:
        pause = _SHORTEST
        while self._awaited:
            self._look.clear()
            ended = await self._ended()
            for saga_id in ended:
                self.tell(saga_id, None)
            pause = _SHORTEST if ended else min(pause * 1.5, _LONGEST)
            try:
                async with asyncio.timeout(pause):
                    await self._look.wait()
            except TimeoutError:
                continue

    async def _ended(self) -> list[str]:
        asked = list(self._awaited)
        try:
            statuses = await self._store.statuses(asked)
        except StoreUnavailable:
            # Whoever waits has a limit of his own; until then it may answer again.
            return []
        # Of an end that is recorded by this process, what was raised is not known yet.
        here = self._executed_here()
        return [saga_id for saga_id in asked if statuses.get(saga_id) in (None, *FINISHED) and saga_id not in here]


class RecentDurations:
    """The latest runs of each saga, and how many seconds each took; usable from any thread."""

    def __init__(self) -> None:
        self._latest: dict[str, dict[str, float]] = {}
        self._lock = threading.Lock()

    def note(self, saga_name: str, saga_id: str, seconds: float) -> None:
        """Note that a run has ended; once more for the same run is harmless while it is among the latest."""
        with self._lock:
            latest = self._latest.setdefault(saga_name, {})
            latest.setdefault(saga_id, seconds)
            if len(latest) > _KEPT:
                del latest[next(iter(latest))]

    def typical(self, saga_name: str) -> float | None:
        """Return how many seconds such a run took: half of the latest took longer; None if none has ended here."""
        # Few processes are ever asked, and a worker's start is not to wait for it.
        from statistics import median

        with self._lock:
            latest = self._latest.get(saga_name)
            return median(latest.values()) if latest else None
