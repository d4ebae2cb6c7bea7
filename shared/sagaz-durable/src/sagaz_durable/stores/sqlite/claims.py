"""Claims: leases that ended are settled, and what is due goes to its new owner."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sagaz_durable.stores.ended_leases import ALONE_FROM, Verdict, executed_as, jitter, most_alone, verdict
from sagaz_durable.stores.sqlite.attempts import end_leases
from sagaz_durable.stores.sqlite.leases import steps_of
from sagaz_durable.stores.sqlite.rows import after, begun_rows, now, stamp, when
from sagaz_durable.stores.sqlite.sql import CLAIM, UPSERT_STEP
from sagaz_durable.stores.sqlite.waits import any_signalled, rouse, settle
from sagaz_durable.stores.wanted_runs import Wanted, beside_woken, half_of
from sagaz_integration_core.contract.records import ClaimedRun, FirstSteps, begun_by_claim

__all__ = ["any_alone", "any_due", "claim"]

# Of each known saga the oldest ones, by the index: other sagas' runs cost nothing, however many are due.
_OLDEST = """
    FROM json_each(?) AS known CROSS JOIN sagaz_run AS run
    WHERE run.rowid IN (
        SELECT rowid FROM sagaz_run WHERE saga_name = known.value AND alone = ? AND available_at <= ?
        ORDER BY available_at, rowid LIMIT ?)
"""
_YOUNG = """
    FROM json_each(?) AS known CROSS JOIN sagaz_run AS run
    WHERE run.rowid IN (
        SELECT rowid FROM sagaz_run WHERE saga_name = known.value AND alone = ? AND available_at <= ?
        ORDER BY available_at DESC, rowid DESC LIMIT ?) AND run.status <> 'waiting'
    ORDER BY run.available_at DESC, run.rowid DESC LIMIT ?
"""
_NAMED = """
    FROM sagaz_run AS run
    WHERE saga_name IN (SELECT value FROM json_each(?)) AND alone = ? AND available_at <= ?
        AND saga_id IN (SELECT value FROM json_each(?))
"""
_RUN = (
    "run.saga_id, run.saga_name, run.status, run.context, run.error, run.correlation_id, run.attempt, run.failures, "
    "run.lease_owner, run.direction, run.version, run.suspicions, run.alone, run.deadline"
)
_ALIVE = "SELECT 1 FROM sagaz_worker WHERE name = ? AND alive_until > ?"
_LEASED = (
    "SELECT saga_id, available_at FROM sagaz_run WHERE status IN ('executing', 'compensating') AND lease_owner = ?"
)
_SAW_DIE = "SELECT 1 FROM sagaz_attempt WHERE owner = ? AND outcome = 'died'"
_SUSPECT = f"""
    UPDATE sagaz_run SET suspicions = suspicions + 1, alone = suspicions + 1 >= {ALONE_FROM}, lease_owner = NULL,
        lease_expires_at = NULL, available_at = ?, updated_at = ?, version = version + 1,
        status = CASE status WHEN 'executing' THEN 'pending' ELSE status END
    WHERE saga_id = ?
"""  # noqa: S608
_BUSY = """
    SELECT count(*) FROM sagaz_run WHERE saga_name IN (SELECT value FROM json_each(?)) AND alone = 1
        AND available_at > ? AND lease_owner IS NOT NULL
"""
_ABLE = """
    SELECT count(*) FROM sagaz_worker AS worker WHERE kind = 'worker' AND alive_until > ?
        AND EXISTS (SELECT 1 FROM json_each(worker.sagas) WHERE value IN (SELECT value FROM json_each(?)))
"""
_AFTER_DEATH = """
    SELECT attempt.saga_id FROM json_each(?) AS given JOIN sagaz_attempt AS attempt
        ON attempt.saga_id = json_extract(given.value, '$[0]') AND attempt.attempt = json_extract(given.value, '$[1]')
    WHERE attempt.outcome IN ('died', 'lost')
