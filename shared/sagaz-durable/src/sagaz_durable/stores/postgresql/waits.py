"""What runs wait for: the parts of the engine's statements that register waits, and end them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sagaz_integration_core.contract.records import RunWrite
from sagaz_integration_core.contract.waits import WaitRecord, WaitWrite

__all__ = [
    "END_WAITS",
    "JOURNALS",
    "OFFERED",
    "PARKED_AT",
    "RECORD_WAITS",
    "wait_record",
    "wait_rows",
]

RECORD_WAITS = """), gone AS MATERIALIZED (
    SELECT held.saga_id, call.step, call.phase, call.missed
    FROM held CROSS JOIN LATERAL json_to_recordset(held.left_waits) AS call (step text, phase text, missed boolean)
), deleted AS (
    DELETE FROM {schema}.sagaz_wait
    WHERE saga_id = ANY(ARRAY(SELECT saga_id FROM gone))
        AND ((saga_id, step, phase) IN (SELECT saga_id, step, phase FROM gone WHERE missed IS NULL)
            OR (name <> '' AND outcome IN ('timeout', 'refused')
                AND (saga_id, step, phase) IN (SELECT saga_id, step, phase FROM gone WHERE missed)))
), stopped AS (
    DELETE FROM {schema}.sagaz_wait
    WHERE saga_id = ANY(ARRAY(SELECT saga_id FROM held WHERE stops_waiting)) AND outcome IS NULL
), asked AS MATERIALIZED (
    SELECT held.saga_id, held.attempt, new.step, new.phase, new.name, new.n, new.key,
        coalesce(statement_timestamp() + new.seconds * interval '1 second', new.until) AS until,
        statement_timestamp() + new.place * interval '1 microsecond' AS created_at
    FROM held CROSS JOIN LATERAL json_to_recordset(held.waits) AS new
        (place integer, step text, phase text, name text, n integer, key text, seconds double precision,
         until timestamptz)
    -- In one order, so that no two writes wait for each other's keys.
    ORDER BY new.name, new.key
), registered AS (
    INSERT INTO {schema}.sagaz_wait (saga_id, step, phase, name, n, key, until, created_at)
    SELECT saga_id, step, phase, name, n, key, until, created_at FROM asked
    ON CONFLICT DO NOTHING
    RETURNING saga_id, step, phase, name, n
), refused AS (
    INSERT INTO {schema}.sagaz_wait (saga_id, step, phase, name, n, until, created_at, outcome, attempt, payload)
    SELECT asked.saga_id, step, phase, name, n, until, created_at, 'refused', attempt + 1,
        jsonb_build_object('saga_id', coalesce(
            (SELECT first.saga_id FROM {schema}.sagaz_wait AS first
                WHERE first.name = asked.name AND first.key = asked.key),
            -- Of what this statement inserts itself, it sees nothing there.
            (SELECT beside.saga_id FROM asked AS beside
                WHERE beside.name = asked.name AND beside.key = asked.key AND
                    (beside.saga_id, beside.step, beside.phase, beside.name, beside.n) IN (SELECT * FROM registered))))
    FROM asked
    WHERE key IS NOT NULL AND (saga_id, step, phase, name, n) NOT IN (SELECT * FROM registered)
        AND (SELECT count(*) = 0 FROM {schema}.sagaz_wait AS known WHERE known.saga_id = asked.saga_id
            AND known.step = asked.step AND known.phase = asked.phase AND known.name = asked.name
            AND known.n = asked.n)
    ON CONFLICT (saga_id, step, phase, name, n) DO NOTHING
    RETURNING saga_id
), open AS MATERIALIZED (
    SELECT held.saga_id, wait.name, wait.key, wait.until, wait.attempt
    FROM held CROSS JOIN LATERAL (
        SELECT * FROM {schema}.sagaz_wait WHERE saga_id = held.saga_id OFFSET 0
    ) AS wait
    WHERE held.parks AND (wait.outcome IS NULL OR wait.attempt > held.attempt)
        AND (wait.saga_id, wait.step, wait.phase) NOT IN (SELECT saga_id, step, phase FROM gone WHERE missed IS NULL)
    UNION ALL
    SELECT saga_id, name, key, until, NULL FROM asked
), parked AS MATERIALIZED (
    SELECT held.saga_id, CASE
        WHEN EXISTS (SELECT FROM refused WHERE refused.saga_id = held.saga_id)
            OR (SELECT bool_or(open.attempt IS NOT NULL
                OR (SELECT count(*) > 0 FROM {schema}.sagaz_signal AS signal
                    WHERE signal.saga_id = open.saga_id AND signal.name = open.name AND signal.taken_at IS NULL)
                OR (SELECT count(*) > 0 FROM {schema}.sagaz_signal AS signal
                    WHERE signal.key = open.key AND signal.name = open.name AND signal.taken_at IS NULL))
                FROM open WHERE open.saga_id = held.saga_id)
        THEN statement_timestamp()
        ELSE least((SELECT min(until) FROM open WHERE open.saga_id = held.saga_id),
            CASE WHEN held.by_deadline THEN held.deadline END)
    END AS due_at
    FROM held WHERE held.parks
"""
"""What a write tells of waits, and when the runs that wait are due."""

PARKED_AT = "(SELECT due_at FROM parked WHERE parked.saga_id = held.saga_id)"

# Before the claims that are made in the same statement, and only of runs that were claimed before. Waits are read once,
# by their runs: OFFSET and arrays keep the planner, who may find the tables empty, from reading them whole for ever.
OFFERED = """
), waited AS MATERIALIZED (
    SELECT wait.*, due.attempt + 1 AS ended_by
    FROM due CROSS JOIN LATERAL (
        SELECT * FROM {schema}.sagaz_wait WHERE saga_id = due.saga_id OFFSET 0 FOR NO KEY UPDATE SKIP LOCKED
    ) AS wait
    WHERE due.attempt > 0
), signalled_wait AS MATERIALIZED (
    SELECT * FROM (
        SELECT waited.*, ARRAY(
            SELECT id FROM {schema}.sagaz_signal
                WHERE saga_id = waited.saga_id AND name = waited.name AND taken_at IS NULL
            UNION ALL
            SELECT id FROM {schema}.sagaz_signal
                WHERE key = waited.key AND name = waited.name AND taken_at IS NULL
        ) AS ids
        FROM waited WHERE outcome IS NULL AND name <> '' OFFSET 0
    ) AS wait
    WHERE cardinality(ids) > 0
), offered AS MATERIALIZED (
    SELECT wait.saga_id, wait.step, wait.phase, wait.name, wait.n, wait.ended_by, signal.id, signal.payload
    FROM (
        -- Of a name, the first for which one is there; another may wait under another key. The next claim takes those.
        SELECT DISTINCT ON (saga_id, name) * FROM signalled_wait ORDER BY saga_id, name, created_at, n
    ) AS wait LEFT JOIN LATERAL (
        SELECT id, payload FROM {schema}.sagaz_signal
        WHERE id = ANY(wait.ids) AND (taken_at IS NULL) IS TRUE
        -- By an expression: the index by time would be read from its beginning.
        ORDER BY extract(epoch FROM created_at), id LIMIT 1 FOR UPDATE SKIP LOCKED
    ) AS signal ON true
), free AS MATERIALIZED (
    SELECT * FROM due WHERE attempt = 0 OR (
        saga_id <> ALL(ARRAY(SELECT saga_id FROM offered WHERE id IS NULL))
        AND (SELECT count(*) FROM {schema}.sagaz_wait AS wait WHERE wait.saga_id = due.saga_id)
            <= (SELECT count(*) FROM waited WHERE waited.saga_id = due.saga_id))
"""
"""The waits of runs that are due, the signals that they get, and those of these runs of which no other transaction has
locked a wait or the signals for one: the rest is left to a later claim."""

END_WAITS = """
), taken_signal AS (
    UPDATE {schema}.sagaz_signal AS signal SET taken_at = statement_timestamp(), taken_by = offered.saga_id,
        taken_step = offered.step, taken_phase = offered.phase, payload = NULL
    FROM offered WHERE signal.id = ANY(ARRAY(SELECT id FROM offered)) AND signal.id = offered.id
        AND offered.saga_id = ANY((SELECT ids FROM taken)::text[])
), ending AS MATERIALIZED (
    SELECT saga_id, step, phase, name, n, ended_by, 'signal' AS outcome, payload FROM offered
    WHERE saga_id = ANY((SELECT ids FROM taken)::text[])
    UNION ALL
    SELECT saga_id, step, phase, name, n, ended_by, 'timeout', NULL FROM waited
    WHERE outcome IS NULL AND until <= statement_timestamp()
        AND saga_id = ANY((SELECT ids FROM taken)::text[])
        AND (saga_id, step, phase, name, n) NOT IN (SELECT saga_id, step, phase, name, n FROM signalled_wait)
), ended_wait AS (
    UPDATE {schema}.sagaz_wait AS wait SET outcome = ending.outcome, attempt = ending.ended_by,
        payload = ending.payload, key = NULL
    FROM ending WHERE wait.saga_id = ANY(ARRAY(SELECT saga_id FROM ending))
        AND wait.saga_id = ending.saga_id AND wait.step = ending.step AND wait.phase = ending.phase
        AND wait.name = ending.name AND wait.n = ending.n
), over AS MATERIALIZED (
    SELECT saga_id, step, phase FROM ending
    UNION
    SELECT saga_id, step, phase FROM waited WHERE attempt = ended_by
), left_there AS MATERIALIZED (
    SELECT over.saga_id, over.step, over.phase, claimed.attempt
    FROM over JOIN claimed ON claimed.saga_id = over.saga_id CROSS JOIN LATERAL (
        SELECT FROM {schema}.sagaz_step AS entry
        WHERE entry.saga_id = over.saga_id AND entry.step = over.step AND entry.phase = over.phase
            AND entry.status = 'waiting'
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS entry
    WHERE (over.phase = 'undo') = (claimed.direction = 'back')
), resumed AS (
    UPDATE {schema}.sagaz_step AS entry SET status = 'started', attempt = left_there.attempt,
        started_at = statement_timestamp(), finished_at = NULL
    FROM left_there WHERE entry.saga_id = ANY(ARRAY(SELECT saga_id FROM left_there))
        AND entry.saga_id = left_there.saga_id AND entry.step = left_there.step
        AND entry.phase = left_there.phase
)"""
"""Gives the waits of claimed runs that are over their outcome, and journals that their calls go on; what another
transaction has locked of the journal is left to the call."""

# A statement reads what there was before it began, and what it changes itself is put in. Had somebody else written
# between its beginning and its lock, the run's version would tell, and a further statement reads.
JOURNALS = """
    CASE WHEN claimed.attempt > 1 AND claimed.version = (
        SELECT version + 1 FROM {schema}.sagaz_run AS before WHERE before.saga_id = claimed.saga_id
    ) THEN json_build_array((
        SELECT json_agg(json_build_array(
            entry.step, entry.phase, CASE WHEN again.attempt IS NULL THEN entry.status ELSE 'started' END,
            entry.result::text, entry.error, coalesce(again.attempt, entry.attempt),
            CASE WHEN again.attempt IS NULL THEN entry.started_at ELSE statement_timestamp() END,
            CASE WHEN again.attempt IS NULL THEN entry.finished_at END, entry.compensated
        ) ORDER BY again.attempt IS NOT NULL, coalesce(entry.started_at, entry.finished_at), entry.step, entry.phase)
        FROM {schema}.sagaz_step AS entry LEFT JOIN left_there AS again
            ON again.saga_id = claimed.saga_id AND again.step = entry.step AND again.phase = entry.phase
        WHERE entry.saga_id = claimed.saga_id
    ), (
        SELECT json_agg(json_build_array(
            wait.step, wait.phase, wait.name, wait.n, CASE WHEN ending.outcome IS NULL THEN wait.key END,
            wait.until, wait.created_at, coalesce(ending.outcome, wait.outcome),
            CASE WHEN ending.outcome IS NULL THEN wait.attempt ELSE ending.ended_by END,
            CASE WHEN ending.outcome IS NULL THEN wait.payload ELSE ending.payload END::text
        ) ORDER BY wait.created_at, wait.step, wait.phase, wait.n)
        FROM waited AS wait LEFT JOIN ending ON ending.saga_id = wait.saga_id AND ending.step = wait.step
            AND ending.phase = wait.phase AND ending.name = wait.name AND ending.n = wait.n
        WHERE wait.saga_id = claimed.saga_id
    ))::text END AS journal"""
"""The journal and the waits of a run that was claimed before, as JSON; NULL of one that was not, and of one that has
changed since the statement began."""


def wait_rows(write: RunWrite) -> list[dict[str, Any]]:
    """Return what `RECORD_WAITS` expects of a write's waits."""
    return [_row(place, wait) for place, wait in enumerate(write.waits)]


def _row(place: int, wait: WaitWrite) -> dict[str, Any]:
    return {
        "place": place,
        "step": wait.step,
        "phase": wait.phase,
        "name": wait.name,
        "n": wait.n,
        "key": wait.key,
        "seconds": wait.seconds,
        "until": None if wait.until is None else wait.until.isoformat(),
    }


def wait_record(row: Sequence[Any]) -> WaitRecord:
    """Read a row of ``sagaz_wait``."""
    until: datetime | None = row[6]
    values = [*row[:6], None if until is None else until.astimezone(UTC), row[7].astimezone(UTC), *row[8:]]
    return WaitRecord(*values)
