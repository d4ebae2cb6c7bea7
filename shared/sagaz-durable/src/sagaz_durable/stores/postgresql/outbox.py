"""Events wait here for a broker; those of one saga leave in the order in which they came."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sagaz_durable.stores.postgresql.database.statements import Database
from sagaz_durable.stores.postgresql.rows import event_record
from sagaz_integration_core.contract.events import EventFilter, EventOutcome, NewEvent, OutboxRecord

__all__ = ["INSERT_EVENTS", "count", "due", "event_values", "find", "insert", "prune", "retry", "settle"]

_COLUMNS = (
    "id, event_id, saga_id, topic, payload::text, headers::text, status, attempts, error, available_at, created_at, "
    "sent_at"
)

# Sorted, so that the events get their ids in the order in which they are given.
INSERT_EVENTS = """
INSERT INTO {schema}.sagaz_outbox
    (event_id, saga_id, topic, payload, headers, status, attempts, available_at, created_at)
SELECT event_id, key, topic, payload::jsonb, headers::jsonb, 'pending', 0, statement_timestamp(), statement_timestamp()
FROM json_to_recordset(%s::text::json) AS given
    (n integer, event_id text, key text, topic text, payload text, headers text)
ORDER BY n
ON CONFLICT (event_id) DO NOTHING
RETURNING event_id, {wake}
"""

_DUE = f"""
WITH due AS MATERIALIZED (SELECT ARRAY(
    SELECT id FROM {{schema}}.sagaz_outbox AS event
    WHERE status = 'pending' AND available_at <= statement_timestamp() AND (
        SELECT id FROM {{schema}}.sagaz_outbox AS older
        WHERE older.saga_id = event.saga_id AND older.status = 'pending' AND older.id < event.id LIMIT 1) IS NULL
    ORDER BY available_at, id LIMIT %(limit)s
    FOR NO KEY UPDATE OF event SKIP LOCKED) AS ids
), leased AS (
    UPDATE {{schema}}.sagaz_outbox
    SET available_at = statement_timestamp() + %(seconds)s * interval '1 second'
    WHERE id = ANY((SELECT ids FROM due)::bigint[])
    RETURNING {_COLUMNS}
)
SELECT * FROM leased ORDER BY array_position((SELECT ids FROM due), id)
"""  # noqa: S608

# What another transaction has locked is not waited for: it is told. Another relay's `_DUE` may be this transaction: it
# locks what was free when it began, and then leaves what has been leased since.
_SETTLE = """
WITH given AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s::text::json) AS rows
        (id bigint, status text, error text, delay double precision, charged boolean)
), free AS MATERIALIZED (
    SELECT id FROM {schema}.sagaz_outbox WHERE id = ANY(ARRAY(SELECT id FROM given)) FOR NO KEY UPDATE SKIP LOCKED
), settled AS (UPDATE {schema}.sagaz_outbox AS event SET
    status = given.status,
    attempts = event.attempts + given.charged::integer,
    error = CASE WHEN given.status <> 'sent' THEN coalesce(given.error, event.error) END,
    available_at = CASE WHEN given.status = 'pending'
        THEN statement_timestamp() + given.delay * interval '1 second' END,
    sent_at = CASE WHEN given.status = 'sent' THEN statement_timestamp() END
FROM given
WHERE event.id = ANY(ARRAY(SELECT id FROM free)) AND event.id = given.id
    AND (event.status = 'pending' OR (event.status = 'dead' AND given.status = 'sent'))
)
SELECT id FROM {schema}.sagaz_outbox
WHERE id = ANY(ARRAY(SELECT id FROM given)) AND id <> ALL(ARRAY(SELECT id FROM free))
"""
_SETTLE_AGAIN_SECONDS = (0.01, 0.05, 0.2)

_FIND = f"SELECT {_COLUMNS} FROM {{schema}}.sagaz_outbox WHERE id > %(after)s AND "  # noqa: S608
_COUNT = "SELECT count(*) FROM {schema}.sagaz_outbox WHERE "

# One statement for each combination: with "or is null" a plan for all of them would read the whole table.
_CONDITIONS = {
    "statuses": "status = ANY(%(statuses)s::text[])",
    "topic": "topic = %(topic)s",
    "saga_id": "saga_id = %(saga_id)s",
    "event_ids": "event_id = ANY(%(event_ids)s::text[])",
}

_RETRY = """
UPDATE {schema}.sagaz_outbox SET status = 'pending', attempts = 0, available_at = statement_timestamp()
WHERE event_id = ANY(%s::text[]) AND status = 'dead'
RETURNING event_id, {wake}
"""

_PRUNE = """
DELETE FROM {schema}.sagaz_outbox WHERE id = ANY(ARRAY(
    SELECT id FROM {schema}.sagaz_outbox WHERE sent_at < %s ORDER BY sent_at LIMIT %s FOR UPDATE SKIP LOCKED))