"""


def any_due(sqlite: sqlite3.Connection, wanted: Wanted) -> bool:
    """Whether a claim would find something: most do not, and need not wait for the write lock to learn it."""
    moment = now()
    return bool(_due(sqlite, "1", wanted, 1, stamp(moment))) or any_signalled(sqlite, _names(wanted), moment)


def any_alone(sqlite: sqlite3.Connection, sagas: Collection[str]) -> bool:
    """Whether a run is due that is to be executed alone."""
    return any_due(sqlite, Wanted(dict.fromkeys(sagas, ()), None, alone=True))


def claim(sqlite: sqlite3.Connection, owner: str, limit: int, lease_seconds: float, wanted: Wanted) -> list[ClaimedRun]:
    """Lease due runs to ``owner``, the oldest first."""
    moment = now()
    stamped = stamp(moment)
    if wanted.alone:
        limit = min(limit, _room(sqlite, wanted, stamped))
    rouse(sqlite, _names(wanted), moment)
    rows = _next(sqlite, wanted, limit, stamped)
    while _suspected(sqlite, rows, moment, lease_seconds):
        rows = _next(sqlite, wanted, limit, stamped)
    runs = [_claimed(sqlite, row, stamped, wanted.sagas) for row in rows]
    expires = after(moment, lease_seconds)
    sqlite.executemany(CLAIM, [_lease(run, owner, expires, stamped) for run in runs])
    begun = [begun_by_claim(run.saga_name, run.attempt, wanted.sagas) for run in runs]
    sqlite.executemany(
        UPSERT_STEP,
        [row for run, steps in zip(runs, begun, strict=True) for row in begun_rows(run.saga_id, steps, stamped)],
    )
    return _with_history(sqlite, runs, stamped)


def _names(wanted: Wanted) -> str:
    """Return the names of the sagas, as SQLite reads them."""
    return json.dumps(list(wanted.sagas))


def _room(sqlite: sqlite3.Connection, wanted: Wanted, stamped: str) -> int:
    """Return whether there is room for one more run that is executed alone."""
    [busy] = sqlite.execute(_BUSY, (_names(wanted), stamped)).fetchone()
    [able] = sqlite.execute(_ABLE, (stamped, _names(wanted))).fetchone()
    return int(busy < most_alone(able))


def _due(sqlite: sqlite3.Connection, columns: str, wanted: Wanted, limit: int, stamped: str) -> list[tuple[Any, ...]]:
    values: tuple[Any, ...]
    if wanted.saga_ids is None:
        rest, values = _OLDEST, (_names(wanted), wanted.alone, stamped, limit, limit)
    else:
        rest, values = _NAMED, (_names(wanted), wanted.alone, stamped, json.dumps(list(wanted.saga_ids)), limit)
    statement = f"SELECT {columns} {rest} ORDER BY run.available_at, run.rowid LIMIT ?"
    return sqlite.execute(statement, values).fetchall()


def _next(sqlite: sqlite3.Connection, wanted: Wanted, limit: int, stamped: str) -> list[tuple[Any, ...]]:
    oldest = _due(sqlite, _RUN, wanted, limit, stamped)
    if wanted.saga_ids is not None or not oldest or oldest[0][2] != "waiting":
        return oldest
    half = half_of(limit)
    values = (_names(wanted), wanted.alone, stamped, 2 * limit, half)
    young = sqlite.execute(f"SELECT {_RUN} {_YOUNG}", values).fetchall()
    return beside_woken(oldest, young, limit, half)


def _suspected(
    sqlite: sqlite3.Connection, rows: Sequence[tuple[Any, ...]], moment: datetime, lease_seconds: float
) -> bool:
    """Settle the leases of owners that died while they had several runs; False when there was none."""
    stamped = stamp(moment)
    owners = {row[8] for row in rows if row[8] is not None}
    dead = [owner for owner in owners if _verdict(sqlite, owner, stamped) == "suspects"]
    for owner in dead:
        leased = sqlite.execute(_LEASED, (owner,)).fetchall()
        ended = [saga_id for saga_id, available_at in leased if str(available_at) <= stamped]
        end_leases(sqlite, ended, "died")
        delays = [(after(moment, jitter(lease_seconds)), stamped, saga_id) for saga_id in ended]
        sqlite.executemany(_SUSPECT, delays)
    return bool(dead)


def _verdict(sqlite: sqlite3.Connection, owner: str, stamped: str) -> Verdict:
    return verdict(
        lives=sqlite.execute(_ALIVE, (owner, stamped)).fetchone() is not None,
        company=len(sqlite.execute(_LEASED, (owner,)).fetchall()) > 1
        or sqlite.execute(_SAW_DIE, (owner,)).fetchone() is not None,
    )


def _claimed(sqlite: sqlite3.Connection, row: tuple[Any, ...], stamped: str, sagas: FirstSteps) -> ClaimedRun:
    saga_id, saga_name, status, context, error, correlation_id, attempt, failures, former_owner, *rest = row
    direction, version, suspicions, alone, deadline = rest
    if former_owner is not None:
        # A lease that is still there has ended without a release.
        lost = _verdict(sqlite, former_owner, stamped) == "lost"
        end_leases(sqlite, [saga_id], "lost" if lost else "died")
        failures += not lost
    return ClaimedRun(
        saga_id,
        saga_name,
        executed_as(status, direction),
        context,
        error,
        correlation_id,
        attempt + 1,
        failures,
        begun=tuple(step.name for step in begun_by_claim(saga_name, attempt + 1, sagas)),
        direction=direction,
        version=version + 1,
        suspicions=suspicions,
        alone=bool(alone),
        deadline_in=_left(deadline, stamped),
    )


def _left(deadline: Any, stamped: str) -> float | None:
    """Return how many seconds are left until a deadline."""
    ends, moment = when(deadline), when(stamped)
    return None if ends is None or moment is None else (ends - moment).total_seconds()


def _lease(run: ClaimedRun, owner: str, expires: str, stamped: str) -> dict[str, Any]:
    return {
        "saga_id": run.saga_id,
        "status": run.status,
        "attempt": run.attempt,
        "failures": run.failures,
        "owner": owner,
        "expires": expires,
        "now": stamped,
    }


def _with_history(sqlite: sqlite3.Connection, runs: list[ClaimedRun], stamped: str) -> list[ClaimedRun]:
    """Add journals and waits of runs that were claimed before, and whether their last attempt had no end of its own."""
    again = [run for run in runs if run.attempt > 1]
    if not again:
        return runs
    waits = settle(sqlite, again, stamped)
    journals = steps_of(sqlite, [run.saga_id for run in again])
    former = json.dumps([(run.saga_id, run.attempt - 1) for run in again])
    ended = {row[0] for row in sqlite.execute(_AFTER_DEATH, (former,))}
    return [
        replace(
            run, steps=tuple(journals[run.saga_id]), after_death=run.saga_id in ended, waits=waits.get(run.saga_id, ())
        )
        if run.attempt > 1
        else run
        for run in runs
    ]
