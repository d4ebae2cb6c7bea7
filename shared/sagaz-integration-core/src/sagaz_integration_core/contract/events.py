"""The outbox's part of a store: events that wait for a broker, were sent, or were set aside."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import field
from datetime import datetime
from typing import Literal, Protocol

from sagaz_integration_core.contract.record import record

__all__ = [
    "EventFilter",
    "EventOutcome",
    "EventStatus",
    "EventStore",
    "EventWrite",
    "NewEvent",
    "OutboxRecord",
    "of_run",
]

_NAMESPACE = uuid.UUID("c1a7f0f5-2d65-5e0b-8b3a-6f1d0c9e4b21")

EventStatus = Literal["pending", "sent", "dead"]
"""``dead``: the broker refused it too often; it needs manual intervention, and `EventStore.retry_events` revives it."""


@record
class EventWrite:
    """One event of a run; a second write of the same event_id is ignored. Payload and headers are JSON objects."""

    event_id: str
    topic: str
    payload: str = field(repr=False)
    headers: str = field(default="{}", repr=False)


@record
class NewEvent:
    """One event of the application; those with the same ``key`` leave in the order in which they were inserted."""

    event_id: str
    key: str
    topic: str
    payload: str = field(repr=False)
    headers: str = field(default="{}", repr=False)


def of_run(saga_id: str, event: EventWrite, created_at: object) -> NewEvent:
    """Return the event of a run as the outbox takes it.

    Its id is another one for each run that there has been under this saga_id: a consumer that knows the events of one
    that was pruned must not drop those of the next one with its key.

    Args:
        created_at: When the run was made, in whatever form the store always has it.
    """
    event_id = str(uuid.uuid5(_NAMESPACE, f"{event.event_id}\0{created_at}"))
    return NewEvent(event_id, saga_id, event.topic, event.payload, event.headers)


@record
class OutboxRecord:
    """One row of ``sagaz_outbox``; datetimes are aware, in UTC.

    Attributes:
        saga_id: The run that it tells of, or the key of an event of the application: what is kept in order.
        attempts: How many publications failed although the broker was there.
        available_at: When it is published next; for a leased one the end of its lease, None for never.
    """

    id: int
    event_id: str
    saga_id: str
    topic: str
    payload: str = field(repr=False)
    headers: str = field(repr=False)
    status: EventStatus
    attempts: int
    error: str | None
    available_at: datetime | None
    created_at: datetime
    sent_at: datetime | None


@record
class EventOutcome:
    """What became of a leased event, and the end of its lease.

    Attributes:
        status: ``pending``: it is due again after ``delay`` seconds.
        error: Why it was not sent; None leaves what is there, and being sent clears it.
        charged: Whether this counts as an attempt: not when the broker was unreachable.
    """

    id: int
    status: EventStatus
    error: str | None = None
    delay: float = 0.0
    charged: bool = False


@record
class EventFilter:
    """Which events to list, oldest first; ``after`` is the id of the last one of the page before."""

    statuses: tuple[EventStatus, ...] = ()
    topic: str | None = None
    saga_id: str | None = None
    event_ids: tuple[str, ...] | None = None
    limit: int = 50
    after: int = 0


class EventStore(Protocol):
    """What a store does with events besides writing those of a run; see `SagaStore`."""

    async def insert_events(self, events: Sequence[NewEvent]) -> list[bool]:
        """Insert events of the application in one transaction; False for each whose event_id was there already."""
        ...

    async def due_events(self, limit: int, lease_seconds: float) -> list[OutboxRecord]:
        """Lease and return events to publish, at most the oldest pending one of each saga, oldest first.

        A leased event is due again after ``lease_seconds``, unless it is settled before.
        """
        ...

    async def settle_events(self, outcomes: Sequence[EventOutcome]) -> None:
        """Record what became of leased events; what was sent stays sent, and what is dead is only ever sent."""
        ...

    async def find_events(self, query: EventFilter) -> list[OutboxRecord]:
        """Return events, oldest first."""
        ...

    async def count_events(self, query: EventFilter) -> int:
        """Return how many events match, whatever the filter's ``limit`` and ``after``."""
        ...

    async def retry_events(self, event_ids: Sequence[str]) -> list[str]:
        """Make dead events pending, due at once and without attempts; return which of them were dead."""
        ...

    async def prune_events(self, older_than: datetime, limit: int) -> int:
        """Delete at most ``limit`` events that were sent before ``older_than``; return how many."""
        ...
