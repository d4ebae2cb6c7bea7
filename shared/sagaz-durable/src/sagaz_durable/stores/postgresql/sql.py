"""The statements of a PostgreSQL store; what is in braces is filled in when it is opened.

Each is a transaction of its own, so that one round trip does all. A session keeps the plan that it made, often for
empty tables, which it would rather read whole: each table is read by LATERAL with OFFSET 0, or by an array of keys, and
not by EXISTS, which may be answered by reading all of it once. Times are the statement's own: in a caller's
transaction, that of the transaction may be long past.
"""

from __future__ import annotations

from sagaz_durable.stores.postgresql.waits import PARKED_AT, RECORD_WAITS

__all__ = [
    "ANY_DUE",
    "EVENT_ID",
    "FIND_FINGERPRINTS",
    "INSERT_FRESH",
    "INSERT_MANY",
    "INSERT_ONE",
    "RENEW",
    "RUN_COLUMNS",
    "SETTLED",
    "STEPS_AND_WAITS_OF",
    "STEPS_OF",
    "UNDER_WAY",
    "WRITE",
]

RUN_COLUMNS = (
    "saga_id, saga_name, status, context::text AS context, error, correlation_id, attempt, failures, "
    "lease_owner, lease_expires_at, available_at, created_at, updated_at, finished_at, fingerprint, direction, "
    "version, leased_at, suspicions, alone, deadline, owner"
)

# DO NOTHING, because DO UPDATE would lock the row of a duplicate until the caller's transaction ends, and the worker
# that executes that run (with the batch of which its next write is a part) would have to wait for it.
INSERT_ONE = """
INSERT INTO {schema}.sagaz_run
    (saga_id, saga_name, status, context, correlation_id, attempt, failures, available_at, created_at, updated_at,
     fingerprint, owner)
VALUES (%s, %s, 'pending', %s::text::jsonb, %s, 0, 0, statement_timestamp(), statement_timestamp(),
        statement_timestamp(), %s, %s)
ON CONFLICT (saga_id) DO NOTHING
RETURNING saga_id, {wake}
"""

# For a statement that is sent once only, under an id that nobody else can have.
INSERT_FRESH = INSERT_ONE.replace("ON CONFLICT (saga_id) DO NOTHING\n", "")

INSERT_MANY = """
WITH given AS MATERIALIZED (
    SELECT *, statement_timestamp() AS now, statement_timestamp() + lease_seconds * interval '1 second' AS expires_at
    FROM json_to_recordset(%s::text::json) AS rows
        (saga_id text, saga_name text, context text, correlation_id text, not_before timestamptz, lease_owner text,
         lease_seconds double precision, fingerprint text, first_steps json, deadline timestamptz,
         deadline_seconds double precision, owner text)
), made AS (
    INSERT INTO {schema}.sagaz_run
        (saga_id, saga_name, status, context, correlation_id, attempt, failures, lease_owner, lease_expires_at,
         available_at, created_at, updated_at, fingerprint, leased_at, deadline, owner)
    SELECT saga_id, saga_name, CASE WHEN lease_owner IS NULL THEN 'pending' ELSE 'executing' END, context::jsonb,
           correlation_id, (lease_owner IS NOT NULL)::integer, 0, lease_owner, expires_at,
           coalesce(expires_at, not_before, now), now, now, fingerprint, CASE WHEN lease_owner IS NOT NULL THEN now END,
           coalesce(deadline, now + deadline_seconds * interval '1 second'), owner
    FROM given
    ON CONFLICT (saga_id) DO NOTHING
    RETURNING saga_id, lease_owner, available_at
), begun AS (
    INSERT INTO {schema}.sagaz_step (saga_id, step, phase, status, attempt, started_at, compensated)
    SELECT given.saga_id, first.step ->> 0, 'do', 'started', 1, now + first.n * interval '1 microsecond',
        (first.step ->> 1)::boolean
    FROM given CROSS JOIN LATERAL json_array_elements(given.first_steps) WITH ORDINALITY AS first (step, n)
    WHERE given.lease_owner IS NOT NULL AND EXISTS (SELECT FROM made WHERE made.saga_id = given.saga_id)
)
SELECT saga_id, CASE WHEN lease_owner IS NULL AND available_at <= statement_timestamp() THEN {wake} END FROM made
"""

