"""The statements of claims: each has what is due go to its new owner, in one transaction."""

from __future__ import annotations

from sagaz_durable.stores.ended_leases import ALONE_FROM
from sagaz_durable.stores.postgresql.signals import CROWD, FRESH, SENT_TO, SENT_TO_NAMED
from sagaz_durable.stores.postgresql.sql import UNDER_WAY
from sagaz_durable.stores.postgresql.waits import END_WAITS, JOURNALS, OFFERED
from sagaz_durable.stores.wanted_runs import Wanted

__all__ = ["CLAIM", "NEW", "SETTLE", "SIGNALLED", "claim_statement"]

_DUE = "saga_id, available_at, attempt, lease_owner, leased_at, lease_expires_at"

# What a signal is there for has up to half of a claim, before all that is due, and what is left of it after that. (IS
# TRUE keeps the planner from looking for it by its status.)
_SIGNALLED = f"""
    SELECT {_DUE} FROM {{schema}}.sagaz_run
    WHERE saga_id = ANY(ARRAY(SELECT saga_id FROM sent)) AND (status = 'waiting') IS TRUE
        AND saga_name = ANY(%(names)s::text[]) AND {{alone}}
        AND (available_at IS NULL OR available_at > statement_timestamp())
"""  # noqa: S608

# By the index of each known saga: other sagas' runs cost nothing, however many are due. First comes the saga whose
# oldest run has waited longest, and LATERAL goes on to the next one only while there is room: what is locked is taken,
# so that claims at the same time find all the rest. Where the oldest have slept, there may be thousands that wake up at
# the same moment: half of the claim is for the youngest of those that have not, and is left free if there are none, so
# that a worker has places left for them.
_HEAD = """SELECT known.name, oldest.* FROM unnest(%(names)s::text[]) AS known (name) CROSS JOIN LATERAL (
            SELECT available_at, status FROM {schema}.sagaz_run
            WHERE saga_name = known.name AND {alone} AND available_at <= statement_timestamp()
            ORDER BY available_at LIMIT 1
        ) AS oldest"""
_SENT = f"""fresh AS MATERIALIZED (
    {FRESH}
), sent AS MATERIALIZED (
    {SENT_TO}
), """
_HEADS = f"""{_SENT}head AS MATERIALIZED (
        {_HEAD}
    ), signalled AS MATERIALIZED (
        {_SIGNALLED} LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
    ), young AS MATERIALIZED (
        SELECT {_DUE} FROM {{schema}}.sagaz_run
        WHERE (SELECT bool_or(status = 'waiting') FROM head) AND saga_id = ANY(ARRAY(
            SELECT newest.saga_id FROM head CROSS JOIN LATERAL (
                SELECT saga_id, status, available_at FROM {{schema}}.sagaz_run
                WHERE saga_name = head.name AND {{alone}} AND available_at <= statement_timestamp()
                ORDER BY available_at DESC LIMIT 2 * %(limit)s
            ) AS newest
            WHERE newest.status <> 'waiting' ORDER BY newest.available_at DESC LIMIT %(half)s
        )) AND status <> 'waiting' AND available_at <= statement_timestamp()
        FOR NO KEY UPDATE SKIP LOCKED
    ), """  # noqa: S608
