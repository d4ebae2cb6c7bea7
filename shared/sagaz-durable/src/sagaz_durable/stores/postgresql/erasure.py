"""The erasure of what ended runs were given and have returned; their journals stay."""

from __future__ import annotations

from typing import Any

from sagaz_durable.stores.postgresql.database.statements import Database
from sagaz_integration_core.contract.decisions import Erasure

__all__ = ["count_erasable", "erase"]

_MEANT = """
    FROM {schema}.sagaz_run AS run
    WHERE finished_at IS NOT NULL AND status = ANY(%(statuses)s::text[])
        AND fingerprint <> 'foreign' AND left(fingerprint, 7) <> 'erased:'
        AND NOT EXISTS (
            SELECT FROM {schema}.sagaz_outbox AS event WHERE event.saga_id = run.saga_id AND event.status <> 'sent')
"""

# SKIP LOCKED: a row that a decision or a deletion has locked is not waited for.
_ERASE = """
WITH chosen AS MATERIALIZED (
    SELECT ARRAY(SELECT saga_id {meant} ORDER BY finished_at LIMIT %(limit)s FOR NO KEY UPDATE OF run SKIP LOCKED)
        AS ids
), steps AS (
    UPDATE {schema}.sagaz_step SET result = NULL
    WHERE saga_id = ANY((SELECT ids FROM chosen)::text[]) AND result IS NOT NULL
), events AS (
    UPDATE {schema}.sagaz_outbox SET payload = jsonb_build_object(), headers = jsonb_build_object()
    WHERE saga_id = ANY((SELECT ids FROM chosen)::text[]) AND status = 'sent'
), waits AS (
    UPDATE {schema}.sagaz_wait SET payload = NULL WHERE saga_id = ANY((SELECT ids FROM chosen)::text[])
), untaken AS (
    DELETE FROM {schema}.sagaz_signal WHERE saga_id = ANY((SELECT ids FROM chosen)::text[]) AND taken_at IS NULL
), taken AS (
    UPDATE {schema}.sagaz_signal SET fingerprint = 'erased:'
    WHERE taken_by = ANY((SELECT ids FROM chosen)::text[]) AND taken_at IS NOT NULL
), runs AS (
    UPDATE {schema}.sagaz_run SET context = jsonb_build_object(), fingerprint = 'erased:' || status,
        attempt = attempt + 1, version = version + 1, updated_at = statement_timestamp()
    WHERE saga_id = ANY((SELECT ids FROM chosen)::text[])
    RETURNING saga_id, status
), noted AS (
    INSERT INTO {schema}.sagaz_audit (saga_id, action, actor, reason, found, status, at)
    SELECT saga_id, 'erase', %(actor)s::text, %(reason)s::text, status, status, statement_timestamp() FROM runs
)
SELECT count(*) FROM runs
"""


async def erase(db: Database, erasure: Erasure, limit: int) -> int:
    """Erase at most ``limit`` runs, those first that ended first; return how many."""
    meant, values = _meant(erasure)
    values |= {"actor": erasure.actor, "reason": erasure.reason, "limit": limit}
    [(count,)] = await db.fetch(_ERASE.replace("{meant}", meant), values)
    return int(count)


async def count_erasable(db: Database, erasure: Erasure) -> int:
    """Return how many runs an erasure means."""
    meant, values = _meant(erasure)
    [(count,)] = await db.fetch(f"SELECT count(*) {meant}", values)
    return int(count)


def _meant(erasure: Erasure) -> tuple[str, dict[str, Any]]:
    condition = _MEANT
    values: dict[str, Any] = {"statuses": list(erasure.statuses)}
    if erasure.saga_ids is not None:
        condition += " AND run.saga_id = ANY(%(saga_ids)s::text[])"
        values["saga_ids"] = list(erasure.saga_ids)
    if erasure.before is not None:
        condition += " AND finished_at < %(before)s"
        values["before"] = erasure.before
    return condition, values
