"""What is asked about runs, by people and by health checks."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sagaz_durable.stores.postgresql.database.statements import Database
from sagaz_durable.stores.postgresql.rows import Journal, attempt_record, run_record, step_record
from sagaz_durable.stores.postgresql.sql import RUN_COLUMNS, STEPS_AND_WAITS_OF, STEPS_OF
from sagaz_durable.stores.postgresql.waits import wait_record
from sagaz_integration_core.contract.listings import AttemptRecord, RunFilter, StoreStats
from sagaz_integration_core.contract.records import ACTIVE, FINISHED, RunRecord, RunStatus, StepRecord
from sagaz_integration_core.contract.waits import DECISIONS, WaitRecord

__all__ = [
    "any_alone",
    "find",
    "load",
    "load_attempts",
    "load_steps",
    "load_waits",
    "read_journals",
    "stats",
    "statuses",
]

_STATUSES: tuple[RunStatus, ...] = (*ACTIVE, *FINISHED)

_LOAD = f"SELECT {RUN_COLUMNS} FROM {{schema}}.sagaz_run WHERE saga_id = %s"  # noqa: S608

# The newest of each status come from the index on status and time, or on owner, status and time; however many there
# are, few are read. Which statuses there are is found by leaping from one to the next: sagaz's own rows have some that
# ours have not.
_FIND = f"""
WITH RECURSIVE present (status) AS (
    (SELECT status FROM {{schema}}.sagaz_run ORDER BY status LIMIT 1)
    UNION ALL
    SELECT (SELECT run.status FROM {{schema}}.sagaz_run AS run WHERE run.status > present.status
        ORDER BY run.status LIMIT 1)
    FROM present WHERE present.status IS NOT NULL
)
SELECT newest.* FROM present CROSS JOIN LATERAL (
    SELECT {RUN_COLUMNS} FROM {{schema}}.sagaz_run AS run
    WHERE {{status}} = present.status{{conditions}}
    ORDER BY created_at DESC, saga_id DESC LIMIT %(limit)s) AS newest
WHERE true{{among}}
ORDER BY created_at DESC, saga_id DESC LIMIT %(limit)s
"""  # noqa: S608

_STATS = """
SELECT
    (SELECT json_object_agg(status, n) FROM (
        SELECT status, count(*) AS n FROM {schema}.sagaz_run GROUP BY status) AS counted),
    (SELECT json_object_agg(saga_name, n) FROM (
        SELECT saga_name, count(*) AS n FROM {schema}.sagaz_run
        WHERE available_at <= statement_timestamp() GROUP BY saga_name) AS due),
    (SELECT extract(epoch FROM statement_timestamp() - min(available_at))::double precision
        FROM {schema}.sagaz_run WHERE available_at <= statement_timestamp()),
    (SELECT count(*) FROM {schema}.sagaz_worker WHERE kind <> 'web' AND alive_until > statement_timestamp()),
    (SELECT count(*) FROM {schema}.sagaz_outbox WHERE status = 'dead'),
    (SELECT extract(epoch FROM statement_timestamp() - min(created_at))::double precision
        FROM {schema}.sagaz_outbox WHERE status = 'pending'),
    (SELECT count(*) FROM {schema}.sagaz_signal WHERE taken_at IS NULL),
    (SELECT count(*) FROM {schema}.sagaz_run
        WHERE deadline < statement_timestamp() AND deadline IS NOT NULL AND finished_at IS NULL),
    (SELECT count(DISTINCT saga_id) FROM {schema}.sagaz_wait
        WHERE outcome IS NULL AND starts_with(name, '{decisions}'))
""".replace("{decisions}", DECISIONS)

_STATUSES_OF = "SELECT saga_id, status FROM {schema}.sagaz_run WHERE saga_id = ANY(%s::text[])"

_ATTEMPTS = """
SELECT saga_id, attempt, owner, began_at, ended_at, outcome, detail, under_way
FROM {schema}.sagaz_attempt WHERE saga_id = %s ORDER BY attempt
"""

_ANY_ALONE = """
SELECT EXISTS (SELECT FROM {schema}.sagaz_run
    WHERE saga_name = ANY(%(names)s::text[]) AND alone AND available_at <= statement_timestamp())