FIND_FINGERPRINTS = "SELECT saga_id, fingerprint, owner FROM {schema}.sagaz_run WHERE saga_id = ANY(%s::text[])"

# Of all sagas: it is asked once for each connection that listens. Runs that have ended are not looked at.
ANY_DUE = """
SELECT 1 FROM {schema}.sagaz_run
WHERE status IN ('pending', 'executing', 'compensating', 'waiting') AND available_at <= statement_timestamp()
UNION ALL SELECT 1 FROM {schema}.sagaz_signal WHERE taken_at IS NULL AND seen_at IS NULL
LIMIT 1
"""

RENEW = """
WITH seen AS MATERIALIZED (
    SELECT given.saga_id, given.attempt, lock.found
    FROM unnest(%(saga_ids)s::text[], %(attempts)s::integer[]) AS given (saga_id, attempt)
    LEFT JOIN LATERAL (
        SELECT true AS found FROM {schema}.sagaz_run AS run
        WHERE run.saga_id = given.saga_id AND run.attempt = given.attempt AND run.lease_owner = %(owner)s
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS lock ON true
), renewed AS (
    UPDATE {schema}.sagaz_run SET
        lease_expires_at = statement_timestamp() + %(seconds)s * interval '1 second',
        available_at = statement_timestamp() + %(seconds)s * interval '1 second'
    WHERE saga_id = ANY(ARRAY(SELECT saga_id FROM seen WHERE found))
)
SELECT saga_id, found FROM seen
WHERE coalesce(found, (SELECT true FROM {schema}.sagaz_run AS run
    WHERE run.saga_id = seen.saga_id AND run.attempt = seen.attempt AND run.lease_owner = %(owner)s))
"""

UNDER_WAY = """(
    SELECT string_agg(CASE phase WHEN 'do' THEN step ELSE phase || ' of ' || step END, ', ' ORDER BY started_at, step)
    FROM {{schema}}.sagaz_step AS begun WHERE begun.saga_id = {run}.saga_id AND begun.status = 'started')"""
"""The steps and compensations of a run that have begun, but for what the same statement writes."""

# An event of a run has another id for each run that there has been under its saga_id: a consumer that knows the events
# of one that was pruned must not drop those of the next one with its key.
EVENT_ID = """
    substr(encode(sha256(convert_to(event.event_id || ' ' || extract(epoch FROM (
        SELECT run.created_at FROM {schema}.sagaz_run AS run WHERE run.saga_id = {of}.saga_id))::text,
        'UTF8')), 'hex'), 1, 32)::uuid::text"""

