"""What is asked about runs, by people and by health checks."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from sagaz_durable.stores.sqlite.maintenance import live_workers
from sagaz_durable.stores.sqlite.rows import now, run_record, stamp, when
from sagaz_durable.stores.sqlite.sql import RUN_COLUMNS
from sagaz_integration_core.contract.listings import RunFilter, StoreStats
from sagaz_integration_core.contract.records import ACTIVE, FINISHED, RunRecord, RunStatus
from sagaz_integration_core.contract.waits import DECISIONS

__all__ = ["find", "load", "stats", "statuses"]

_SELECT = f"SELECT {RUN_COLUMNS} FROM sagaz_run"  # noqa: S608
_NEWEST_FIRST = " ORDER BY created_at DESC, saga_id DESC LIMIT ?"
_STATUSES = "SELECT saga_id, status FROM sagaz_run WHERE saga_id IN (SELECT value FROM json_each(?))"
_COUNT_DUE = """
    SELECT saga_name, count(*), min(available_at) FROM sagaz_run WHERE available_at <= ? GROUP BY saga_name
"""
_COUNT_OTHERS = f"""
SELECT (SELECT count(*) FROM sagaz_outbox WHERE status = 'dead'),
    (SELECT min(created_at) FROM sagaz_outbox WHERE status = 'pending'),
    (SELECT count(*) FROM sagaz_signal WHERE taken_at IS NULL),
    (SELECT count(*) FROM sagaz_run WHERE deadline < ? AND deadline IS NOT NULL AND finished_at IS NULL),
    (SELECT count(DISTINCT saga_id) FROM sagaz_wait WHERE outcome IS NULL AND name GLOB '{DECISIONS}*')
"""  # noqa: S608


def load(sqlite: sqlite3.Connection, saga_id: str) -> RunRecord | None:
    """Return one run."""
    row = sqlite.execute(f"{_SELECT} WHERE saga_id = ?", (saga_id,)).fetchone()
    return None if row is None else run_record(row)


def statuses(sqlite: sqlite3.Connection, saga_ids: Collection[str]) -> dict[str, RunStatus]:
    """Return the statuses of these runs."""
    return dict(sqlite.execute(_STATUSES, (json.dumps(list(saga_ids)),)).fetchall())


def find(sqlite: sqlite3.Connection, query: RunFilter) -> list[RunRecord]:
    """Return the runs that match, the newest first."""
    if query.owner is None:
        statement, values = _newest(query)
    else:
        statement, values = _newest_of_owner(query)
    return [run_record(row) for row in sqlite.execute(statement, values)]


def stats(sqlite: sqlite3.Connection) -> StoreStats:
    """Return the figures for a health check."""
    moment = now()
    stamped = stamp(moment)
    counts: dict[RunStatus, int] = dict.fromkeys((*ACTIVE, *FINISHED), 0)
    counts.update(sqlite.execute("SELECT status, count(*) FROM sagaz_run GROUP BY status"))
    due = sqlite.execute(_COUNT_DUE, (stamped,)).fetchall()
    since = when(min((row[2] for row in due), default=None))
    age = None if since is None else (moment - since).total_seconds()
    by_saga = {name: count for name, count, _ in due}
    live = sum(worker.kind != "web" for worker in live_workers(sqlite))
    dead, first, untaken, overdue, asking = sqlite.execute(_COUNT_OTHERS, (stamped,)).fetchone()
    unsent = when(first)
    unsent_age = None if unsent is None else (moment - unsent).total_seconds()
    return StoreStats(counts, sum(by_saga.values()), age, live, dead, unsent_age, by_saga, untaken, overdue, asking)


def _newest(query: RunFilter) -> tuple[str, list[Any]]:
    conditions, values = _conditions(query)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"{_SELECT}{where}{_NEWEST_FIRST}", [*values, query.limit]


def _newest_of_owner(query: RunFilter) -> tuple[str, list[Any]]:
    # The newest of each status come from the index on owner, status and time, however many there are. These are all
    # statuses: sagaz's own rows, which may have others, have no owner.
    statuses: Sequence[RunStatus] = query.statuses or (*ACTIVE, *FINISHED)
    parts = [_newest(replace(query, statuses=(status,))) for status in dict.fromkeys(statuses)]
    together = " UNION ALL ".join(f"SELECT * FROM ({statement})" for statement, _ in parts)  # noqa: S608
    return f"{together}{_NEWEST_FIRST}", [*chain.from_iterable(values for _, values in parts), query.limit]


def _conditions(query: RunFilter) -> tuple[list[str], list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []
    if query.statuses:
        conditions.append(f"status IN ({', '.join('?' * len(query.statuses))})")
        values.extend(query.statuses)
    for column in ("saga_name", "correlation_id", "owner"):
        if (value := getattr(query, column)) is not None:
            conditions.append(f"{column} = ?")
            values.append(value)
    if query.before is not None:
        created_at, saga_id = query.before
        conditions.append("(created_at, saga_id) < (?, ?)")
        values.extend((stamp(created_at), saga_id))
    return conditions, values
