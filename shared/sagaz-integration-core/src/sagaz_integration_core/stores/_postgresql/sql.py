"""The statements of a PostgreSQL store; ``{schema}`` and ``{wake}`` are filled in when it is opened.

Each is a transaction of its own, so that one round trip does all. Times are the statement's own: in a caller's
transaction, that of the transaction may be long past.
"""

from __future__ import annotations

__all__ = [
    "ANY_DUE",
    "CLAIM",
    "CLAIM_OF",
    "FIND_FINGERPRINTS",
    "INSERT_FRESH",
    "INSERT_MANY",
    "INSERT_ONE",
    "RENEW",
    "RUN_COLUMNS",
    "SETTLED",
    "STEPS_OF",
    "WRITE",
]

RUN_COLUMNS = (
    "saga_id, saga_name, status, context::text AS context, error, correlation_id, attempt, failures, "
    "lease_owner, lease_expires_at, available_at, created_at, updated_at, finished_at, fingerprint"
)

# DO NOTHING, because DO UPDATE would lock the row of a duplicate until the caller's transaction ends, and the worker
# that executes that run (with the batch of which its next write is a part) would have to wait for it.
INSERT_ONE = """
INSERT INTO {schema}.sagaz_run
    (saga_id, saga_name, status, context, correlation_id, attempt, failures, available_at, created_at, updated_at,
     fingerprint)
VALUES (%s, %s, 'pending', %s::text::jsonb, %s, 0, 0, statement_timestamp(), statement_timestamp(),
        statement_timestamp(), %s)
ON CONFLICT (saga_id) DO NOTHING
RETURNING saga_id, {wake}
"""

# For a statement that is sent once only, under an id that nobody else can have.
INSERT_FRESH = INSERT_ONE.replace("ON CONFLICT (saga_id) DO NOTHING\n", "")

INSERT_MANY = """
WITH given AS MATERIALIZED (
    SELECT *, statement_timestamp() AS now, statement_timestamp() + lease_seconds * interval '1 second' AS expires_at
    FROM json_to_recordset(%s::text::json) AS rows
        (saga_id text, saga_name text, context text, correlation_id text, not_before timestamptz, owner text,
         lease_seconds double precision, fingerprint text, first_steps json)
), made AS (
    INSERT INTO {schema}.sagaz_run
        (saga_id, saga_name, status, context, correlation_id, attempt, failures, lease_owner, lease_expires_at,
         available_at, created_at, updated_at, fingerprint)
    SELECT saga_id, saga_name, CASE WHEN owner IS NULL THEN 'pending' ELSE 'executing' END, context::jsonb,
           correlation_id, (owner IS NOT NULL)::integer, 0, owner, expires_at,
           coalesce(expires_at, not_before, now), now, now, fingerprint
    FROM given
    ON CONFLICT (saga_id) DO NOTHING
    RETURNING saga_id, lease_owner, available_at
), begun AS (
    INSERT INTO {schema}.sagaz_step (saga_id, step, phase, status, attempt, started_at)
    SELECT given.saga_id, first.step, 'do', 'started', 1, now + first.n * interval '1 microsecond'
    FROM given CROSS JOIN LATERAL json_array_elements_text(given.first_steps) WITH ORDINALITY AS first (step, n)
    WHERE given.owner IS NOT NULL AND EXISTS (SELECT FROM made WHERE made.saga_id = given.saga_id)
)
SELECT saga_id, CASE WHEN lease_owner IS NULL AND available_at <= statement_timestamp() THEN {wake} END FROM made
"""

FIND_FINGERPRINTS = "SELECT saga_id, fingerprint FROM {schema}.sagaz_run WHERE saga_id = ANY(%s::text[])"

_CLAIM = """
WITH due AS MATERIALIZED (
    SELECT ARRAY(
        SELECT saga_id FROM {schema}.sagaz_run
        WHERE available_at <= statement_timestamp(){only}
        ORDER BY available_at LIMIT %(limit)s
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS ids
), claimed AS (
    UPDATE {schema}.sagaz_run SET
        status = CASE status WHEN 'pending' THEN 'executing' ELSE status END,
        attempt = attempt + 1,
        failures = failures + (lease_owner IS NOT NULL)::integer,
        lease_owner = %(owner)s,
        lease_expires_at = statement_timestamp() + %(seconds)s * interval '1 second',
        available_at = statement_timestamp() + %(seconds)s * interval '1 second',
        updated_at = statement_timestamp()
    WHERE saga_id = ANY((SELECT ids FROM due)::text[])
    RETURNING saga_id, saga_name, status, context::text, error, correlation_id, attempt, failures
), begun AS (
    INSERT INTO {schema}.sagaz_step (saga_id, step, phase, status, attempt, started_at)
    SELECT claimed.saga_id, first.step, 'do', 'started', 1, statement_timestamp() + first.n * interval '1 microsecond'
    FROM claimed CROSS JOIN LATERAL json_array_elements_text(%(first_steps)s::text::json -> claimed.saga_name)
        WITH ORDINALITY AS first (step, n)
    WHERE claimed.attempt = 1
    ON CONFLICT (saga_id, step, phase) DO NOTHING
)
SELECT * FROM claimed ORDER BY array_position((SELECT ids FROM due), saga_id)
"""

CLAIM = _CLAIM.replace("{only}", "")
CLAIM_OF = _CLAIM.replace("{only}", " AND saga_id = ANY(%(saga_ids)s::text[])")