# The rows are locked first, and what another transaction has locked is left out: it is still ours by a plain read, and
# nothing waits for it. A claim that comes later waits for this commit, or leaves the run out, and one that came before
# is seen when the lock is obtained. LATERAL makes it one look-up by key for each. The limit is the number of the rows:
# the planner takes a hundred for granted, for which it would rather read a table of some size whole. Only a stranger
# can have locked journal entries and waits, which are their run's alone: he is waited for, a moment.
_WRITE = """
WITH seen AS MATERIALIZED (
    SELECT given.*, lock.* FROM (
        SELECT * FROM json_to_recordset(%s::text::json) AS rows
            (n integer, saga_id text, owner text, attempt integer, writes integer, status text, finished boolean,
             back boolean, progress boolean, error text, delay double precision, failed integer, outcome text,
             detail text, steps json, events json, parks boolean, by_deadline boolean, waits json, left_waits json,
             stops_waiting boolean)
        LIMIT CASE WHEN set_config('lock_timeout', '100ms', true) IS NOT NULL THEN %s::bigint END
    ) AS given
    LEFT JOIN LATERAL (
        SELECT true AS found, run.leased_at, run.error AS former_error, run.deadline FROM {schema}.sagaz_run AS run
        WHERE run.saga_id = given.saga_id AND run.attempt = given.attempt AND run.lease_owner = given.owner
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS lock ON true
), held AS (
    SELECT * FROM seen WHERE found
{recorded}), moved AS (
    UPDATE {schema}.sagaz_run AS run SET
        status = CASE
            WHEN held.parks THEN 'waiting'
            WHEN held.delay IS NOT NULL AND coalesce(held.status, run.status) = 'executing' THEN 'pending'
            ELSE coalesce(held.status, run.status)
        END,
        direction = CASE WHEN held.back THEN 'back' ELSE run.direction END,
        version = run.version + held.writes,
        error = coalesce(held.error, run.error),
        failures = CASE WHEN held.progress THEN 0 ELSE run.failures END + coalesce(held.failed, 0),
        suspicions = CASE WHEN held.progress THEN 0 ELSE run.suspicions END,
        alone = run.alone AND held.progress IS NOT TRUE,
        lease_owner = CASE WHEN held.finished OR held.delay IS NOT NULL THEN NULL ELSE run.lease_owner END,
        lease_expires_at = CASE WHEN held.finished OR held.delay IS NOT NULL THEN NULL ELSE run.lease_expires_at END,
        available_at = CASE
            WHEN held.finished THEN NULL{parked}
            WHEN held.delay IS NOT NULL THEN statement_timestamp() + held.delay * interval '1 second'
            ELSE run.available_at
        END,
        updated_at = statement_timestamp(),
        finished_at = CASE WHEN held.finished THEN statement_timestamp() ELSE run.finished_at END
    FROM held
    WHERE run.saga_id = ANY(ARRAY(SELECT saga_id FROM held)) AND run.saga_id = held.saga_id
), journal AS (
    INSERT INTO {schema}.sagaz_step AS old
        (saga_id, step, phase, status, result, error, attempt, started_at, finished_at, compensated)
    SELECT held.saga_id, entry.step, entry.phase, entry.status, entry.result::jsonb, entry.error, held.attempt,
        -- Entries of one commit keep their order.
        CASE WHEN entry.starts THEN statement_timestamp() + entry.n * interval '1 microsecond' END,
        CASE WHEN entry.status <> 'started' THEN statement_timestamp() + entry.n * interval '1 microsecond' END,
        coalesce(entry.compensated, false)
    FROM held CROSS JOIN LATERAL json_to_recordset(held.steps) AS entry
        (n integer, step text, phase text, status text, result text, error text, starts boolean, compensated boolean)
    ON CONFLICT (saga_id, step, phase) DO UPDATE SET
        status = excluded.status,
        result = excluded.result,
        error = excluded.error,
        attempt = CASE WHEN excluded.started_at IS NULL THEN old.attempt ELSE excluded.attempt END,
        started_at = coalesce(excluded.started_at, old.started_at),
        finished_at = excluded.finished_at,
        compensated = CASE WHEN excluded.started_at IS NULL THEN old.compensated ELSE excluded.compensated END
{ended}{told})
SELECT n, found, CASE WHEN found AND delay <= 0{due} THEN {wake} END FROM seen
WHERE coalesce(found, (SELECT true FROM {schema}.sagaz_run AS run
    WHERE run.saga_id = seen.saga_id AND run.attempt = seen.attempt AND run.lease_owner = seen.owner))
"""

