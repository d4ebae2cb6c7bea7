"""The outbox's part of the PostgreSQL store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sagaz_durable.stores.postgresql import outbox
from sagaz_durable.stores.postgresql.database.pool import Connections
from sagaz_integration_core.contract.events import EventFilter, EventOutcome, NewEvent, OutboxRecord

__all__ = ["PostgresEvents"]


class PostgresEvents:
    """Keeps events in the same schema; a commit that adds some wakes the workers."""

    _db: Connections

    @property
    def _listening(self) -> bool:
        raise NotImplementedError

    def wake(self) -> None:
        """Make `wait` return now; callable from any thread."""
        raise NotImplementedError

    async def insert_events(self, events: Sequence[NewEvent]) -> list[bool]:
        """Insert events of the application in one statement."""
        inserted = await outbox.insert(self._db, events)
        if not self._listening:
            self.wake()
        return inserted

    async def due_events(self, limit: int, lease_seconds: float) -> list[OutboxRecord]:
        """Lease and return events to publish, at most the oldest pending one of each saga."""
        return await outbox.due(self._db, limit, lease_seconds)

    async def settle_events(self, outcomes: Sequence[EventOutcome]) -> None:
        """Record what became of leased events."""
        await outbox.settle(self._db, outcomes)

    async def find_events(self, query: EventFilter) -> list[OutboxRecord]:
        """Return events, oldest first."""
        return await outbox.find(self._db, query)

    async def count_events(self, query: EventFilter) -> int:
        """Return how many events match."""
        return await outbox.count(self._db, query)

    async def retry_events(self, event_ids: Sequence[str]) -> list[str]:
        """Make dead events pending again."""
        retried = await outbox.retry(self._db, event_ids)
        if not self._listening:
            self.wake()
        return retried

    async def prune_events(self, older_than: datetime, limit: int) -> int:
        """Delete events that were sent before ``older_than``; return how many."""
        return await outbox.prune(self._db, older_than, limit)
