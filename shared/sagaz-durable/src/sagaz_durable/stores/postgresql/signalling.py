"""The signals' part of the PostgreSQL store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sagaz_durable.stores.postgresql import signals, waits
from sagaz_durable.stores.postgresql.database.pool import Connections
from sagaz_integration_core.contract.waits import NewSignal, Sent, SignalFilter, SignalRecord, WaitRecord

__all__ = ["PostgresSignals"]


class PostgresSignals:
    """Keeps waits and signals in the same schema; a commit that adds a signal wakes the workers."""

    _db: Connections

    @property
    def _listening(self) -> bool:
        raise NotImplementedError

    def wake(self) -> None:
        """Make `wait` return now; callable from any thread."""
        raise NotImplementedError

    async def send(self, sent: Sequence[NewSignal]) -> list[Sent]:
        """Insert signals in one statement."""
        answers = await signals.send(self._db, sent)
        if not self._listening:
            self.wake()
        return answers

    async def load_waits(self, saga_id: str) -> list[WaitRecord]:
        """Return the waits of a run."""
        return await waits.load_waits(self._db, saga_id)

    async def find_signals(self, query: SignalFilter) -> list[SignalRecord]:
        """Return signals, the newest first."""
        return await signals.find_signals(self._db, query)

    async def count_untaken(self) -> int:
        """Return how many signals nobody has taken."""
        return await signals.count_untaken(self._db)

    async def prune_signals(self, taken_before: datetime, untaken_before: datetime, limit: int) -> int:
        """Delete old signals; return how many."""
        return await signals.prune_signals(self._db, taken_before, untaken_before, limit)
