"""The signals of a PostgreSQL store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from sagaz_durable.stores.postgresql.database.statements import Database, Row
from sagaz_integration_core.contract.waits import NewSignal, Sent, SignalFilter, SignalRecord

__all__ = [
    "FIND_SENT",
    "NOTE",
    "SEND",
    "count_untaken",
    "find_signals",
    "prune_signals",
    "send",
    "sending",
    "signal_values",
]

# It touches no row of a run: whoever parks that run, and whoever claims it, looks for its signals.
SEND = """
INSERT INTO {schema}.sagaz_signal (id, name, saga_id, key, signal_id, payload, fingerprint, created_at)
SELECT id, name, saga_id, key, signal_id, payload::jsonb, fingerprint, statement_timestamp()
FROM json_to_recordset(%s::text::json) AS given
    (id text, name text, saga_id text, key text, signal_id text, payload text, fingerprint text,
     version integer)
WHERE NOT EXISTS (SELECT FROM {schema}.sagaz_run AS run
    WHERE run.saga_id = given.saga_id AND run.status IN ('completed', 'rolled_back', 'failed'))
    AND (version IS NULL
        OR version = (SELECT run.version FROM {schema}.sagaz_run AS run WHERE run.saga_id = given.saga_id))
ORDER BY id
ON CONFLICT (id) DO NOTHING
RETURNING id, {wake}
"""

_NOTE = """
INSERT INTO {schema}.sagaz_audit (saga_id, action, actor, reason, found, status, at)
SELECT run.saga_id, 'signal', given.actor, given.reason, run.status, run.status, statement_timestamp()
FROM json_to_recordset(%s::text::json) AS given (id text, name text, saga_id text, key text, actor text, reason text)
JOIN {schema}.sagaz_run AS run ON run.saga_id = COALESCE(given.saga_id,
    (SELECT wait.saga_id FROM {schema}.sagaz_wait AS wait WHERE wait.name = given.name AND wait.key = given.key))
WHERE given.actor IS NOT NULL
"""
NOTE = f"{_NOTE} RETURNING saga_id"

_SEND_NOTED = (
    f"""
WITH sent AS ({SEND.replace("{wake}", "saga_id")}), noted AS (
    {_NOTE} AND EXISTS (SELECT FROM sent WHERE sent.id = given.id)
)
"""  # noqa: S608
    "SELECT id, {wake} FROM sent"
)

FIND_SENT = "SELECT id, fingerprint FROM {schema}.sagaz_signal WHERE id = ANY(%s::text[])"

_FIND = """
SELECT id, name, saga_id, key, signal_id, payload::text, fingerprint, created_at, taken_at, taken_by,
    taken_step, taken_phase
FROM {schema}.sagaz_signal
WHERE (%(state)s::text IS NULL OR (taken_at IS NULL) = (%(state)s::text = 'untaken'))
    AND (%(name)s::text IS NULL OR name = %(name)s::text)
    AND (%(saga_id)s::text IS NULL OR saga_id = %(saga_id)s::text OR taken_by = %(saga_id)s::text)
    AND (%(created_at)s::timestamptz IS NULL OR (created_at, id) < (%(created_at)s::timestamptz, %(id)s::text))
ORDER BY created_at DESC, id DESC LIMIT %(limit)s
"""
_COUNT = "SELECT count(*) FROM {schema}.sagaz_signal WHERE taken_at IS NULL"
_PRUNE = """
WITH old AS MATERIALIZED (
    SELECT ARRAY(SELECT id FROM {schema}.sagaz_signal
        WHERE taken_at < %(taken)s OR (taken_at IS NULL AND created_at < %(untaken)s
            AND NOT EXISTS (SELECT FROM {schema}.sagaz_run AS run WHERE run.saga_id = sagaz_signal.saga_id
                AND run.status NOT IN ('completed', 'rolled_back', 'failed'))
            AND NOT EXISTS (SELECT FROM {schema}.sagaz_wait AS wait
                WHERE wait.key = sagaz_signal.key AND wait.name = sagaz_signal.name))
        ORDER BY created_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED) AS ids
), gone AS (
    DELETE FROM {schema}.sagaz_signal WHERE id = ANY((SELECT ids FROM old)::text[]) RETURNING id
)
SELECT count(*) FROM gone
"""


def signal_values(signals: Sequence[NewSignal]) -> str:
    """Return the value of `SEND` and of `NOTE`."""
    return json.dumps([asdict(signal) for signal in signals], ensure_ascii=False)


def sending(signals: Sequence[NewSignal]) -> tuple[str, list[str]]:
    """Return the statement that inserts signals, with notes if persons have sent some, and its values."""
    values = signal_values(signals)
    noted = any(signal.actor is not None for signal in signals)
    return (_SEND_NOTED, [values, values]) if noted else (SEND, [values])


async def send(db: Database, signals: Sequence[NewSignal]) -> list[Sent]:
    """Insert signals; an answer for each."""
    rows = await db.fetch(*sending(signals))
    made = {row[0] for row in rows}
    found: dict[str, str] = {}
    if others := [signal.id for signal in signals if signal.id not in made]:
        found = {row[0]: row[1] for row in await db.fetch(FIND_SENT, [others])}
    return [
        Sent(signal.id in made, signal.fingerprint if signal.id in made else found.get(signal.id)) for signal in signals
    ]


async def find_signals(db: Database, query: SignalFilter) -> list[SignalRecord]:
    """Return signals, the newest first."""
    created_at, before = query.before or (None, None)
    values = {
        "state": query.state,
        "name": query.name,
        "saga_id": query.saga_id,
        "created_at": created_at,
        "id": before,
        "limit": query.limit,
    }
    return [_record(row) for row in await db.fetch(_FIND, values)]


async def count_untaken(db: Database) -> int:
    """Return how many signals nobody has taken."""
    [(count,)] = await db.fetch(_COUNT)
    return int(count)


async def prune_signals(db: Database, taken_before: datetime, untaken_before: datetime, limit: int) -> int:
    """Delete old signals; return how many."""
    [(count,)] = await db.fetch(_PRUNE, {"taken": taken_before, "untaken": untaken_before, "limit": limit})
    return int(count)


def _record(row: Row) -> SignalRecord:
    taken_at: datetime | None = row[8]
    taken = None if taken_at is None else taken_at.astimezone(UTC)
    values = [*row[:7], row[7].astimezone(UTC), taken, *row[9:]]
    return SignalRecord(*values)
