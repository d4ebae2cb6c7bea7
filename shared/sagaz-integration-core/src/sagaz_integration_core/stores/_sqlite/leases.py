"""Runs come in, are claimed, and stay claimed as long as their lease is renewed."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from sagaz_integration_core.records import ClaimedRun, FirstSteps, Inserted, NewRun, StepRecord, begun_by_claim
from sagaz_integration_core.stores._sqlite.rows import after, new_run_row, now, stamp, started_row, step_record
from sagaz_integration_core.stores._sqlite.sql import CLAIM, DUE, INSERT_RUN, RENEW, STEPS_OF, UPSERT_STEP

__all__ = ["any_due", "claim", "insert", "renew", "steps_of"]

_ONLY = " AND saga_id IN (SELECT value FROM json_each(?))"
_ANY_DUE = f"SELECT 1 FROM sagaz_run WHERE {DUE}"  # noqa: S608
_SELECT_DUE = f"""
    SELECT saga_id, saga_name, status, context, error, correlation_id, attempt, failures, lease_owner
    FROM sagaz_run WHERE {DUE}
"""  # noqa: S608


def insert(sqlite: sqlite3.Connection, runs: Sequence[NewRun], lease_seconds: float) -> list[Inserted]:
    """Insert runs; one whose saga_id is taken is answered with the fingerprint that is there."""
    moment = now()
    return [_insert(sqlite, run, new_run_row(run, moment, lease_seconds)) for run in runs]


def _insert(sqlite: sqlite3.Connection, run: NewRun, row: dict[str, Any]) -> Inserted:
    if sqlite.execute(INSERT_RUN, row).rowcount == 1:
        if run.owner is not None:
            sqlite.executemany(
                UPSERT_STEP, [started_row(run.saga_id, step, "do", 1, row["now"]) for step in run.first_steps]
            )
        return Inserted(run.saga_id, True, run.fingerprint)
    found = sqlite.execute("SELECT fingerprint FROM sagaz_run WHERE saga_id = ?", (run.saga_id,)).fetchone()
    return Inserted(run.saga_id, False, found[0])


def any_due(sqlite: sqlite3.Connection, saga_ids: Sequence[str] | None) -> bool:
    """Whether a claim would find something: most do not, and need not wait for the write lock to learn it."""
    return bool(_due(sqlite, _ANY_DUE, 1, saga_ids, stamp(now())))


def claim(
    sqlite: sqlite3.Connection,
    owner: str,
    limit: int,
    lease_seconds: float,
    saga_ids: Sequence[str] | None,
    first_steps: FirstSteps,
) -> list[ClaimedRun]:
    """Lease due runs to ``owner``, the oldest first."""
    moment = now()
    expires, stamped = after(moment, lease_seconds), stamp(moment)
    runs = [_claimed(row, first_steps) for row in _due(sqlite, _SELECT_DUE, limit, saga_ids, stamped)]
    sqlite.executemany(
        CLAIM,
        [(r.status, r.attempt, r.failures, owner, expires, expires, stamped, r.saga_id) for r in runs],
    )
    begun = [started_row(run.saga_id, step, "do", 1, stamped) for run in runs for step in run.begun]
    sqlite.executemany(UPSERT_STEP, begun)
    journals = steps_of(sqlite, [run.saga_id for run in runs if run.attempt > 1])
    return [replace(run, steps=tuple(journals[run.saga_id])) if run.saga_id in journals else run for run in runs]


def renew(sqlite: sqlite3.Connection, owner: str, runs: Sequence[tuple[str, int]], lease_seconds: float) -> set[str]:
    """Prolong leases; return the saga_ids of those that are still held."""
    expires = after(now(), lease_seconds)
    held = set()
    for saga_id, attempt in runs:
        row = {"saga_id": saga_id, "owner": owner, "attempt": attempt, "expires": expires}
        if sqlite.execute(RENEW, row).rowcount == 1:
            held.add(saga_id)
    return held


def steps_of(sqlite: sqlite3.Connection, saga_ids: Iterable[str]) -> dict[str, list[StepRecord]]:
    """Return the journals of these runs, each in the order in which its entries were started."""
    journals: dict[str, list[StepRecord]] = defaultdict(list)
    wanted = list(saga_ids)
    if wanted:
        for row in sqlite.execute(STEPS_OF, (json.dumps(wanted),)):
            journals[row[0]].append(step_record(row))
    return journals


def _due(
    sqlite: sqlite3.Connection, select: str, limit: int, saga_ids: Sequence[str] | None, stamped: str
) -> list[tuple[Any, ...]]:
    only, ids = ("", ()) if saga_ids is None else (_ONLY, (json.dumps(list(saga_ids)),))
    statement = f"{select}{only} ORDER BY available_at, rowid LIMIT ?"
    return sqlite.execute(statement, (stamped, *ids, limit)).fetchall()


def _claimed(row: tuple[Any, ...], first_steps: FirstSteps) -> ClaimedRun:
    saga_id, saga_name, status, context, error, correlation_id, attempt, failures, former_owner = row
    return ClaimedRun(
        saga_id,
        saga_name,
        "executing" if status == "pending" else status,
        context,
        error,
        correlation_id,
        attempt + 1,
        # A lease that is still there has ended without a release.
        failures + (former_owner is not None),
        begun=begun_by_claim(saga_name, attempt + 1, first_steps),
    )
