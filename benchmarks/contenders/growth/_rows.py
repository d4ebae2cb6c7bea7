"""The rows that fill the tables, as the engine would have written them."""

from __future__ import annotations

__all__ = ["FINISHED", "PENDING", "WAITING"]

# Finished over the last two months; each with the journal of its three steps.
FINISHED = """
WITH run AS (
    INSERT INTO sagaz_run (saga_id, saga_name, status, context, attempt, failures, created_at, updated_at, finished_at,
        fingerprint)
    SELECT gen_random_uuid()::text, 'NoopSaga', 'completed', '{"n": 0, "customer": "someone"}', 1, 0, moment, moment,
        moment, repeat('0', 64)
    FROM (SELECT now() - n * interval '5 seconds' AS moment FROM generate_series(1, %s) AS n) AS moments
    RETURNING saga_id, finished_at
)
INSERT INTO sagaz_step (saga_id, step, phase, status, result, attempt, started_at, finished_at)
SELECT saga_id, step, 'do', 'done', '{"result": 1}', 1, finished_at, finished_at
FROM run CROSS JOIN unnest(ARRAY['reserve', 'charge', 'ship']) AS step
"""
PENDING = """
INSERT INTO sagaz_run (saga_id, saga_name, status, context, attempt, failures, available_at, created_at, updated_at,
    fingerprint)
SELECT gen_random_uuid()::text, %(saga)s, 'pending', jsonb_build_object('n', n), 0, 0, moment, moment, moment,
    repeat('0', 64)
FROM (SELECT n, now() - interval '1 hour' + n * interval '1 ms' AS moment
    FROM generate_series(%(first)s::integer, %(last)s::integer - 1) AS n) AS moments
"""

# Their first step is done, and the second one waits: every other one for ever, or all of them until the same moment.
WAITING = """
WITH given AS MATERIALIZED (
    SELECT n, gen_random_uuid()::text AS saga_id, now() - interval '1 hour' AS began,
        CASE WHEN %(every)s OR n %% 2 = 0 THEN now() + %(seconds)s * interval '1 second' END AS until
    FROM generate_series(1, %(runs)s::integer) AS n
), run AS (
    INSERT INTO sagaz_run (saga_id, saga_name, status, context, attempt, failures, available_at, created_at,
        updated_at, fingerprint)
    SELECT saga_id, %(saga)s, 'waiting', jsonb_build_object('n', 0), 1, 0, until, began, began, repeat('0', 64)
    FROM given
), wait AS (
    INSERT INTO sagaz_wait (saga_id, step, phase, name, n, key, until, created_at)
    SELECT saga_id, 'charge', 'do', %(name)s, 0, CASE WHEN %(name)s <> '' THEN 'waiting-' || n END, until, began
    FROM given
)
INSERT INTO sagaz_step (saga_id, step, phase, status, result, attempt, started_at, finished_at)
SELECT saga_id, step, 'do', status, result::jsonb, 1, began, began
FROM given CROSS JOIN (VALUES ('reserve', 'done', '{"reservation": 1}'), ('charge', 'waiting', NULL))
    AS journal (step, status, result)
"""
