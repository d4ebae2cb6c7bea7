"""Events wait here for a broker; those of one saga leave in the order in which they came."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sagaz_integration_core.protocols import OutboxRecord
from sagaz_integration_core.stores._postgresql.database import Database
from sagaz_integration_core.stores._postgresql.rows import event_record

__all__ = ["due_events", "settle_events"]

_DUE_EVENTS = """
WITH due AS MATERIALIZED (SELECT ARRAY(
    SELECT id FROM {schema}.sagaz_outbox AS event
    WHERE status = 'pending' AND available_at <= statement_timestamp() AND NOT EXISTS (
        SELECT FROM {schema}.sagaz_outbox AS older
        WHERE older.saga_id = event.saga_id AND older.status = 'pending' AND older.id < event.id)
    ORDER BY available_at, id LIMIT %(limit)s
    FOR NO KEY UPDATE OF event SKIP LOCKED) AS ids
), leased AS (
    UPDATE {schema}.sagaz_outbox
    SET attempts = attempts + 1, available_at = statement_timestamp() + %(seconds)s * interval '1 second'
    WHERE id = ANY((SELECT ids FROM due)::bigint[])
    RETURNING id, event_id, saga_id, topic, payload::text, headers::text, status, attempts, error, created_at
)
SELECT * FROM leased ORDER BY array_position((SELECT ids FROM due), id)
"""

# An event that was sent after its run had been deleted has nothing to be kept for.
_SETTLE_EVENTS = """
WITH orphans AS (
    DELETE FROM {schema}.sagaz_outbox AS event WHERE id = ANY(%(sent)s::bigint[])
        AND NOT EXISTS (SELECT FROM {schema}.sagaz_run AS run WHERE run.saga_id = event.saga_id)
), sent AS (
    UPDATE {schema}.sagaz_outbox AS event
    SET status = 'sent', error = NULL, available_at = NULL, sent_at = statement_timestamp()
    WHERE id = ANY(%(sent)s::bigint[])
        AND EXISTS (SELECT FROM {schema}.sagaz_run AS run WHERE run.saga_id = event.saga_id)
), failed AS (
    UPDATE {schema}.sagaz_outbox AS event SET
        status = CASE WHEN given.dead THEN 'dead' ELSE 'pending' END,
        error = given.error,
        available_at = CASE WHEN NOT given.dead THEN statement_timestamp() + given.delay * interval '1 second' END
    FROM json_to_recordset(%(failed)s::text::json) AS given
        (id bigint, error text, delay double precision, dead boolean)
    WHERE event.id = given.id AND event.status = 'pending'
)
SELECT 1
"""


async def due_events(db: Database, limit: int, lease_seconds: float) -> list[OutboxRecord]:
    """Lease the events to publish next, at most one of each saga."""
    rows = await db.fetch(_DUE_EVENTS, {"limit": limit, "seconds": lease_seconds})
    return [event_record(row) for row in rows]


async def settle_events(db: Database, sent: Sequence[int], failed: Sequence[tuple[int, str, float, bool]]) -> None:
    """Record which events were sent, which are to be tried again, and which are set aside."""
    entries = [{"id": id_, "error": error, "delay": delay, "dead": dead} for id_, error, delay, dead in failed]
    await db.fetch(_SETTLE_EVENTS, {"sent": list(sent), "failed": json.dumps(entries)})
