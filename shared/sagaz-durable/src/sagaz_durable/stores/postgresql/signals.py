"""The signals of a PostgreSQL store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from sagaz_durable.stores.postgresql.database.statements import Database, Row
from sagaz_integration_core.contract.waits import NewSignal, Sent, SignalFilter, SignalRecord

__all__ = [
    "CROWD",
    "DELIVER",
    "FIND_SENT",
    "FRESH",
    "NOTE",
    "SEE",
    "SEND",
    "SENT_TO",
    "SENT_TO_NAMED",
    "SIGNALLED_SINCE",
    "count_prunable_signals",
    "count_untaken",
    "find_signals",
    "prune_signals",
    "send",
    "sending",
    "signal_values",
]

# Runs that wait are many, and cost nothing: they are found from the signals that are new, of which a claim looks at so
# many, whatever there is. Whoever begins to wait later looks for its signals itself.
CROWD = "100 + %(limit)s"
"""How many new signals a claim looks at."""

FRESH = f"""
    SELECT saga_id, key, name, true AS new FROM (
        SELECT * FROM {{schema}}.sagaz_signal WHERE taken_at IS NULL AND seen_at IS NULL LIMIT {CROWD}
    ) AS unseen
    UNION ALL
    SELECT saga_id, key, name, false FROM (
        SELECT * FROM {{schema}}.sagaz_signal
        WHERE taken_at IS NULL AND seen_at > statement_timestamp() - interval '1 minute'
        ORDER BY seen_at DESC LIMIT {CROWD}
    ) AS seen
"""  # noqa: S608
"""The signals that a claim looks at."""

_WAITS_FOR = """(
        SELECT saga_id FROM {schema}.sagaz_wait
            WHERE saga_id = signal.saga_id AND name = signal.name AND outcome IS NULL
        UNION ALL
        SELECT saga_id FROM {schema}.sagaz_wait WHERE key = signal.key AND name = signal.name
    ) AS wait"""

SENT_TO = f"SELECT wait.saga_id FROM fresh AS signal CROSS JOIN LATERAL {_WAITS_FOR}"  # noqa: S608
"""The runs for one of whose waits one of these signals is there."""

SENT_TO_NAMED = """
    SELECT wait.saga_id FROM {schema}.sagaz_wait AS wait
    WHERE wait.saga_id = ANY(%(saga_ids)s::text[]) AND wait.outcome IS NULL AND (
        (SELECT count(*) > 0 FROM {schema}.sagaz_signal
            WHERE saga_id = wait.saga_id AND name = wait.name AND taken_at IS NULL)
        OR (SELECT count(*) > 0 FROM {schema}.sagaz_signal
            WHERE key = wait.key AND name = wait.name AND taken_at IS NULL))
"""
"""Those of some runs for one of whose waits a signal is there."""

SIGNALLED_SINCE = f"""
    SELECT wait.saga_id, signal.created_at FROM (
        SELECT * FROM {{schema}}.sagaz_signal WHERE taken_at IS NULL AND seen_at IS NULL
        UNION ALL
        SELECT * FROM {{schema}}.sagaz_signal
            WHERE taken_at IS NULL AND seen_at > statement_timestamp() - interval '1 minute'
    ) AS signal CROSS JOIN LATERAL {_WAITS_FOR}
