"""What is done with events, at the present moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice

from sagaz_durable.stores.memory.rows import Rows
from sagaz_integration_core.contract.events import EventFilter, EventOutcome, NewEvent, OutboxRecord

__all__ = ["count", "due", "find", "insert", "prune", "retry", "settle"]


def insert(rows: Rows, events: Sequence[NewEvent]) -> list[bool]:
    """Insert events; False for each that was there already."""
    moment = datetime.now(UTC)
    return [rows.outbox.add(event, moment) for event in events]


def due(rows: Rows, limit: int, lease_seconds: float) -> list[OutboxRecord]:
    """Lease the events to publish next, at most one of each saga."""
    return rows.outbox.lease(limit, datetime.now(UTC), lease_seconds)


def settle(rows: Rows, outcomes: Sequence[EventOutcome]) -> None:
    """Record what became of leased events."""
    moment = datetime.now(UTC)
    for outcome in outcomes:
        rows.outbox.settle(outcome, moment)


def find(rows: Rows, query: EventFilter) -> list[OutboxRecord]:
    """Return events, oldest first."""
    return list(islice(rows.outbox.find(query), query.limit))


def count(rows: Rows, query: EventFilter) -> int:
    """Return how many events match."""
    return sum(1 for _ in rows.outbox.find(replace(query, after=0)))


def retry(rows: Rows, event_ids: Sequence[str]) -> list[str]:
    """Make dead events pending again; return which of them were dead."""
    moment = datetime.now(UTC)
    return [event_id for event_id in event_ids if rows.outbox.retry(event_id, moment)]


def prune(rows: Rows, older_than: datetime, limit: int) -> int:
    """Delete events that were sent before a time; return how many."""
    return rows.outbox.prune(older_than, limit)
