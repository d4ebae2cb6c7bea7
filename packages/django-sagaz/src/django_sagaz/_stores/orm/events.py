"""The outbox's part of the store over Django's ORM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Concatenate, ParamSpec, TypeVar

from django_sagaz._stores.orm import outbox as orm_outbox
from sagaz_integration_core.contract.events import EventFilter, EventOutcome, NewEvent, OutboxRecord

__all__ = ["ORMEvents"]

T = TypeVar("T")
P = ParamSpec("P")


class ORMEvents:
    """Keeps events in the same database."""

    async def _do(self, work: Callable[Concatenate[Any, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        raise NotImplementedError

    def wake(self) -> None:
        """Make `wait` return now; callable from any thread."""
        raise NotImplementedError

    async def insert_events(self, events: Sequence[NewEvent]) -> list[bool]:
        """Insert events of the application in one transaction."""
        inserted = await self._do(orm_outbox.insert, events)
        self.wake()
        return inserted

    async def due_events(self, limit: int, lease_seconds: float) -> list[OutboxRecord]:
        """Lease and return events to publish, at most the oldest pending one of each saga."""
        return await self._do(orm_outbox.due, limit, lease_seconds)

    async def settle_events(self, outcomes: Sequence[EventOutcome]) -> None:
        """Record what became of leased events."""
        await self._do(orm_outbox.settle, outcomes)

    async def find_events(self, query: EventFilter) -> list[OutboxRecord]:
        """Return events, oldest first."""
        return await self._do(orm_outbox.find, query)

    async def count_events(self, query: EventFilter) -> int:
        """Return how many events match."""
        return await self._do(orm_outbox.count, query)

    async def retry_events(self, event_ids: Sequence[str]) -> list[str]:
        """Make dead events pending again."""
        retried = await self._do(orm_outbox.retry, event_ids)
        self.wake()
        return retried

    async def prune_events(self, older_than: datetime, limit: int) -> int:
        """Delete events that were sent before ``older_than``; return how many."""
        return await self._do(orm_outbox.prune, older_than, limit)