"""  # noqa: S608
"""The runs for one of whose waits a signal is there that claims look at, and when it was sent."""

_AWAITED = """
    SELECT wait.saga_id FROM {schema}.sagaz_wait AS wait WHERE wait.name = signal.name AND wait.outcome IS NULL
        AND (wait.saga_id = signal.saga_id OR wait.key = signal.key)"""

# Not only once: a transaction that began to wait may not have been visible yet. After a minute it has ended, whatever
# claims have looked at meanwhile: what nobody waits for even then is settled, which is written as a time long past.
SEE = f"""unawaited AS MATERIALIZED (
    SELECT id FROM {{schema}}.sagaz_signal AS signal
    WHERE taken_at IS NULL AND seen_at IS NULL AND NOT EXISTS ({_AWAITED}) LIMIT 1000 FOR UPDATE SKIP LOCKED
), unseen AS (
    UPDATE {{schema}}.sagaz_signal SET seen_at = statement_timestamp() WHERE id = ANY(ARRAY(SELECT id FROM unawaited))
), seen AS MATERIALIZED (
    SELECT id, (SELECT count(*) = 0 FROM {{schema}}.sagaz_run AS run
        WHERE run.saga_id = ANY(ARRAY({_AWAITED})) AND run.status = 'waiting') AS settled
    FROM {{schema}}.sagaz_signal AS signal
    WHERE taken_at IS NULL AND seen_at > timestamptz 'epoch'
        AND seen_at <= statement_timestamp() - interval '1 minute'
    LIMIT 5000 FOR UPDATE SKIP LOCKED
), settled AS (
    UPDATE {{schema}}.sagaz_signal SET seen_at = timestamptz 'epoch'
    WHERE id = ANY(ARRAY(SELECT id FROM seen WHERE settled))
), awaited AS (
    UPDATE {{schema}}.sagaz_signal SET seen_at = NULL WHERE id = ANY(ARRAY(SELECT id FROM seen WHERE NOT settled))
)"""  # noqa: S608
"""Has claims look at signals that nobody waits for a minute longer, and then no more."""

DELIVER = f"""
WITH fresh AS MATERIALIZED (
    SELECT id, saga_id, key, name FROM {{schema}}.sagaz_signal WHERE taken_at IS NULL AND seen_at IS NULL
    LIMIT 1000 FOR UPDATE SKIP LOCKED
), meant AS MATERIALIZED (
    SELECT signal.id, run.saga_id
    FROM fresh AS signal CROSS JOIN LATERAL {_WAITS_FOR} CROSS JOIN LATERAL (
        SELECT saga_id FROM {{schema}}.sagaz_run WHERE saga_id = wait.saga_id AND status = 'waiting' OFFSET 0
    ) AS run
), reached AS MATERIALIZED (
    SELECT saga_id FROM {{schema}}.sagaz_run
    WHERE saga_id = ANY(ARRAY(SELECT saga_id FROM meant)) AND (status = 'waiting') IS TRUE
    FOR NO KEY UPDATE SKIP LOCKED
), roused AS (
    UPDATE {{schema}}.sagaz_run SET available_at = least(available_at, statement_timestamp())
    WHERE saga_id = ANY(ARRAY(SELECT saga_id FROM reached))
)
UPDATE {{schema}}.sagaz_signal SET seen_at = statement_timestamp() WHERE id = ANY(ARRAY(
    SELECT id FROM fresh WHERE id <> ALL(ARRAY(
        SELECT id FROM meant WHERE saga_id <> ALL(ARRAY(SELECT saga_id FROM reached))))))
RETURNING id
"""  # noqa: S608
"""Makes the runs due for which the signals are, so that claims need not look at these; but for runs that another
transaction has locked."""

# It touches no row of a run: whoever parks that run, and whoever claims it, looks for its signals.
SEND = """
INSERT INTO {schema}.sagaz_signal (id, name, saga_id, key, signal_id, payload, fingerprint, created_at)
SELECT id, name, saga_id, key, signal_id, payload::jsonb, fingerprint, statement_timestamp()
FROM json_to_recordset(%s::text::json) AS given
    (id text, name text, saga_id text, key text, signal_id text, payload text, fingerprint text,
     version integer)
WHERE (SELECT run.status IN ('completed', 'rolled_back', 'failed') FROM {schema}.sagaz_run AS run
    WHERE run.saga_id = given.saga_id) IS NOT TRUE
    AND (version IS NULL
        OR version = (SELECT run.version FROM {schema}.sagaz_run AS run WHERE run.saga_id = given.saga_id))
