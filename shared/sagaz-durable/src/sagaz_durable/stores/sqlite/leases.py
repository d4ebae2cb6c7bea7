"""Runs come in, and stay claimed as long as their lease is renewed; their journals."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sagaz_durable.stores.sqlite.rows import after, begun_rows, new_run_row, now, step_record
from sagaz_durable.stores.sqlite.sql import INSERT_RUN, RENEW, STEPS_OF, UPSERT_STEP
from sagaz_integration_core.contract.records import Inserted, NewRun, Renewal, StepRecord

__all__ = ["insert", "load_steps", "renew", "steps_of"]


def insert(sqlite: sqlite3.Connection, runs: Sequence[NewRun], lease_seconds: float) -> list[Inserted]:
    """Insert runs; one whose saga_id is taken is answered with the fingerprint that is there."""
    moment = now()
    return [_insert(sqlite, run, new_run_row(run, moment, lease_seconds)) for run in runs]


def _insert(sqlite: sqlite3.Connection, run: NewRun, row: dict[str, Any]) -> Inserted:
    if sqlite.execute(INSERT_RUN, row).rowcount == 1:
        if run.lease_owner is not None:
            sqlite.executemany(UPSERT_STEP, begun_rows(run.saga_id, run.first_steps, row["now"]))
        return Inserted(run.saga_id, True, run.fingerprint, owner=run.owner)
    found = sqlite.execute("SELECT fingerprint, owner FROM sagaz_run WHERE saga_id = ?", (run.saga_id,)).fetchone()
    return Inserted(run.saga_id, False, found[0], owner=found[1])


def renew(sqlite: sqlite3.Connection, owner: str, runs: Sequence[tuple[str, int]], lease_seconds: float) -> Renewal:
    """Prolong leases."""
    expires = after(now(), lease_seconds)
    held = set()
    for saga_id, attempt in runs:
        row = {"saga_id": saga_id, "owner": owner, "attempt": attempt, "expires": expires}
        if sqlite.execute(RENEW, row).rowcount == 1:
            held.add(saga_id)
    return Renewal(held, set())


def load_steps(sqlite: sqlite3.Connection, saga_id: str) -> list[StepRecord]:
    """Return a run's journal in the order in which its entries were started."""
    return steps_of(sqlite, [saga_id])[saga_id]


def steps_of(sqlite: sqlite3.Connection, saga_ids: Iterable[str]) -> dict[str, list[StepRecord]]:
    """Return the journals of these runs, each in the order in which its entries were started."""
    journals: dict[str, list[StepRecord]] = defaultdict(list)
    wanted = list(saga_ids)
    if wanted:
        for row in sqlite.execute(STEPS_OF, (json.dumps(wanted),)):
            journals[row[0]].append(step_record(row))
    return journals