RETURNING id
"""


def event_values(events: Sequence[NewEvent]) -> str:
    """Return the value of ``INSERT_EVENTS``."""
    return json.dumps([{"n": n, **asdict(event)} for n, event in enumerate(events)], ensure_ascii=False)


async def insert(db: Database, events: Sequence[NewEvent]) -> list[bool]:
    """Insert events of the application; False for each that was there already."""
    made = {row[0] for row in await db.fetch(INSERT_EVENTS, (event_values(events),))}
    answers = []
    for event in events:
        answers.append(event.event_id in made)
        made.discard(event.event_id)
    return answers


async def due(db: Database, limit: int, lease_seconds: float) -> list[OutboxRecord]:
    """Lease the events to publish next, at most one of each saga."""
    rows = await db.fetch(_DUE, {"limit": limit, "seconds": lease_seconds})
    return [event_record(row) for row in rows]


async def settle(db: Database, outcomes: Sequence[EventOutcome]) -> None:
    """Record what became of leased events."""
    # In the order of their ids, so that no two relays wait for each other.
    ordered = sorted(outcomes, key=lambda outcome: outcome.id)
    locked = await _settle(db, ordered)
    for seconds in _SETTLE_AGAIN_SECONDS:
        if not locked:
            return
        await asyncio.sleep(seconds)
        locked = await _settle(db, [outcome for outcome in ordered if outcome.id in locked])
    # What stays locked stays leased, and is published once more when that lease has ended.


async def _settle(db: Database, outcomes: Sequence[EventOutcome]) -> set[int]:
    given = json.dumps([asdict(outcome) for outcome in outcomes], ensure_ascii=False)
    return {row[0] for row in await db.fetch(_SETTLE, (given,))}


async def find(db: Database, query: EventFilter) -> list[OutboxRecord]:
    """Return events, oldest first."""
    where, values = _where(query)
    values |= {"after": query.after, "limit": query.limit}
    return [event_record(row) for row in await db.fetch(f"{_FIND}{where} ORDER BY id LIMIT %(limit)s", values)]


async def count(db: Database, query: EventFilter) -> int:
    """Return how many events match."""
    where, values = _where(query)
    [(number,)] = await db.fetch(_COUNT + where, values)
    return int(number)


def _where(query: EventFilter) -> tuple[str, dict[str, Any]]:
    given = {
        "statuses": list(query.statuses) or None,
        "topic": query.topic,
        "saga_id": query.saga_id,
        "event_ids": None if query.event_ids is None else list(query.event_ids),
    }
    values = {name: value for name, value in given.items() if value is not None}
    return " AND ".join(["true", *(_CONDITIONS[name] for name in values)]), values


async def retry(db: Database, event_ids: Sequence[str]) -> list[str]:
    """Make dead events pending again; return which of them were dead."""
    return [row[0] for row in await db.fetch(_RETRY, (list(event_ids),))]


async def prune(db: Database, older_than: datetime, limit: int) -> int:
    """Delete events that were sent before a time; return how many."""
    return len(await db.fetch(_PRUNE, (older_than, limit)))
