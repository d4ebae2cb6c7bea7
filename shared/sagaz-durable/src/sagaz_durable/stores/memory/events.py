"""The outbox's part of the memory store."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice

from sagaz_durable.stores.memory.outbox import Outbox
from sagaz_integration_core.contract.events import EventFilter, EventOutcome, NewEvent, OutboxRecord

__all__ = ["MemoryEvents"]


class MemoryEvents:
    """Keeps events as long as the process lives."""

    _outbox: Outbox

    def _use(self) -> threading.Lock:
        raise NotImplementedError

    def wake(self) -> None:
        """Make `wait` return now; callable from any thread."""
        raise NotImplementedError

    async def insert_events(self, events: Sequence[NewEvent]) -> list[bool]:
        """Insert events of the application."""
        with self._use():
            moment = datetime.now(UTC)
            inserted = [self._outbox.add(event, moment) for event in events]
        self.wake()
        return inserted

    async def due_events(self, limit: int, lease_seconds: float) -> list[OutboxRecord]:
        """Lease and return events to publish, at most the oldest pending one of each saga."""
        with self._use():
            return self._outbox.lease(limit, datetime.now(UTC), lease_seconds)

    async def settle_events(self, outcomes: Sequence[EventOutcome]) -> None:
        """Record what became of leased events."""
        with self._use():
            moment = datetime.now(UTC)
            for outcome in outcomes:
                self._outbox.settle(outcome, moment)

    async def find_events(self, query: EventFilter) -> list[OutboxRecord]:
        """Return events, oldest first."""
        with self._use():
            return list(islice(self._outbox.find(query), query.limit))

    async def count_events(self, query: EventFilter) -> int:
        """Return how many events match."""
        with self._use():
            return sum(1 for _ in self._outbox.find(replace(query, after=0)))

    async def retry_events(self, event_ids: Sequence[str]) -> list[str]:
        """Make dead events pending again."""
        with self._use():
            moment = datetime.now(UTC)
            retried = [event_id for event_id in event_ids if self._outbox.retry(event_id, moment)]
        self.wake()
        return retried

    async def prune_events(self, older_than: datetime, limit: int) -> int:
        """Delete events that were sent before ``older_than``; return how many."""
        with self._use():
            return self._outbox.prune(older_than, limit)