_OLDEST = f"""
    (SELECT * FROM signalled LIMIT %(half)s) UNION ALL SELECT * FROM young UNION ALL
    SELECT run.* FROM (SELECT name FROM head ORDER BY available_at) AS waiting CROSS JOIN LATERAL (
        SELECT {_DUE} FROM {{schema}}.sagaz_run
        WHERE saga_name = waiting.name AND {{alone}} AND available_at <= statement_timestamp()
            AND saga_id <> ALL(ARRAY(SELECT saga_id FROM young))
        ORDER BY available_at LIMIT %(limit)s
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS run UNION ALL
    (SELECT * FROM signalled OFFSET %(half)s)
    LIMIT CASE WHEN (SELECT bool_or(status = 'waiting') FROM head)
        THEN least(%(limit)s, greatest(%(half)s, 1) + (SELECT count(*) FROM young)) ELSE %(limit)s END
"""  # noqa: S608
_NAMED = f"""
    SELECT {_DUE} FROM {{schema}}.sagaz_run
    WHERE saga_id = ANY(%(saga_ids)s::text[]) AND saga_name = ANY(%(names)s::text[]) AND {{alone}}
        AND (available_at <= statement_timestamp() OR (status = 'waiting' AND saga_id = ANY(ARRAY({SENT_TO_NAMED}))))
    ORDER BY available_at LIMIT %(limit)s
    FOR NO KEY UPDATE SKIP LOCKED
"""  # noqa: S608

# At most half of the workers that could have them execute suspects alone. Whoever looks at the same time as another
# looks again at the next claim.
_ROOM = """alone AND pg_try_advisory_xact_lock(7022041985551340)
    AND (SELECT count(*) FROM {schema}.sagaz_run AS busy
        WHERE busy.saga_name = ANY(%(names)s::text[]) AND busy.alone AND busy.available_at > statement_timestamp()
            AND busy.lease_owner IS NOT NULL)
    < (SELECT greatest(1, count(*) / 2) FROM {schema}.sagaz_worker
        WHERE kind = 'worker' AND alive_until > statement_timestamp() AND sagas ?| %(names)s::text[])"""

_CLAIMED = """
        lease_owner = %(owner)s,
        lease_expires_at = statement_timestamp() + %(seconds)s * interval '1 second',
        available_at = statement_timestamp() + %(seconds)s * interval '1 second',
        updated_at = statement_timestamp(),
        leased_at = statement_timestamp(),
        status = CASE status WHEN 'pending' THEN 'executing'
            WHEN 'waiting' THEN CASE direction WHEN 'forward' THEN 'executing' ELSE 'compensating' END
            ELSE status END,
        attempt = attempt + 1,
        version = version + 1
    WHERE saga_id = ANY((SELECT ids FROM taken)::text[])
    RETURNING saga_id, saga_name, status, context::text, error, correlation_id, attempt, failures, direction, version,
        suspicions, alone, extract(epoch FROM deadline - statement_timestamp())::double precision AS deadline_in"""
_BEGUN = """
), begun AS (
    INSERT INTO {schema}.sagaz_step (saga_id, step, phase, status, attempt, started_at, compensated)
    SELECT claimed.saga_id, first.step ->> 0, 'do', 'started', 1,
        statement_timestamp() + first.n * interval '1 microsecond', (first.step ->> 1)::boolean
    FROM claimed CROSS JOIN LATERAL json_array_elements(%(first_steps)s::text::json -> claimed.saga_name)
        WITH ORDINALITY AS first (step, n)
    WHERE claimed.attempt = 1
    ON CONFLICT (saga_id, step, phase) DO NOTHING"""
_CROWDED = f"""(SELECT count(*) FROM fresh WHERE new) = {CROWD}
    AND (SELECT count(*) FROM signalled) < %(half)s"""  # noqa: S608
"""Whether a claim has seen as many new signals as it looks at, and few of them were for runs that it may take."""

_AFTER_DEATH = """(SELECT count(*) > 0 FROM {schema}.sagaz_attempt AS former
        WHERE former.saga_id = claimed.saga_id AND former.attempt = claimed.attempt - 1
            AND former.outcome IN ('died', 'lost'))"""