ORDER BY id
ON CONFLICT (id) DO NOTHING
RETURNING id, {wake_for_signal}
"""

# Which run takes a signal to a key that nobody waits under is not known yet: until then the note is the signal's.
_NOTE = """
INSERT INTO {schema}.sagaz_audit (saga_id, action, actor, reason, found, status, at)
SELECT COALESCE(run.saga_id, given.saga_id, 'signal:' || given.id), 'signal', given.actor, given.reason,
    COALESCE(run.status, 'waiting'), COALESCE(run.status, 'waiting'), statement_timestamp()
FROM json_to_recordset(%s::text::json) AS given (id text, name text, saga_id text, key text, actor text, reason text)
LEFT JOIN LATERAL (
    SELECT saga_id, status FROM {schema}.sagaz_run WHERE saga_id = COALESCE(given.saga_id,
        (SELECT wait.saga_id FROM {schema}.sagaz_wait AS wait WHERE wait.name = given.name AND wait.key = given.key))
    OFFSET 0
) AS run ON true
WHERE given.actor IS NOT NULL
"""
NOTE = f"{_NOTE} RETURNING saga_id"

_SEND_NOTED = (
    f"""
WITH sent AS ({SEND.replace("{wake_for_signal}", "saga_id")}), noted AS (
    {_NOTE} AND EXISTS (SELECT FROM sent WHERE sent.id = given.id)
)
"""  # noqa: S608
    "SELECT id, {wake_for_signal} FROM sent"
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
_OLD = """{schema}.sagaz_signal
        WHERE taken_at < %(taken)s OR (taken_at IS NULL AND created_at < %(untaken)s
            AND NOT EXISTS (SELECT FROM {schema}.sagaz_run AS run WHERE run.saga_id = sagaz_signal.saga_id
                AND run.status NOT IN ('completed', 'rolled_back', 'failed'))
            AND NOT EXISTS (SELECT FROM {schema}.sagaz_wait AS wait
                WHERE wait.key = sagaz_signal.key AND wait.name = sagaz_signal.name))"""
_COUNT_PRUNABLE = "SELECT count(*) FROM {old}".replace("{old}", _OLD)
_PRUNE = """
WITH old AS MATERIALIZED (
    SELECT ARRAY(SELECT id FROM {old}
        ORDER BY created_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED) AS ids
), gone AS (
    DELETE FROM {schema}.sagaz_signal WHERE id = ANY((SELECT ids FROM old)::text[]) RETURNING id, saga_id, taken_by
), kept AS (
    UPDATE {schema}.sagaz_audit AS note SET saga_id = gone.taken_by FROM gone
    WHERE note.saga_id = 'signal:' || gone.id
        AND EXISTS (SELECT FROM {schema}.sagaz_run AS run WHERE run.saga_id = gone.taken_by)
), lost AS (
    DELETE FROM {schema}.sagaz_audit AS note USING gone
    WHERE note.saga_id IN ('signal:' || gone.id, gone.saga_id)
        AND NOT EXISTS (SELECT FROM {schema}.sagaz_run AS run WHERE run.saga_id IN (note.saga_id, gone.taken_by))
)
SELECT count(*) FROM gone
""".replace("{old}", _OLD)


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


async def count_prunable_signals(db: Database, taken_before: datetime, untaken_before: datetime) -> int:
    """Return how many signals are old."""
    [(count,)] = await db.fetch(_COUNT_PRUNABLE, {"taken": taken_before, "untaken": untaken_before})
    return int(count)


def _record(row: Row) -> SignalRecord:
    taken_at: datetime | None = row[8]
    taken = None if taken_at is None else taken_at.astimezone(UTC)
    values = [*row[:7], row[7].astimezone(UTC), taken, *row[9:]]
    return SignalRecord(*values)
