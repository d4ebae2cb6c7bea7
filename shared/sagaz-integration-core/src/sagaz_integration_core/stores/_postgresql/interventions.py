"""What people decide about runs, and the notes of it."""

from __future__ import annotations

import json
from dataclasses import asdict

from sagaz_integration_core.records import FINISHED, FOREIGN, AuditRecord, Intervention
from sagaz_integration_core.stores._postgresql.database import Database
from sagaz_integration_core.stores._postgresql.rows import audit_record

__all__ = ["intervene", "load_audit"]

# greatest() leaves NULL out: a run without a lease is due at once.
_INTERVENE = """
WITH changed AS (
    UPDATE {schema}.sagaz_run SET
        status = %(status)s,
        attempt = attempt + 1,
        failures = 0,
        error = coalesce(%(error)s::text, error),
        lease_owner = NULL,
        lease_expires_at = NULL,
        available_at = CASE WHEN NOT %(ends)s THEN greatest(statement_timestamp(), lease_expires_at) END,
        updated_at = statement_timestamp(),
        finished_at = CASE WHEN %(ends)s THEN statement_timestamp() END
    WHERE saga_id = %(saga_id)s AND attempt = %(attempt)s AND status = %(found)s AND fingerprint <> %(foreign)s
    RETURNING saga_id
), forgotten AS (
    DELETE FROM {schema}.sagaz_step
    WHERE saga_id = ANY(ARRAY(SELECT saga_id FROM changed)) AND phase = 'undo' AND status = 'failed'
        AND %(status)s::text = 'compensating'
), noted AS (
    INSERT INTO {schema}.sagaz_audit (saga_id, action, actor, reason, found, status, at)
    SELECT saga_id, %(action)s, %(actor)s, %(reason)s, %(found)s, %(status)s, statement_timestamp() FROM changed
), told AS (
    INSERT INTO {schema}.sagaz_outbox
        (event_id, saga_id, topic, payload, headers, status, attempts, available_at, created_at)
    SELECT event.event_id, changed.saga_id, event.topic, event.payload::jsonb, event.headers::jsonb, 'pending', 0,
        statement_timestamp(), statement_timestamp()
    FROM changed CROSS JOIN LATERAL json_to_recordset(%(events)s::text::json) AS event
        (event_id text, topic text, payload text, headers text)
    ON CONFLICT (event_id) DO NOTHING
)
SELECT saga_id, {wake} FROM changed
"""

_AUDIT = """
SELECT saga_id, action, actor, reason, found, status, at FROM {schema}.sagaz_audit WHERE saga_id = %s ORDER BY id
"""


async def intervene(db: Database, change: Intervention) -> bool:
    """Carry out a decision and note it; False when the run has changed meanwhile."""
    values = {
        **{name: value for name, value in asdict(change).items() if name != "events"},
        "ends": change.status in FINISHED,
        "foreign": FOREIGN,
        "events": json.dumps([asdict(event) for event in change.events], ensure_ascii=False),
    }
    return bool(await db.fetch(_INTERVENE, values))


async def load_audit(db: Database, saga_id: str) -> list[AuditRecord]:
    """Return the notes about one run, the oldest first."""
    return [audit_record(row) for row in await db.fetch(_AUDIT, [saga_id])]
