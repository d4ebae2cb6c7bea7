"""What keeps a store in order: workers' signs of life, rows of sagaz's own engine, deleting and erasing old runs."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sagaz_durable.stores.postgresql.database.statements import Database
from sagaz_durable.stores.postgresql.rows import worker_record
from sagaz_durable.stores.postgresql.signals import SEE, SIGNALLED_SINCE
from sagaz_integration_core.contract.decisions import Erasure
from sagaz_integration_core.contract.listings import WorkerKind, WorkerRecord
from sagaz_integration_core.contract.records import FINISHED, FOREIGN, RunStatus

__all__ = [
    "count_erasable",
    "count_lost",
    "count_prunable",
    "count_signalled",
    "delete",
    "erase",
    "heartbeat",
    "live_workers",
    "prune",
    "rouse_lost",
    "save_foreign",
]

_HEARTBEAT = """
WITH forgotten AS (
    DELETE FROM {schema}.sagaz_worker WHERE name = ANY(ARRAY(
        SELECT name FROM {schema}.sagaz_worker
        WHERE name <> %(name)s::text AND alive_until <= statement_timestamp()
        FOR UPDATE SKIP LOCKED))
), own AS MATERIALIZED (
    SELECT name FROM {schema}.sagaz_worker WHERE name = %(name)s::text FOR NO KEY UPDATE SKIP LOCKED
), prolonged AS (
    UPDATE {schema}.sagaz_worker SET kind = %(kind)s::text, sagas = %(sagas)s::text::jsonb,
        alive_until = statement_timestamp() + %(seconds)s * interval '1 second'
    WHERE name = ANY(ARRAY(SELECT name FROM own))
), noted AS (
    INSERT INTO {schema}.sagaz_worker (name, kind, sagas, alive_until)
    SELECT %(name)s::text, %(kind)s::text, %(sagas)s::text::jsonb,
        statement_timestamp() + %(seconds)s * interval '1 second'
    WHERE NOT EXISTS (SELECT FROM {schema}.sagaz_worker WHERE name = %(name)s::text)
    ON CONFLICT (name) DO NOTHING
), {see}
SELECT name FROM own
""".replace("{see}", SEE)

_LOST = """
    FROM json_each(%s::text::json) AS known
    JOIN {schema}.sagaz_run AS run ON run.saga_name = known.key AND run.status = 'waiting'
    JOIN {schema}.sagaz_wait AS wait ON wait.saga_id = run.saga_id AND wait.outcome IS NULL
        AND wait.step <> ALL(ARRAY(SELECT json_array_elements_text(known.value)))
"""

_ROUSE_LOST = f"""
UPDATE {{schema}}.sagaz_run SET available_at = statement_timestamp() WHERE saga_id = ANY(ARRAY(
    SELECT run.saga_id {_LOST} FOR NO KEY UPDATE OF run SKIP LOCKED))
RETURNING saga_id, {{wake}}
"""  # noqa: S608

_COUNT_LOST = f"SELECT run.saga_name, wait.step, count(DISTINCT run.saga_id) {_LOST} GROUP BY 1, 2"

_COUNT_SIGNALLED = f"""
SELECT saga_name, count(*), extract(epoch FROM statement_timestamp() - min(sent_at))::double precision FROM (
    SELECT run.saga_name, min(signalled.created_at) AS sent_at
    FROM ({SIGNALLED_SINCE}) AS signalled JOIN {{schema}}.sagaz_run AS run ON run.saga_id = signalled.saga_id
    WHERE run.status = 'waiting' AND (run.available_at IS NULL OR run.available_at > statement_timestamp())
    GROUP BY run.saga_id, run.saga_name) AS signalled_run
GROUP BY saga_name
"""  # noqa: S608

_LIVE = """
SELECT name, kind, ARRAY(SELECT jsonb_array_elements_text(sagas)), alive_until
FROM {schema}.sagaz_worker WHERE alive_until > statement_timestamp() ORDER BY name
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
attempts AS (DELETE FROM {schema}.sagaz_attempt WHERE saga_id = ANY((SELECT ids FROM old)::text[])),
waits AS (DELETE FROM {schema}.sagaz_wait WHERE saga_id = ANY((SELECT ids FROM old)::text[])),
audit AS (DELETE FROM {schema}.sagaz_audit WHERE saga_id = ANY((SELECT ids FROM old)::text[])
    OR saga_id = ANY(ARRAY(SELECT 'signal:' || id FROM {schema}.sagaz_signal
        WHERE taken_by = ANY((SELECT ids FROM old)::text[]) AND taken_at IS NOT NULL))),
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


async def heartbeat(
    db: Database, worker: str, seconds: float, kind: WorkerKind = "worker", sagas: Collection[str] = ()
) -> None:
    """Note until when a process is alive, and forget those that are not."""
    values = {"name": worker, "seconds": seconds, "kind": kind, "sagas": json.dumps(sorted(sagas), ensure_ascii=False)}
    await db.fetch(_HEARTBEAT, values)


async def live_workers(db: Database) -> list[WorkerRecord]:
    """Return the processes that are alive."""
    return [worker_record(row) for row in await db.fetch(_LIVE)]


async def rouse_lost(db: Database, steps: Mapping[str, Collection[str]]) -> int:
    """Make the runs of these sagas due that wait in a step which theirs has not; what is locked is left."""
    return len(await db.fetch(_ROUSE_LOST, [_as_json(steps)]))


async def count_lost(db: Database, steps: Mapping[str, Collection[str]]) -> dict[tuple[str, str], int]:
    """Return how many runs of these sagas wait in a step which theirs has not, by saga and step."""
    return {(saga, step): count for saga, step, count in await db.fetch(_COUNT_LOST, [_as_json(steps)])}


async def count_signalled(db: Database) -> dict[str, tuple[int, float]]:
    """Return how many waiting runs have a signal that no claim has found, and the age of the oldest, by saga."""
    return {saga: (count, age) for saga, count, age in await db.fetch(_COUNT_SIGNALLED)}


def _as_json(steps: Mapping[str, Collection[str]]) -> str:
    return json.dumps({name: list(known) for name, known in steps.items()}, ensure_ascii=False)


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
), answers AS (
    UPDATE {schema}.sagaz_idempotency SET answer = NULL WHERE saga_id = ANY((SELECT ids FROM chosen)::text[])
), webhooks AS (
    UPDATE {schema}.sagaz_webhook SET body = NULL, fingerprint = 'erased:' WHERE id = ANY(ARRAY(
        SELECT id FROM {schema}.sagaz_webhook WHERE saga_id = ANY((SELECT ids FROM chosen)::text[])
        UNION ALL SELECT event.id
        FROM (SELECT name, signal_id FROM {schema}.sagaz_signal
            WHERE taken_by = ANY((SELECT ids FROM chosen)::text[]) AND taken_at IS NOT NULL OFFSET 0) AS own
        CROSS JOIN LATERAL (SELECT id FROM {schema}.sagaz_webhook
            WHERE delivery_id = own.signal_id AND signal = own.name OFFSET 0) AS event))
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
