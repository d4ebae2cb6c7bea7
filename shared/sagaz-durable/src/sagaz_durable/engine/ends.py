"""Waiting for the ends of runs, whatever process executes them: one poller however many wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from sagaz_durable.engine.result import SagaRun
from sagaz_integration_core.contract.records import FINISHED
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.errors import StoreUnavailable

__all__ = ["RunEnds"]

_SHORTEST, _LONGEST = 0.02, 0.5
"""Seconds between two looks at the store: short at first, and longer the longer nothing ends."""


class RunEnds:
    """Tells when runs have ended that this process or others execute.

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
