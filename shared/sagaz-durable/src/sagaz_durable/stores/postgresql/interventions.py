"""What people decide about runs, and the notes of it."""

from __future__ import annotations

import json
import time
from dataclasses import asdict

from sagaz_durable.stores.ended_leases import decision
from sagaz_durable.stores.postgresql.database.statements import Database
from sagaz_durable.stores.postgresql.rows import audit_record
from sagaz_durable.stores.postgresql.sql import EVENT_ID, UNDER_WAY
from sagaz_integration_core.contract.decisions import AuditRecord, Intervention
from sagaz_integration_core.contract.records import FINISHED, FOREIGN
from sagaz_integration_core.errors import StoreUnavailable

__all__ = ["intervene", "load_audit"]

_PATIENCE_SECONDS = 1.0
"""How long a decision waits for a row that another transaction has locked."""

_PAUSE = "SELECT pg_sleep(0.02)"

_FOUND = (
    "saga_id = %(saga_id)s AND attempt = %(attempt)s AND status = %(found)s::text AND fingerprint <> %(foreign)s "
    "AND (%(version)s::integer IS NULL OR version = %(version)s::integer)"
)

_EVENT_ID = EVENT_ID.replace("{of}", "changed")

# greatest() leaves NULL out: a run without a lease is due at once.
_INTERVENE = f"""
WITH found AS MATERIALIZED (
    SELECT saga_id, attempt, lease_owner, leased_at FROM {{schema}}.sagaz_run WHERE {_FOUND}
    FOR NO KEY UPDATE SKIP LOCKED
), ended AS (
    INSERT INTO {{schema}}.sagaz_attempt (saga_id, attempt, owner, began_at, ended_at, outcome, detail, under_way)
    SELECT saga_id, attempt, lease_owner, coalesce(leased_at, statement_timestamp()), statement_timestamp(), 'decided',
        %(detail)s::text, {UNDER_WAY.format(run="found")}
    FROM found WHERE lease_owner IS NOT NULL
    ON CONFLICT (saga_id, attempt) DO NOTHING
), changed AS (
    UPDATE {{schema}}.sagaz_run SET
        status = %(status)s::text,
        direction = CASE %(status)s::text WHEN 'compensating' THEN 'back' WHEN 'pending' THEN 'forward'
            ELSE direction END,
        attempt = attempt + 1,
        version = version + 1,
        failures = 0,
        suspicions = 0,
        alone = false,
        deadline = CASE WHEN %(action)s::text <> 'retry' THEN deadline END,
        error = CASE %(action)s::text WHEN 'retry' THEN %(error)s::text ELSE coalesce(%(error)s::text, error) END,
        lease_owner = NULL,
        lease_expires_at = NULL,
        available_at = CASE WHEN NOT %(ends)s THEN greatest(statement_timestamp(), lease_expires_at) END,
        updated_at = statement_timestamp(),
        finished_at = CASE WHEN %(ends)s THEN statement_timestamp() END
    WHERE saga_id = ANY(ARRAY(SELECT saga_id FROM found))
    RETURNING saga_id
), forgotten AS (
    DELETE FROM {{schema}}.sagaz_step
    WHERE saga_id = ANY(ARRAY(SELECT saga_id FROM changed)) AND phase = 'undo' AND status = 'failed'
        AND %(turns_back)s
), left_waits AS (
    DELETE FROM {{schema}}.sagaz_wait
    WHERE saga_id = ANY(ARRAY(SELECT saga_id FROM changed))
        AND (%(ends)s OR (phase <> 'undo' AND %(turns_back)s))
), ended_sleeps AS (
    UPDATE {{schema}}.sagaz_wait SET until = statement_timestamp()
    WHERE saga_id = ANY(ARRAY(SELECT saga_id FROM changed)) AND %(status)s::text = 'waiting' AND outcome IS NULL
        AND name = ''
), noted AS (
    INSERT INTO {{schema}}.sagaz_audit (saga_id, action, actor, reason, found, status, at)
    SELECT saga_id, %(action)s::text, %(actor)s::text, %(reason)s::text, %(found)s::text, %(status)s::text,
        statement_timestamp() FROM changed
), told AS (
    INSERT INTO {{schema}}.sagaz_outbox
        (event_id, saga_id, topic, payload, headers, status, attempts, available_at, created_at)
    SELECT {_EVENT_ID}, changed.saga_id, event.topic, event.payload::jsonb, event.headers::jsonb, 'pending', 0,
        statement_timestamp(), statement_timestamp()
    FROM changed CROSS JOIN LATERAL json_to_recordset(%(events)s::text::json) AS event
        (event_id text, topic text, payload text, headers text)
    ON CONFLICT (event_id) DO NOTHING
)
SELECT true AS done, {{wake}} FROM changed
UNION ALL
SELECT false, NULL WHERE NOT EXISTS (SELECT FROM found)
    AND EXISTS (SELECT FROM {{schema}}.sagaz_run WHERE {_FOUND})
"""  # noqa: S608

_AUDIT = """
SELECT %(saga_id)s::text, action, actor, reason, found, status, at FROM {schema}.sagaz_audit
WHERE saga_id = %(saga_id)s::text OR saga_id = ANY(ARRAY(
    SELECT 'signal:' || id FROM {schema}.sagaz_signal WHERE taken_by = %(saga_id)s::text AND taken_at IS NOT NULL))
ORDER BY id
"""


async def intervene(db: Database, change: Intervention) -> bool:
    """Carry out a decision and note it; False when the run has changed meanwhile."""
    values = {
        **{name: value for name, value in asdict(change).items() if name != "events"},
        "ends": change.status in FINISHED,
        "turns_back": change.turns_back,
        "foreign": FOREIGN,
        "detail": decision(change),
        "events": json.dumps([asdict(event) for event in change.events], ensure_ascii=False),
    }
    until = time.monotonic() + _PATIENCE_SECONDS
    while rows := await db.fetch(_INTERVENE, values):
        if rows[0][0]:
            return True
        if time.monotonic() >= until:
            raise StoreUnavailable(
                f"The row of run {change.saga_id} has been locked by another transaction for {_PATIENCE_SECONDS:g} s, "
                "and nothing was changed. Try again, or find out who holds it (pg_locks, pg_stat_activity)."
            )
        # By the server: Django asks it without an event loop.
        await db.fetch(_PAUSE)
    return False


async def load_audit(db: Database, saga_id: str) -> list[AuditRecord]:
    """Return the notes about one run, the oldest first."""
    return [audit_record(row) for row in await db.fetch(_AUDIT, {"saga_id": saga_id})]