ANY_DUE = "SELECT 1 FROM {schema}.sagaz_run WHERE available_at <= statement_timestamp() LIMIT 1"

RENEW = """
UPDATE {schema}.sagaz_run AS run SET
    lease_expires_at = statement_timestamp() + %(seconds)s * interval '1 second',
    available_at = statement_timestamp() + %(seconds)s * interval '1 second'
FROM unnest(%(saga_ids)s::text[], %(attempts)s::integer[]) AS given (saga_id, attempt)
WHERE run.saga_id = given.saga_id AND run.attempt = given.attempt AND run.lease_owner = %(owner)s
RETURNING run.saga_id
"""

# The rows are locked first, in the order given (which is that of the ids, so that no two batches wait for each other):
# a claim that comes later waits for this commit, and one that came before is seen when the lock is obtained. LATERAL
# makes it one look-up by key for each. A run that only journals is locked and not rewritten. The limit is the number
# of the rows: the planner takes a hundred for granted, for which it would rather read a table of some size whole.
WRITE = """
WITH held AS MATERIALIZED (
    SELECT given.* FROM (
        SELECT * FROM json_to_recordset(%s::text::json) AS rows
            (n integer, saga_id text, owner text, attempt integer, status text, finished boolean, error text,
             delay double precision, failed integer, steps json, events json)
        LIMIT %s
    ) AS given
    CROSS JOIN LATERAL (
        SELECT FROM {schema}.sagaz_run AS run
        WHERE run.saga_id = given.saga_id AND run.attempt = given.attempt AND run.lease_owner = given.owner
        FOR NO KEY UPDATE
    ) AS lock
), moved AS (
    UPDATE {schema}.sagaz_run AS run SET
        status = CASE
            WHEN held.delay IS NOT NULL AND coalesce(held.status, run.status) = 'executing' THEN 'pending'
            ELSE coalesce(held.status, run.status)
        END,
        error = coalesce(held.error, run.error),
        failures = run.failures + held.failed,
        lease_owner = CASE WHEN held.finished OR held.delay IS NOT NULL THEN NULL ELSE run.lease_owner END,
        lease_expires_at = CASE WHEN held.finished OR held.delay IS NOT NULL THEN NULL ELSE run.lease_expires_at END,
        available_at = CASE
            WHEN held.finished THEN NULL
            WHEN held.delay IS NOT NULL THEN statement_timestamp() + held.delay * interval '1 second'
            ELSE run.available_at
        END,
        updated_at = statement_timestamp(),
        finished_at = CASE WHEN held.finished THEN statement_timestamp() ELSE run.finished_at END
    FROM held
    WHERE run.saga_id = held.saga_id
        AND (held.status IS NOT NULL OR held.error IS NOT NULL OR held.delay IS NOT NULL)
), journal AS (
    INSERT INTO {schema}.sagaz_step AS old
        (saga_id, step, phase, status, result, error, attempt, started_at, finished_at)
    SELECT held.saga_id, entry.step, entry.phase, entry.status, entry.result::jsonb, entry.error, held.attempt,
        -- Entries of one commit keep their order.
        CASE WHEN entry.starts THEN statement_timestamp() + entry.n * interval '1 microsecond' END,
        CASE WHEN entry.status <> 'started' THEN statement_timestamp() + entry.n * interval '1 microsecond' END
    FROM held CROSS JOIN LATERAL json_to_recordset(held.steps) AS entry
        (n integer, step text, phase text, status text, result text, error text, starts boolean)
    ON CONFLICT (saga_id, step, phase) DO UPDATE SET
        status = excluded.status,
        result = excluded.result,
        error = excluded.error,
        attempt = CASE WHEN excluded.started_at IS NULL THEN old.attempt ELSE excluded.attempt END,
        started_at = coalesce(excluded.started_at, old.started_at),
        finished_at = excluded.finished_at
), told AS (
    INSERT INTO {schema}.sagaz_outbox
        (event_id, saga_id, topic, payload, headers, status, attempts, available_at, created_at)
    SELECT event.event_id, held.saga_id, event.topic, event.payload::jsonb, event.headers::jsonb, 'pending', 0,
        statement_timestamp(), statement_timestamp()
    FROM held CROSS JOIN LATERAL json_to_recordset(held.events) AS event
        (event_id text, topic text, payload text, headers text)
    ON CONFLICT (event_id) DO NOTHING
)
SELECT n, CASE WHEN delay <= 0 THEN {wake} END FROM held
"""

# An attempt number is given once, so a lease that is gone while the number is still ours was given back by ourselves.
SETTLED = """
SELECT given.n FROM json_to_recordset(%s::text::json) AS given
    (n integer, saga_id text, attempt integer, status text, finished boolean, delay double precision)
CROSS JOIN LATERAL (
    SELECT FROM {schema}.sagaz_run AS run
    WHERE run.saga_id = given.saga_id AND run.attempt = given.attempt AND run.lease_owner IS NULL
        AND CASE WHEN given.finished THEN run.status = given.status ELSE given.delay IS NOT NULL END
) AS ended
"""

STEPS_OF = """
SELECT saga_id, step, phase, status, result::text, error, attempt, started_at, finished_at
FROM {schema}.sagaz_step WHERE saga_id = ANY(%s::text[])
ORDER BY saga_id, coalesce(started_at, finished_at), step, phase
"""
