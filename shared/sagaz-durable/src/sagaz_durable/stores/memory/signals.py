"""The signals' part of the memory store."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime

from sagaz_durable.stores.memory.rows import Rows
from sagaz_durable.stores.memory.waits import Waits
from sagaz_integration_core.contract.waits import NewSignal, Sent, SignalFilter, SignalRecord, WaitRecord

__all__ = ["MemorySignals"]


class MemorySignals:
    """Keeps waits and signals as long as the process lives."""

    _rows: Rows
    _waits: Waits

    def _use(self) -> threading.Lock:
        raise NotImplementedError

    def wake(self) -> None:
        """Make `wait` return now; callable from any thread."""
        raise NotImplementedError

    async def send(self, signals: Sequence[NewSignal]) -> list[Sent]:
        """Insert signals."""
        with self._use():
            moment = datetime.now(UTC)
            sent = [self._rows.send(signal, moment) for signal in signals]
        self.wake()
        return sent

    async def load_waits(self, saga_id: str) -> list[WaitRecord]:
        """Return the waits of a run."""
        with self._use():
            return list(self._waits.of_run(saga_id))

    async def find_signals(self, query: SignalFilter) -> list[SignalRecord]:
        """Return signals, the newest first."""
        with self._use():
            return self._waits.find(query)

    async def count_untaken(self) -> int:
        """Return how many signals nobody has taken."""
        with self._use():
            return self._waits.count_untaken()

    async def prune_signals(self, taken_before: datetime, untaken_before: datetime, limit: int) -> int:
        """Delete old signals; return how many."""
        with self._use():
            return self._waits.prune(taken_before, untaken_before, limit)
