"""What people are told of events, and the removal of those that are old."""

from __future__ import annotations

from datetime import datetime

from sagaz_durable.stores.postgresql.database.statements import Database
from sagaz_durable.stores.postgresql.webhooks.rows import webhook_record
from sagaz_durable.stores.postgresql.webhooks.sql import COLUMNS
from sagaz_integration_core.contract.webhooks import WebhookFilter, WebhookRecord, webhook_subject

__all__ = ["count_prunable_webhooks", "count_quarantined", "find_webhooks", "prune_webhooks"]

_FIND = f"""
SELECT {COLUMNS} FROM {{schema}}.sagaz_webhook
WHERE (%(id)s::text IS NULL OR id = %(id)s::text) AND (%(outcome)s::text IS NULL OR outcome = %(outcome)s::text)
    AND (%(source)s::text IS NULL OR source = %(source)s::text)
    AND (%(saga_id)s::text IS NULL OR saga_id = %(saga_id)s::text)
    AND (%(received_at)s::timestamptz IS NULL OR (received_at, id) < (%(received_at)s::timestamptz, %(last)s::text))
ORDER BY received_at DESC, id DESC LIMIT %(limit)s
"""  # noqa: S608
_COUNT_QUARANTINED = "SELECT count(*) FROM {schema}.sagaz_webhook WHERE outcome = 'quarantined'"
_OLD = """{schema}.sagaz_webhook
        WHERE (received_at < %(before)s AND outcome NOT IN ('quarantined', 'ignored', 'delayed'))
            OR (received_at < %(ignored)s AND outcome = 'ignored')"""
_COUNT_OLD = "SELECT count(*) FROM {old}".replace("{old}", _OLD)
_PRUNE = f"""
WITH old AS MATERIALIZED (
    SELECT ARRAY(SELECT id FROM {_OLD} ORDER BY received_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED) AS ids
), gone AS (
    DELETE FROM {{schema}}.sagaz_webhook WHERE id = ANY((SELECT ids FROM old)::text[]) RETURNING id
), notes AS (
    DELETE FROM {{schema}}.sagaz_audit
    WHERE saga_id = ANY(ARRAY(SELECT '{webhook_subject("")}' || unnest(ids) FROM old))
)
SELECT count(*) FROM gone
"""  # noqa: S608


async def find_webhooks(db: Database, query: WebhookFilter) -> list[WebhookRecord]:
    """Return events, the newest first."""
    received_at, last = query.before or (None, None)
    values = {
        "id": query.id,
        "outcome": query.outcome,
        "source": query.source,
        "saga_id": query.saga_id,
        "received_at": received_at,
        "last": last,
        "limit": query.limit,
    }
    return [webhook_record(row) for row in await db.fetch(_FIND, values)]


async def count_quarantined(db: Database) -> int:
    """Return how many events are quarantined."""
    [(count,)] = await db.fetch(_COUNT_QUARANTINED)
    return int(count)


async def prune_webhooks(db: Database, before: datetime, ignored_before: datetime, limit: int) -> int:
    """Delete old events; return how many."""
    [(count,)] = await db.fetch(_PRUNE, {"before": before, "ignored": ignored_before, "limit": limit})
    return int(count)


async def count_prunable_webhooks(db: Database, before: datetime, ignored_before: datetime) -> int:
    """Return how many events are old."""
    [(count,)] = await db.fetch(_COUNT_OLD, {"before": before, "ignored": ignored_before})
    return int(count)