"""

_WAITS = """
SELECT saga_id, step, phase, name, n, key, until, created_at, outcome, attempt, payload::text
FROM {schema}.sagaz_wait WHERE saga_id = ANY(%s::text[]) ORDER BY created_at, n
"""


async def load(db: Database, saga_id: str) -> RunRecord | None:
    """Return one run."""
    rows = await db.fetch(_LOAD, [saga_id])
    return run_record(rows[0]) if rows else None


async def load_steps(db: Database, saga_id: str) -> list[StepRecord]:
    """Return a run's journal in the order in which its entries were started."""
    return [step_record(row) for row in await db.fetch(STEPS_OF, [[saga_id]])]


async def read_journals(db: Database, saga_ids: list[str]) -> dict[str, Journal]:
    """Return the journals and the waits of these runs, in one round trip."""
    journals: dict[str, Journal] = {saga_id: ([], []) for saga_id in saga_ids}
    for row in await db.execute(STEPS_AND_WAITS_OF, {"saga_ids": saga_ids}):
        saga_id, step, phase, outcome, payload, key, attempt, until, created_at, _, name, n, _ = row
        steps, waits = journals[saga_id]
        if name is None:
            steps.append(step_record(row[:10]))
        else:
            waits.append(
                wait_record((saga_id, step, phase, name, n, key, until, created_at, outcome, attempt, payload))
            )
    return journals


async def load_attempts(db: Database, saga_id: str) -> list[AttemptRecord]:
    """Return how a run's earlier attempts ended, the oldest first."""
    return [attempt_record(row) for row in await db.fetch(_ATTEMPTS, [saga_id])]


async def load_waits(db: Database, *saga_ids: str) -> list[WaitRecord]:
    """Return the waits of these runs, in the order in which they were registered."""
    return [wait_record(row) for row in await db.fetch(_WAITS, [list(saga_ids)])]


async def find(db: Database, query: RunFilter) -> list[RunRecord]:
    """Return the runs that match, the newest first."""
    values: dict[str, Any] = {"limit": query.limit}
    conditions = among = ""
    # By its collation, the index on owner, status and time is chosen. With the one on status and time, runs of others
    # would be looked at: how many, the planner cannot know.
    status = "run.status" if query.owner is None else 'run.status COLLATE "POSIX"'
    if query.statuses:
        among = " AND present.status = ANY(%(statuses)s::text[])"
        values["statuses"] = list(query.statuses)
    for column in ("saga_name", "correlation_id", "owner"):
        if (value := getattr(query, column)) is not None:
            conditions += f" AND {column} = %({column})s"
            values[column] = value
    if query.before is not None:
        conditions += " AND (created_at, saga_id) < (%(created_at)s, %(saga_id)s)"
        values["created_at"], values["saga_id"] = query.before
    statement = _FIND.replace("{status}", status).replace("{conditions}", conditions).replace("{among}", among)
    rows = await db.fetch(statement, values)
    return [run_record(row) for row in rows]


async def statuses(db: Database, saga_ids: Collection[str]) -> dict[str, RunStatus]:
    """Return the statuses of these runs."""
    return {row[0]: row[1] for row in await db.fetch(_STATUSES_OF, [list(saga_ids)])}


async def any_alone(db: Database, sagas: Collection[str]) -> bool:
    """Whether a run is due that is to be executed alone."""
    [[found]] = await db.fetch(_ANY_ALONE, {"names": list(sagas)})
    return bool(found)


async def stats(db: Database) -> StoreStats:
    """Return the figures for a health check."""
    [(found, due, oldest, workers, dead, unsent, untaken, overdue, asking)] = await db.fetch(_STATS)
    counts: dict[RunStatus, int] = {**dict.fromkeys(_STATUSES, 0), **(found or {})}
    by_saga: dict[str, int] = due or {}
    return StoreStats(counts, sum(by_saga.values()), oldest, workers, dead, unsent, by_saga, untaken, overdue, asking)
