"""The statements that record an event with what it leads to, in one round trip; `stores.webhook_rules` in SQL."""

from __future__ import annotations

from sagaz_integration_core.contract.webhooks import (
    RUN_ENDED,
    SENT_OTHERWISE,
    STARTED_OTHERWISE,
    TOLD_OTHERWISE,
    webhook_subject,
)

__all__ = ["ARE_KNOWN", "COLUMNS", "DISMISS", "RECEIVE", "REPLAY"]

COLUMNS = (
    "id, source, delivery_id, handler, event_type, received_at, outcome, reason, saga_id, signal, key, fingerprint, "
    "body, correlation_id"
)

# What is inserted without being returned was inserted by a transaction that has ended since this statement began: it
# cannot be seen yet, so that nothing is recorded, and the statement is executed again.
_EFFECTS = f"""
), led AS MATERIALIZED (
    SELECT given.*, coalesce(event.fingerprint, run.fingerprint) AS there,
        CASE WHEN given.delayed AND event.fingerprint IS NULL THEN 'delayed' ELSE 'started' END AS its_start,
        sent.fingerprint AS sent_there, run.status IN ('completed', 'rolled_back', 'failed') AS has_ended, wait.awaited
    FROM given
    LEFT JOIN LATERAL (
        SELECT fingerprint, status FROM {{schema}}.sagaz_run WHERE saga_id = given.saga_id OFFSET 0) AS run ON true
    LEFT JOIN LATERAL (
        SELECT fingerprint FROM {{schema}}.sagaz_webhook
        WHERE saga_id = given.saga_id AND outcome = 'started' LIMIT 1) AS event ON given.context IS NOT NULL
    LEFT JOIN LATERAL (
        SELECT fingerprint FROM {{schema}}.sagaz_signal WHERE id = given.its_id OFFSET 0) AS sent ON true
    LEFT JOIN LATERAL (
        SELECT true AS awaited FROM {{schema}}.sagaz_wait WHERE name = given.signal AND key = given.key
        UNION ALL SELECT true FROM {{schema}}.sagaz_wait
            WHERE saga_id = given.saga_id AND name = given.signal AND outcome IS NULL AND given.key IS NULL
        LIMIT 1) AS wait ON given.its_id IS NOT NULL
    WHERE {{is_new}}
), made AS (
    INSERT INTO {{schema}}.sagaz_run
        (saga_id, saga_name, status, context, correlation_id, attempt, failures, available_at, created_at, updated_at,
         fingerprint, deadline, owner)
    SELECT saga_id, saga_name, 'pending', context::jsonb, run_correlation_id, 0, 0,
        coalesce(not_before, statement_timestamp()), statement_timestamp(), statement_timestamp(), fingerprint,
        coalesce(deadline, statement_timestamp() + deadline_seconds * interval '1 second'), owner
    FROM led WHERE context IS NOT NULL AND there IS NULL AND reason IS NULL
    ORDER BY saga_id
    ON CONFLICT (saga_id) DO NOTHING
    RETURNING saga_id, fingerprint, {{wake}} AS woken
), sent AS (
    INSERT INTO {{schema}}.sagaz_signal (id, name, saga_id, key, signal_id, payload, fingerprint, created_at)
    SELECT its_id, signal, saga_id, key, signal_id, payload::jsonb, fingerprint, statement_timestamp()
    FROM led WHERE its_id IS NOT NULL AND sent_there IS NULL AND has_ended IS NOT TRUE AND reason IS NULL
    ORDER BY its_id
    ON CONFLICT (id) DO NOTHING
    RETURNING id, fingerprint, {{wake_for_signal}} AS woken
), judged AS MATERIALIZED (
    SELECT led.*, CASE
        WHEN reason IS NOT NULL THEN 'quarantined'
        WHEN context IS NOT NULL AND (saga_id, fingerprint) IN (SELECT made.saga_id, made.fingerprint FROM made)
            THEN its_start
        WHEN context IS NOT NULL AND (there = fingerprint OR left(there, 7) = 'erased:') THEN its_start
        WHEN context IS NOT NULL AND (there IS NOT NULL OR saga_id IN (SELECT made.saga_id FROM made))
            THEN 'quarantined'
        WHEN (its_id, fingerprint) IN (SELECT sent.id, sent.fingerprint FROM sent)
            THEN CASE WHEN awaited THEN 'resumed' ELSE 'early' END
        WHEN its_id IS NOT NULL AND (sent_there = fingerprint OR left(sent_there, 7) = 'erased:') THEN 'resumed'
        WHEN its_id IS NOT NULL AND (sent_there IS NOT NULL OR has_ended OR its_id IN (SELECT sent.id FROM sent))
            THEN 'quarantined'
        WHEN context IS NULL AND its_id IS NULL THEN 'ignored'
    END AS outcome, CASE
        WHEN reason IS NOT NULL THEN reason
        WHEN context IS NOT NULL THEN '{STARTED_OTHERWISE}'
        WHEN has_ended AND sent_there IS NULL THEN '{RUN_ENDED}'
        ELSE '{SENT_OTHERWISE}'
    END AS its_reason
    FROM led
"""  # noqa: S608