# Most claims find nothing else than runs that nobody has claimed before. For those there is nothing to be read, and all
# that the others' statements look for takes a server more time than this.
NEW = f"""
WITH due AS MATERIALIZED (
    SELECT run.* FROM ({_HEAD} ORDER BY available_at) AS head CROSS JOIN LATERAL (
        SELECT saga_id, available_at, attempt FROM {{schema}}.sagaz_run
        WHERE saga_name = head.name AND {{alone}} AND available_at <= statement_timestamp()
        ORDER BY available_at LIMIT %(limit)s
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS run LIMIT %(limit)s
), taken AS MATERIALIZED (
    SELECT ARRAY(
        SELECT saga_id FROM due
        WHERE attempt = 0 AND available_at < (
            SELECT coalesce(min(available_at), 'infinity'::timestamptz) FROM due WHERE attempt > 0)
        ORDER BY available_at
    ) AS ids
), claimed AS (
    UPDATE {{schema}}.sagaz_run SET {_CLAIMED}{_BEGUN}
)
SELECT claimed.*, false AS after_death, NULL AS journal, more.others
FROM (SELECT (SELECT count(*) > 0 FROM due WHERE attempt > 0)
    OR (SELECT count(*) > 0 FROM (SELECT FROM ({FRESH}) AS fresh LIMIT 1) AS signals)
) AS more (others) LEFT JOIN claimed ON true
ORDER BY array_position((SELECT ids FROM taken), claimed.saga_id)
""".replace("{alone}", "NOT alone")  # noqa: S608
"""Takes runs of which it is the first attempt, as far as no other is due before them, and tells whether there may be
others to be taken."""

# A claim that a signal has woken finds its run by this, in less of a server's time than by what looks for all others.
SIGNALLED = f"""
WITH {_SENT}due AS MATERIALIZED (
    {_SIGNALLED} LIMIT %(half)s FOR NO KEY UPDATE SKIP LOCKED
{OFFERED.strip()}
), taken AS MATERIALIZED (
    SELECT ARRAY(SELECT saga_id FROM free ORDER BY available_at) AS ids
), claimed AS (
    UPDATE {{schema}}.sagaz_run SET {_CLAIMED}{END_WAITS}
SELECT claimed.*, false AS after_death, {JOURNALS} FROM claimed
ORDER BY array_position((SELECT ids FROM taken), claimed.saga_id)
""".replace("{alone}", "NOT alone")  # noqa: S608
"""Takes runs for which a signal has come, and nothing else."""

# Takes what has no lease, and tells whether there were leases that have ended.
CLAIM = f"""
WITH {{heads}}due AS MATERIALIZED (
    {{due}}
{OFFERED.strip()}
), taken AS MATERIALIZED (
    SELECT ARRAY(SELECT saga_id FROM free WHERE lease_owner IS NULL ORDER BY available_at) AS ids
), claimed AS (
    UPDATE {{schema}}.sagaz_run SET {_CLAIMED}{_BEGUN}{END_WAITS}
SELECT claimed.*, claimed.attempt > 1 AND {_AFTER_DEATH} AS after_death, {JOURNALS}, more.*
FROM (
    SELECT count(*) > 0, {{crowded}}, {{signals}} FROM free WHERE lease_owner IS NOT NULL
) AS more (ended, crowded, signals)
LEFT JOIN claimed ON true
ORDER BY array_position((SELECT ids FROM taken), claimed.saga_id)
"""  # noqa: S608

