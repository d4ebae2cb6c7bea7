"""The ends of runs: waiting for them, whatever process executes them, and what runs took until then."""

from __future__ import annotations

import asyncio
import threading
from statistics import median

from sagaz_integration_core.contract.records import FINISHED
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.errors import StoreUnavailable

__all__ = ["RecentDurations", "RunEnds"]

_SHORTEST, _LONGEST = 0.02, 0.5
"""Seconds between two looks at the store: short at first, and longer the longer nothing ends."""

_KEPT = 20
"""How many of the latest runs of each saga are remembered."""


class RunEnds:
    """Tells of a process's runs that others execute, too, when they have ended; one poller however many wait."""

    def __init__(self, store: SagaStore) -> None:
        self._store = store
        self._awaited: dict[str, list[asyncio.Future[None]]] = {}
        self._look = asyncio.Event()
        self._poller: asyncio.Task[None] | None = None

    async def wait(self, saga_id: str, seconds: float) -> bool:
        """Return whether a run has ended within this time, or is not there."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited.setdefault(saga_id, []).append(ended)
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll(), name="sagaz-ends")
        self._look.set()
        try:
            done, _ = await asyncio.wait([ended], timeout=seconds)
            return bool(done)
        finally:
            waiting = self._awaited.get(saga_id, [])
            if ended in waiting:
                waiting.remove(ended)
            if not waiting:
                self._awaited.pop(saga_id, None)

    def look(self) -> None:
        """Look at the store now: a run of this process has ended."""
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
            told = self._tell(await self._ended())
            pause = _SHORTEST if told else min(pause * 1.5, _LONGEST)
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
        return [saga_id for saga_id in asked if statuses.get(saga_id) in (None, *FINISHED)]

    def _tell(self, saga_ids: list[str]) -> bool:
        for saga_id in saga_ids:
            for ended in self._awaited.pop(saga_id, []):
                if not ended.done():
                    ended.set_result(None)
        return bool(saga_ids)


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
        with self._lock:
            latest = self._latest.get(saga_name)
            return median(latest.values()) if latest else None
