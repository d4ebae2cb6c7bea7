"""What keeps a store in order: workers' signs of life, rows of sagaz's own engine, and the deletion of old runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sagaz_integration_core.records import FINISHED, FOREIGN, RunStatus
from sagaz_integration_core.stores._postgresql.database import Database

__all__ = ["count_prunable", "delete", "heartbeat", "prune", "save_foreign"]

# Workers are kept in sagaz_meta as "worker:<name>", with the time until which they are taken to be alive.
_HEARTBEAT = """
WITH forgotten AS (
    DELETE FROM {schema}.sagaz_meta WHERE key = ANY(ARRAY(
        SELECT key FROM {schema}.sagaz_meta
        WHERE key >= 'worker:' AND key < 'worker;' AND key <> %(key)s
            AND value::double precision < extract(epoch FROM statement_timestamp())
        FOR UPDATE SKIP LOCKED))
)
INSERT INTO {schema}.sagaz_meta VALUES (%(key)s, (extract(epoch FROM statement_timestamp()) + %(seconds)s)::text)
ON CONFLICT (key) DO UPDATE SET value = excluded.value
RETURNING key
"""

_SAVE_FOREIGN = """
INSERT INTO {schema}.sagaz_run AS run
    (saga_id, saga_name, status, context, correlation_id, attempt, failures, created_at, updated_at, finished_at,
     fingerprint)
VALUES (%(saga_id)s, %(saga_name)s, %(status)s, %(context)s::text::jsonb, %(correlation_id)s, 0, 0,
        statement_timestamp(), statement_timestamp(), CASE WHEN %(finished)s THEN statement_timestamp() END,
        %(foreign)s)
ON CONFLICT (saga_id) DO UPDATE SET saga_name = excluded.saga_name, status = excluded.status,
    context = excluded.context, correlation_id = coalesce(excluded.correlation_id, run.correlation_id),
    updated_at = excluded.updated_at, finished_at = excluded.finished_at
WHERE run.fingerprint = excluded.fingerprint
RETURNING saga_id
"""

# Events outlive their run until they are sent; those that were set aside are kept for a person.
_FORGET = """
WITH old AS MATERIALIZED (SELECT ARRAY({old} FOR UPDATE SKIP LOCKED) AS ids),
steps AS (DELETE FROM {schema}.sagaz_step WHERE saga_id = ANY((SELECT ids FROM old)::text[])),
audit AS (DELETE FROM {schema}.sagaz_audit WHERE saga_id = ANY((SELECT ids FROM old)::text[])),
events AS (DELETE FROM {schema}.sagaz_outbox
    WHERE saga_id = ANY((SELECT ids FROM old)::text[]) AND status = 'sent'),
runs AS (DELETE FROM {schema}.sagaz_run WHERE saga_id = ANY((SELECT ids FROM old)::text[]) RETURNING saga_id)
SELECT count(*) FROM runs
"""

_PRUNE = _FORGET.replace(
    "{old}",
    "SELECT saga_id FROM {schema}.sagaz_run WHERE status = ANY(%(statuses)s::text[]) AND finished_at < %(older_than)s "
    "ORDER BY finished_at LIMIT %(limit)s",
)

_COUNT_PRUNABLE = """
SELECT count(*) FROM {schema}.sagaz_run
WHERE status = ANY(%(statuses)s::text[]) AND finished_at < %(older_than)s
"""

_DELETE = _FORGET.replace(
    "{old}",
    "SELECT saga_id FROM {schema}.sagaz_run WHERE saga_id = %(saga_id)s AND (finished_at IS NOT NULL "
    "OR fingerprint = %(foreign)s)",
)


async def heartbeat(db: Database, worker: str, seconds: float) -> None:
    """Note until when a worker is alive, and forget those that are not."""
    await db.fetch(_HEARTBEAT, {"key": f"worker:{worker}", "seconds": seconds})


async def save_foreign(
    db: Database, saga_id: str, saga_name: str, status: str, context: str, correlation_id: str | None
) -> bool:
    """Insert or update a row of sagaz's own engine; False when a run of ours has this saga_id."""
    row = {
        "saga_id": saga_id,
        "saga_name": saga_name,
        "status": status,
        "context": context,
        "correlation_id": correlation_id,
        "finished": status in FINISHED,
        "foreign": FOREIGN,
    }
    return bool(await db.fetch(_SAVE_FOREIGN, row))


async def delete(db: Database, saga_id: str) -> bool:
    """Delete a finished or foreign run with its journal; its events stay until they are sent."""
    [(count,)] = await db.fetch(_DELETE, {"saga_id": saga_id, "foreign": FOREIGN})
    return bool(count)


async def prune(db: Database, older_than: datetime, statuses: Sequence[RunStatus], limit: int) -> int:
    """Delete runs that ended before ``older_than``, those first that ended first."""
    values = {"statuses": list(statuses), "older_than": older_than, "limit": limit}
    [(count,)] = await db.fetch(_PRUNE, values)
    return int(count)


async def count_prunable(db: Database, older_than: datetime, statuses: Sequence[RunStatus]) -> int:
    """Return how many runs ended before ``older_than``."""
    [(count,)] = await db.fetch(_COUNT_PRUNABLE, {"statuses": list(statuses), "older_than": older_than})
    return int(count)
