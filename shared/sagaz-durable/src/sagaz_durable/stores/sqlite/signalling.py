"""The signals' part of the SQLite store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sagaz_durable.stores.sqlite import signals, waits
from sagaz_durable.stores.sqlite.database.thread import ConnectionThread
from sagaz_integration_core.contract.waits import NewSignal, Sent, SignalFilter, SignalRecord, WaitRecord

__all__ = ["SQLiteSignals"]


class SQLiteSignals:
    """Keeps waits and signals in the same file."""

    _thread: ConnectionThread

    def wake(self) -> None:
        """Make `wait` return now; callable from any thread."""
        raise NotImplementedError

    async def send(self, sent: Sequence[NewSignal]) -> list[Sent]:
        """Insert signals in one transaction."""
        answers = await self._thread.write(lambda sqlite: signals.send(sqlite, sent), wary=True)
        self.wake()
        return answers

    async def load_waits(self, saga_id: str) -> list[WaitRecord]:
        """Return the waits of a run."""
        found = await self._thread.read(lambda sqlite: waits.load_waits(sqlite, [saga_id]))
        return [wait for wait, _ in found[saga_id]]

    async def find_signals(self, query: SignalFilter) -> list[SignalRecord]:
        """Return signals, the newest first."""
        return await self._thread.read(lambda sqlite: signals.find_signals(sqlite, query))

    async def count_untaken(self) -> int:
        """Return how many signals nobody has taken."""
        return await self._thread.read(signals.count_untaken)

    async def prune_signals(self, taken_before: datetime, untaken_before: datetime, limit: int) -> int:
        """Delete old signals; return how many."""
        return await self._thread.write(
            lambda sqlite: signals.prune_signals(sqlite, taken_before, untaken_before, limit)
        )
