"""The outbox's part of the SQLite store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sagaz_durable.stores.sqlite import outbox
from sagaz_durable.stores.sqlite.database.thread import ConnectionThread
from sagaz_integration_core.contract.events import EventFilter, EventOutcome, NewEvent, OutboxRecord

__all__ = ["SQLiteEvents"]


class SQLiteEvents:
    """Keeps events in the same file."""

    _thread: ConnectionThread

    def wake(self) -> None:
        """Make `wait` return now; callable from any thread."""
        raise NotImplementedError

    async def insert_events(self, events: Sequence[NewEvent]) -> list[bool]:
        """Insert events of the application in one transaction."""
        inserted = await self._thread.write(lambda sqlite: outbox.insert(sqlite, events), wary=True)
        self.wake()
        return inserted

    async def due_events(self, limit: int, lease_seconds: float) -> list[OutboxRecord]:
        """Lease and return events to publish, at most the oldest pending one of each saga."""
        if not await self._thread.read(outbox.any_due):
            return []
        return await self._thread.write(lambda sqlite: outbox.due(sqlite, limit, lease_seconds))

    async def settle_events(self, outcomes: Sequence[EventOutcome]) -> None:
        """Record what became of leased events."""
        await self._thread.write(lambda sqlite: outbox.settle(sqlite, outcomes))

    async def find_events(self, query: EventFilter) -> list[OutboxRecord]:
        """Return events, oldest first."""
        return await self._thread.read(lambda sqlite: outbox.find(sqlite, query))

    async def count_events(self, query: EventFilter) -> int:
        """Return how many events match."""
        return await self._thread.read(lambda sqlite: outbox.count(sqlite, query))

    async def retry_events(self, event_ids: Sequence[str]) -> list[str]:
        """Make dead events pending again."""
        retried = await self._thread.write(lambda sqlite: outbox.retry(sqlite, event_ids))
        self.wake()
        return retried

    async def prune_events(self, older_than: datetime, limit: int) -> int:
        """Delete events that were sent before ``older_than``; return how many."""
        if not await self._thread.read(lambda sqlite: outbox.any_sent(sqlite, older_than)):
            return 0
        return await self._thread.write(lambda sqlite: outbox.prune(sqlite, older_than, limit))