# Settles leases that have ended, too. A leased run is executing or compensating, which are few beside all runs.
SETTLE = f"""
WITH {{heads}}due AS MATERIALIZED (
    {{due}}
{OFFERED.strip()}
), verdict AS MATERIALIZED (
    SELECT owner, lives, company AND NOT lives AS suspects
    FROM (SELECT DISTINCT lease_owner AS owner FROM free WHERE lease_owner IS NOT NULL) AS former
    CROSS JOIN LATERAL (SELECT
        (SELECT count(*) > 0 FROM {{schema}}.sagaz_worker
            WHERE name = former.owner AND alive_until > statement_timestamp()) AS lives,
        (SELECT count(*) > 1 FROM (SELECT FROM {{schema}}.sagaz_run
            WHERE status IN ('executing', 'compensating') AND lease_owner = former.owner LIMIT 2) AS leased)
        OR (SELECT count(*) > 0 FROM (SELECT FROM {{schema}}.sagaz_attempt AS attempt
            WHERE attempt.owner = former.owner AND outcome = 'died' LIMIT 1) AS died) AS company
    ) AS known
), suspect AS MATERIALIZED (
    SELECT run.* FROM verdict CROSS JOIN LATERAL (
        SELECT {_DUE} FROM {{schema}}.sagaz_run
        WHERE status IN ('executing', 'compensating') AND lease_owner = verdict.owner
            AND lease_expires_at <= statement_timestamp()
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS run
    WHERE verdict.suspects
), taken AS MATERIALIZED (
    SELECT ARRAY(
        SELECT saga_id FROM free
        WHERE lease_owner IS NULL OR lease_owner <> ALL(ARRAY(SELECT owner FROM verdict WHERE suspects))
        ORDER BY available_at
    ) AS ids
), ended AS (
    INSERT INTO {{schema}}.sagaz_attempt (saga_id, attempt, owner, began_at, ended_at, outcome, under_way)
    SELECT run.saga_id, run.attempt, run.lease_owner, coalesce(run.leased_at, run.lease_expires_at),
        run.lease_expires_at, CASE WHEN verdict.lives THEN 'lost' ELSE 'died' END, {UNDER_WAY.format(run="run")}
    FROM (SELECT * FROM suspect UNION SELECT * FROM free WHERE lease_owner IS NOT NULL) AS run
    JOIN verdict ON verdict.owner = run.lease_owner
    ON CONFLICT (saga_id, attempt) DO NOTHING
), dropped AS (
    UPDATE {{schema}}.sagaz_run SET
        suspicions = suspicions + 1,
        alone = suspicions + 1 >= {ALONE_FROM},
        status = CASE status WHEN 'executing' THEN 'pending' ELSE status END,
        lease_owner = NULL,
        lease_expires_at = NULL,
        available_at = statement_timestamp() + random() * %(seconds)s * interval '1 second',
        updated_at = statement_timestamp(),
        version = version + 1
    WHERE saga_id = ANY(ARRAY(SELECT saga_id FROM suspect))
    RETURNING saga_id
), claimed AS (
    UPDATE {{schema}}.sagaz_run SET
        failures = failures
            + coalesce(lease_owner = ANY(ARRAY(SELECT owner FROM verdict WHERE NOT lives)), false)::integer,
        {_CLAIMED.lstrip()}{_BEGUN}{END_WAITS}
SELECT claimed.*, claimed.attempt > 1 AND (
        claimed.saga_id = ANY(ARRAY(SELECT saga_id FROM free WHERE lease_owner IS NOT NULL)) OR {_AFTER_DEATH}
    ) AS after_death, {JOURNALS}, settled.suspects
FROM (SELECT count(*) > 0 AS suspects FROM dropped) AS settled LEFT JOIN claimed ON true
ORDER BY array_position((SELECT ids FROM taken), claimed.saga_id)
"""  # noqa: S608

_STATEMENTS = {
    (template, oldest, alone): template.replace("{heads}", _HEADS if oldest else "")
    .replace("{due}", _OLDEST if oldest else _NAMED)
    .replace("{crowded}", _CROWDED if oldest and not alone else "false")
    .replace("{signals}", "(SELECT count(*) > 0 FROM fresh)" if oldest else "false")
    .replace("{alone}", _ROOM if alone else "NOT alone")
    for template in (CLAIM, SETTLE)
    for oldest in (True, False)
    for alone in (True, False)
}


def claim_statement(template: str, wanted: Wanted) -> str:
    """Return `CLAIM` or `SETTLE` for what is wanted."""
    return _STATEMENTS[template, wanted.saga_ids is None, wanted.alone]