# Whoever sends the same signal, or starts the same run, in an open transaction is waited for no longer than a sender
# waits for its answer: it delivers the event again.
_GIVEN = """
WITH given AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(given)s::text::json) AS rows
        (id text, other_id text, source text, delivery_id text, handler text, event_type text, fingerprint text,
         body text, correlation_id text, reason text, saga_id text, saga_name text, context text,
         run_correlation_id text, not_before timestamptz, deadline timestamptz, deadline_seconds double precision,
         owner text, delayed boolean, its_id text, signal text, key text, signal_id text, payload text)
    LIMIT CASE WHEN set_config('lock_timeout', '1s', true) IS NOT NULL THEN %(count)s::bigint END
)"""

_VALUES = """source, delivery_id, handler, event_type, statement_timestamp(), {outcome}, {reason}, saga_id, signal, key,
        fingerprint, body, correlation_id"""
_JUDGED = _VALUES.replace("{outcome}", "outcome").replace(
    "{reason}", "CASE outcome WHEN 'quarantined' THEN its_reason END"
)
_CHANGED = _VALUES.replace("{outcome}", "'quarantined'").replace("{reason}", f"coalesce(reason, '{TOLD_OTHERWISE}')")

# Two deliveries of an event at the same moment may mean different things, each a run of its own. So the second one's
# row is a conflict that takes back what it would have led to; executed again, it sees the first one's.
RECEIVE = f"""{_GIVEN}, known AS MATERIALIZED (
    SELECT {COLUMNS} FROM {{schema}}.sagaz_webhook WHERE source = %(source)s AND delivery_id = %(delivery_id)s
{_EFFECTS}), added AS (
    INSERT INTO {{schema}}.sagaz_webhook ({COLUMNS})
    SELECT id, {_JUDGED}
    FROM judged WHERE NOT EXISTS (SELECT FROM judged WHERE outcome IS NULL)
    ORDER BY id
    RETURNING {COLUMNS}
), changed AS (
    INSERT INTO {{schema}}.sagaz_webhook ({COLUMNS})
    SELECT other_id, {_CHANGED}
    FROM given WHERE EXISTS (SELECT FROM known WHERE known.handler <> '') AND handler <> '' AND NOT EXISTS (
        SELECT FROM known WHERE known.id = given.other_id OR (known.handler = given.handler
            AND known.fingerprint IN (given.fingerprint, 'erased:')))
    ORDER BY other_id
    ON CONFLICT (id) DO NOTHING
    RETURNING {COLUMNS}
), woken AS MATERIALIZED (SELECT woken::text FROM made UNION ALL SELECT woken::text FROM sent)
SELECT {COLUMNS}, (SELECT count(woken) FROM woken) FROM known
    WHERE NOT EXISTS (SELECT FROM judged WHERE outcome IS NULL)
UNION ALL SELECT {COLUMNS}, 0 FROM added
UNION ALL SELECT {COLUMNS}, 0 FROM changed
""".replace("{is_new}", "NOT EXISTS (SELECT FROM known WHERE known.handler <> '' OR given.handler = '')")  # noqa: S608

REPLAY = f"""{_GIVEN}, known AS MATERIALIZED (
    SELECT id, outcome FROM {{schema}}.sagaz_webhook
    WHERE id = %(id)s AND outcome IN ('quarantined', 'ignored') FOR UPDATE
{_EFFECTS}), replayed AS (
    UPDATE {{schema}}.sagaz_webhook AS event SET outcome = judged.outcome,
        reason = CASE judged.outcome WHEN 'quarantined' THEN judged.its_reason END, saga_id = judged.saga_id,
        signal = judged.signal, key = judged.key, fingerprint = judged.fingerprint
    FROM judged WHERE event.id = judged.id AND judged.outcome IS NOT NULL
    RETURNING {", ".join(f"event.{column}" for column in COLUMNS.split(", "))}
), noted AS (
    INSERT INTO {{schema}}.sagaz_audit (saga_id, action, actor, reason, found, status, at)
    SELECT '{webhook_subject("")}' || replayed.id, 'replay', %(actor)s::text, %(why)s::text, known.outcome,
        replayed.outcome, statement_timestamp()
    FROM replayed CROSS JOIN known
), woken AS MATERIALIZED (SELECT woken::text FROM made UNION ALL SELECT woken::text FROM sent)
SELECT {COLUMNS}, (SELECT count(woken) FROM woken) FROM replayed
""".replace("{is_new}", "EXISTS (SELECT FROM known)")  # noqa: S608

ARE_KNOWN = "SELECT count(*) FROM {schema}.sagaz_webhook WHERE id = ANY(%(ids)s::text[])"

DISMISS = f"""
WITH dismissed AS (
    UPDATE {{schema}}.sagaz_webhook SET outcome = 'ignored' WHERE id = %(id)s AND outcome = 'quarantined'
    RETURNING {COLUMNS}
), noted AS (
    INSERT INTO {{schema}}.sagaz_audit (saga_id, action, actor, reason, found, status, at)
    SELECT '{webhook_subject("")}' || id, 'dismiss', %(actor)s::text, %(why)s::text, 'quarantined', outcome,
        statement_timestamp()
    FROM dismissed
)
SELECT {COLUMNS} FROM dismissed
"""  # noqa: S608
