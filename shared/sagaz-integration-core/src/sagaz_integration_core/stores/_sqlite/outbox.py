"""Events wait here for a broker; those of one saga leave in the order in which they came."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from sagaz_integration_core.protocols import OutboxRecord
from sagaz_integration_core.stores._sqlite.rows import after, event_record, now, stamp
from sagaz_integration_core.stores._sqlite.sql import (
    DUE_EVENTS,
    FAIL_EVENT,
    LEASE_EVENT,
    SEND_EVENT,
    SEND_ORPHAN,
)

__all__ = ["any_event_due", "due_events", "settle_events"]


def any_event_due(sqlite: sqlite3.Connection) -> bool:
    """Whether there is an event to publish: mostly there is none, which is no reason to take the write lock."""
    return sqlite.execute(DUE_EVENTS, (stamp(now()), 1)).fetchone() is not None


def due_events(sqlite: sqlite3.Connection, limit: int, lease_seconds: float) -> list[OutboxRecord]:
    """Lease the events to publish next, at most one of each saga."""
    moment = now()
    events = [event_record(row) for row in sqlite.execute(DUE_EVENTS, (stamp(moment), limit))]
    leased = [replace(event, attempts=event.attempts + 1) for event in events]
    until = after(moment, lease_seconds)
    sqlite.executemany(LEASE_EVENT, [(event.attempts, until, event.id) for event in leased])
    return leased


def settle_events(
    sqlite: sqlite3.Connection, sent: Sequence[int], failed: Sequence[tuple[int, str, float, bool]]
) -> None:
    """Record which events were sent, which are to be tried again, and which are set aside."""
    moment = now()
    sqlite.executemany(SEND_ORPHAN, [(id_,) for id_ in sent])
    sqlite.executemany(SEND_EVENT, [(stamp(moment), id_) for id_ in sent])
    sqlite.executemany(
        FAIL_EVENT,
        [
            ("dead" if dead else "pending", error, None if dead else after(moment, delay), id_)
            for id_, error, delay, dead in failed
        ],
    )