_ENDED = """), ended AS (
    INSERT INTO {schema}.sagaz_attempt
        (saga_id, attempt, owner, began_at, ended_at, outcome, detail, under_way)
    SELECT held.saga_id, held.attempt, held.owner, coalesce(held.leased_at, statement_timestamp()),
        statement_timestamp(), held.outcome,
        coalesce(held.detail, CASE held.outcome WHEN 'failed' THEN coalesce(held.error, held.former_error) END),
        (SELECT string_agg(CASE phase WHEN 'do' THEN step ELSE phase || ' of ' || step END, ', ' ORDER BY at, step)
         FROM (
            SELECT step, phase, started_at AS at FROM {schema}.sagaz_step AS before
            WHERE before.saga_id = held.saga_id AND before.status = 'started' AND NOT EXISTS (
                SELECT FROM json_to_recordset(held.steps) AS entry (step text, phase text)
                WHERE entry.step = before.step AND entry.phase = before.phase)
            UNION ALL
            SELECT step, phase, statement_timestamp() + n * interval '1 microsecond'
            FROM json_to_recordset(held.steps) AS entry (n integer, step text, phase text, status text)
            WHERE status = 'started'
        ) AS begun)
    FROM held WHERE held.outcome IS NOT NULL
    ON CONFLICT (saga_id, attempt) DO NOTHING
"""

_TOLD = """), told AS (
    INSERT INTO {schema}.sagaz_outbox
        (event_id, saga_id, topic, payload, headers, status, attempts, available_at, created_at)
    SELECT {event_id}, held.saga_id, event.topic, event.payload::jsonb, event.headers::jsonb, 'pending', 0,
        statement_timestamp(), statement_timestamp()
    FROM held CROSS JOIN LATERAL json_to_recordset(held.events) AS event
        (event_id text, topic text, payload text, headers text)
    ON CONFLICT (event_id) DO NOTHING
""".replace("{event_id}", EVENT_ID.replace("{of}", "held"))

_WAITING = {
    "{recorded}": RECORD_WAITS,
    "{parked}": f"\n            WHEN held.parks THEN {PARKED_AT}",
    "{due}": " AND (NOT coalesce(parks, false) OR (SELECT due_at <= statement_timestamp() FROM parked "
    "WHERE parked.saga_id = seen.saga_id))",
}


def _write(*, ended: bool, told: bool, waits: bool) -> str:
    statement = _WRITE.replace("{ended}", _ENDED if ended else "").replace("{told}", _TOLD if told else "")
    for place, text in _WAITING.items():
        statement = statement.replace(place, text if waits else "")
    return statement


WRITE = {
    (ended, told, waits): _write(ended=ended, told=told, waits=waits)
    for ended in (True, False)
    for told in (True, False)
    for waits in (True, False)
}
"""By whether an attempt ends, whether there are events, and whether somebody waits: what a statement does not do need
not be made ready."""

# An attempt number is given once, so a lease that is gone while the number is still ours was given back by ourselves.
SETTLED = """
SELECT given.n FROM json_to_recordset(%s::text::json) AS given
    (n integer, saga_id text, attempt integer, status text, finished boolean, delay double precision)
CROSS JOIN LATERAL (
    SELECT FROM {schema}.sagaz_run AS run
    WHERE run.saga_id = given.saga_id AND run.attempt = given.attempt AND run.lease_owner IS NULL
        AND CASE WHEN given.finished THEN run.status = given.status ELSE given.delay IS NOT NULL END
    OFFSET 0
) AS ended
"""

STEPS_OF = """
SELECT saga_id, step, phase, status, result::text, error, attempt, started_at, finished_at, compensated
FROM {schema}.sagaz_step WHERE saga_id = ANY(%s::text[])
ORDER BY saga_id, coalesce(started_at, finished_at), step, phase
"""

# Their columns side by side, so that one round trip reads both.
STEPS_AND_WAITS_OF = """
SELECT * FROM (
    SELECT saga_id, step, phase, status, result::text, error, attempt, started_at, finished_at, compensated,
        NULL::text AS name, NULL::integer AS n, coalesce(started_at, finished_at) AS at
    FROM {schema}.sagaz_step WHERE saga_id = ANY(%(saga_ids)s::text[])
    UNION ALL
    SELECT saga_id, step, phase, outcome, payload::text, key, attempt, until, created_at, NULL, name, n, created_at
    FROM {schema}.sagaz_wait WHERE saga_id = ANY(%(saga_ids)s::text[])
) AS journal
ORDER BY saga_id, at, step, phase, n
"""
