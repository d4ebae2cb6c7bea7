"""Events wait here for a broker; those of one saga leave in the order in which they came."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sagaz_durable.stores.sqlite.rows import after, event_record, now, stamp, when
from sagaz_integration_core.contract.events import EventFilter, EventOutcome, EventWrite, NewEvent, OutboxRecord, of_run

__all__ = [
    "INSERT_EVENT",
    "any_due",
    "any_sent",
    "count",
    "due",
    "find",
    "insert",
    "insert_of_run",
    "prune",
    "retry",
    "settle",
]

_COLUMNS = "id, event_id, saga_id, topic, payload, headers, status, attempts, error, available_at, created_at, sent_at"

INSERT_EVENT = """
    INSERT INTO sagaz_outbox (event_id, saga_id, topic, payload, headers, status, available_at, created_at)
    VALUES (?, ?, ?, ?, ?, 'pending', ?, ?)
    ON CONFLICT (event_id) DO NOTHING
"""

_DUE = f"""
    SELECT {_COLUMNS} FROM sagaz_outbox AS event
    WHERE status = 'pending' AND available_at <= ? AND NOT EXISTS (
        SELECT 1 FROM sagaz_outbox AS older
        WHERE older.saga_id = event.saga_id AND older.status = 'pending' AND older.id < event.id
    )
    ORDER BY available_at, id LIMIT ?
"""  # noqa: S608
_LEASE = "UPDATE sagaz_outbox SET available_at = ? WHERE id = ?"
_SETTLE = """
    UPDATE sagaz_outbox SET status = :status, attempts = attempts + :charged, available_at = :available,
        sent_at = :sent, error = CASE :status WHEN 'sent' THEN NULL ELSE coalesce(:error, error) END
    WHERE id = :id AND (status = 'pending' OR (status = 'dead' AND :status = 'sent'))
"""
_RETRY = """
    UPDATE sagaz_outbox SET status = 'pending', attempts = 0, available_at = ?
    WHERE event_id IN (SELECT value FROM json_each(?)) AND status = 'dead'
    RETURNING event_id
"""
_ANY_SENT = "SELECT 1 FROM sagaz_outbox WHERE sent_at < ? LIMIT 1"
_PRUNE = """
    DELETE FROM sagaz_outbox
    WHERE id IN (SELECT id FROM sagaz_outbox WHERE sent_at < ? ORDER BY sent_at LIMIT ?)
"""


def insert_of_run(sqlite: sqlite3.Connection, saga_id: str, events: Sequence[EventWrite], stamped: str) -> None:
    """Insert events of a run, as a part of the transaction that records what they tell of."""
    if not events:
        return
    [created_at] = sqlite.execute("SELECT created_at FROM sagaz_run WHERE saga_id = ?", (saga_id,)).fetchone()
    made = [of_run(saga_id, event, created_at) for event in events]
    rows = [(event.event_id, saga_id, event.topic, event.payload, event.headers, stamped, stamped) for event in made]
    sqlite.executemany(INSERT_EVENT, rows)


def insert(sqlite: sqlite3.Connection, events: Sequence[NewEvent]) -> list[bool]:
    """Insert events of the application; False for each that was there already."""
    stamped = stamp(now())
    rows = [
        (event.event_id, event.key, event.topic, event.payload, event.headers, stamped, stamped) for event in events
    ]
    return [sqlite.execute(INSERT_EVENT, row).rowcount == 1 for row in rows]


def any_due(sqlite: sqlite3.Connection) -> bool:
    """Whether there is an event to publish: mostly there is none, which is no reason to take the write lock."""
    return sqlite.execute(_DUE, (stamp(now()), 1)).fetchone() is not None


def due(sqlite: sqlite3.Connection, limit: int, lease_seconds: float) -> list[OutboxRecord]:
    """Lease the events to publish next, at most one of each saga."""
    moment = now()
    events = [event_record(row) for row in sqlite.execute(_DUE, (stamp(moment), limit))]
    until = after(moment, lease_seconds)
    sqlite.executemany(_LEASE, [(until, event.id) for event in events])
    return [replace(event, available_at=when(until)) for event in events]


def settle(sqlite: sqlite3.Connection, outcomes: Sequence[EventOutcome]) -> None:
    """Record what became of leased events."""
    moment = now()
    sqlite.executemany(
        _SETTLE,
        [
            {
                "id": outcome.id,
                "status": outcome.status,
                "error": outcome.error,
                "charged": int(outcome.charged),
                "available": after(moment, outcome.delay) if outcome.status == "pending" else None,
                "sent": stamp(moment) if outcome.status == "sent" else None,
            }
            for outcome in outcomes
        ],
    )


def find(sqlite: sqlite3.Connection, query: EventFilter) -> list[OutboxRecord]:
    """Return events, oldest first."""
    where, values = _where(query)
    statement = f"SELECT {_COLUMNS} FROM sagaz_outbox WHERE id > ? AND {where} ORDER BY id LIMIT ?"  # noqa: S608
    return [event_record(row) for row in sqlite.execute(statement, (query.after, *values, query.limit))]


def count(sqlite: sqlite3.Connection, query: EventFilter) -> int:
    """Return how many events match."""
    where, values = _where(query)
    return int(sqlite.execute(f"SELECT count(*) FROM sagaz_outbox WHERE {where}", values).fetchone()[0])  # noqa: S608


def _where(query: EventFilter) -> tuple[str, tuple[Any, ...]]:
    parts, values = ["true"], []
    if query.statuses:
        parts.append("status IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(query.statuses))
    if query.topic is not None:
        parts.append("topic = ?")
        values.append(query.topic)
    if query.saga_id is not None:
        parts.append("saga_id = ?")
        values.append(query.saga_id)
    if query.event_ids is not None:
        parts.append("event_id IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(query.event_ids))
    return " AND ".join(parts), tuple(values)


def retry(sqlite: sqlite3.Connection, event_ids: Sequence[str]) -> list[str]:
    """Make dead events pending again; return which of them were dead."""
    rows = sqlite.execute(_RETRY, (stamp(now()), json.dumps(list(event_ids)))).fetchall()
    return [row[0] for row in rows]


def any_sent(sqlite: sqlite3.Connection, older_than: datetime) -> bool:
    """Whether an event was sent before a time."""
    return sqlite.execute(_ANY_SENT, (stamp(older_than),)).fetchone() is not None


def prune(sqlite: sqlite3.Connection, older_than: datetime, limit: int) -> int:
    """Delete events that were sent before a time; return how many."""
    return sqlite.execute(_PRUNE, (stamp(older_than), limit)).rowcount
