"""What runs wait for: registered and left by their writes, and ended by their claims."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sagaz_durable.stores.refused_waits import refusal
from sagaz_durable.stores.sqlite.rows import after, now, stamp, when
from sagaz_integration_core.contract.records import ClaimedRun, RunWrite, resumed_by_claim
from sagaz_integration_core.contract.waits import WaitRecord, WaitWrite

__all__ = [
    "any_signalled",
    "count_lost",
    "count_signalled",
    "end_timers",
    "load_waits",
    "record_waits",
    "rouse",
    "rouse_lost",
    "settle",
]

FRESH = timedelta(minutes=1)
"""For how long after it was first seen a signal that nobody waits for is looked at by claims: whoever begins to wait
later looks for it."""

_COLUMNS = "saga_id, step, phase, name, n, key, until, created_at, outcome, attempt, payload"
_REGISTER = f"""
    INSERT INTO sagaz_wait ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (saga_id, step, phase, name, n) DO NOTHING
"""  # noqa: S608
_LEAVE = "DELETE FROM sagaz_wait WHERE saga_id = ? AND step = ? AND phase = ?"
_MISS = f"{_LEAVE} AND name <> '' AND outcome IN ('timeout', 'refused')"
_STOP_WAITING = "DELETE FROM sagaz_wait WHERE saga_id = ? AND outcome IS NULL"
_HAS_KEY = "SELECT saga_id, step, phase, n FROM sagaz_wait WHERE name = ? AND key = ?"
_END = "UPDATE sagaz_wait SET outcome = ?, attempt = ?, payload = ?, key = NULL WHERE rowid = ?"
_RESUME = """
    UPDATE sagaz_step SET status = 'started', attempt = ?, started_at = ?, finished_at = NULL
    WHERE saga_id = ? AND step = ? AND phase = ? AND status = 'waiting'
"""
_END_TIMERS = "UPDATE sagaz_wait SET until = ? WHERE saga_id = ? AND outcome IS NULL AND name = ''"
_WAITS = f"""
    SELECT {_COLUMNS}, rowid FROM sagaz_wait WHERE saga_id IN (SELECT value FROM json_each(?))
    ORDER BY created_at, rowid
"""  # noqa: S608
# The + has SQLite look at the waits of the run, not at all of the signal's name.
_SENT_TO = """
    FROM (SELECT wait.saga_id{more} FROM sagaz_signal AS signal CROSS JOIN sagaz_wait AS wait
            ON wait.saga_id = signal.saga_id AND +wait.name = signal.name AND wait.outcome IS NULL
          WHERE signal.taken_at IS NULL AND (signal.seen_at IS NULL OR signal.seen_at > :lately)
          UNION ALL
          SELECT wait.saga_id{more} FROM sagaz_signal AS signal CROSS JOIN sagaz_wait AS wait
            ON wait.key = signal.key AND wait.name = signal.name
          WHERE signal.taken_at IS NULL AND (signal.seen_at IS NULL OR signal.seen_at > :lately)) AS signalled
    CROSS JOIN sagaz_run AS run ON run.saga_id = signalled.saga_id
    WHERE run.status = 'waiting'
"""
_SIGNALLED = f"""{_SENT_TO.replace("{more}", "")}
    AND run.saga_name IN (SELECT value FROM json_each(:names))
"""  # noqa: S608
_COUNT_SIGNALLED = f"""
    SELECT saga_name, count(*), min(sent_at) FROM (
        SELECT run.saga_name, min(signalled.created_at) AS sent_at
        {_SENT_TO.replace("{more}", ", signal.created_at")}
            AND (run.available_at IS NULL OR run.available_at > :now)
        GROUP BY run.saga_id)
    GROUP BY saga_name
"""  # noqa: S608
_ROUSE = f"""
    UPDATE sagaz_run SET available_at = :now WHERE saga_id IN (
        SELECT run.saga_id {_SIGNALLED} AND (run.available_at IS NULL OR run.available_at > :now))
"""  # noqa: S608
_LOST = """
    FROM sagaz_run AS run CROSS JOIN sagaz_wait AS wait ON wait.saga_id = run.saga_id AND wait.outcome IS NULL
    WHERE run.status = 'waiting' AND run.saga_name = ? AND wait.step NOT IN (SELECT value FROM json_each(?))
"""
_ROUSE_LOST = f"UPDATE sagaz_run SET available_at = ? WHERE saga_id IN (SELECT run.saga_id {_LOST})"  # noqa: S608
_COUNT_LOST = f"SELECT wait.step, count(DISTINCT run.saga_id) {_LOST} GROUP BY wait.step"
_SEE = """
    UPDATE sagaz_signal SET seen_at = :now WHERE taken_at IS NULL AND seen_at IS NULL AND NOT EXISTS (
        SELECT 1 FROM sagaz_wait AS wait WHERE wait.name = sagaz_signal.name AND wait.outcome IS NULL
            AND (wait.saga_id = sagaz_signal.saga_id OR wait.key = sagaz_signal.key))
"""
_OLDEST_SIGNAL = """
    SELECT id, payload FROM sagaz_signal
    WHERE name = :name AND taken_at IS NULL AND (saga_id = :saga_id OR key = :key)
    ORDER BY created_at, rowid LIMIT 1
"""
_TAKE = """
    UPDATE sagaz_signal SET taken_at = ?, taken_by = ?, taken_step = ?, taken_phase = ?, payload = NULL WHERE id = ?
"""
_PARK = """
    UPDATE sagaz_run SET status = 'waiting', available_at = CASE
        WHEN EXISTS (SELECT 1 FROM sagaz_wait AS wait WHERE wait.saga_id = sagaz_run.saga_id
            AND (wait.attempt > sagaz_run.attempt OR (wait.outcome IS NULL AND EXISTS (
                SELECT 1 FROM sagaz_signal AS signal WHERE signal.taken_at IS NULL AND signal.name = wait.name
                    AND (signal.saga_id = wait.saga_id OR signal.key = wait.key))))) THEN :now
        ELSE (SELECT min(due_at) FROM (
            SELECT until AS due_at FROM sagaz_wait AS wait WHERE wait.saga_id = sagaz_run.saga_id AND outcome IS NULL
            UNION ALL SELECT CASE WHEN :by_deadline THEN sagaz_run.deadline END))
    END
    WHERE saga_id = :saga_id
"""


def record_waits(sqlite: sqlite3.Connection, write: RunWrite, stamped: str) -> None:
    """Record what a write, which was accepted, tells of waits."""
    for step, phase in write.left_waits:
        sqlite.execute(_LEAVE, (write.saga_id, step, phase))
    for step, phase in write.missed_waits:
        sqlite.execute(_MISS, (write.saga_id, step, phase))
    if write.stops_waiting:
        sqlite.execute(_STOP_WAITING, (write.saga_id,))
    for wait in write.waits:
        _register(sqlite, write, wait, stamped)
    if write.release is not None and write.release.waits:
        values = {"saga_id": write.saga_id, "now": stamped, "by_deadline": write.release.by_deadline}
        sqlite.execute(_PARK, values)


def _register(sqlite: sqlite3.Connection, write: RunWrite, wait: WaitWrite, stamped: str) -> None:
    place = (write.saga_id, wait.step, wait.phase, wait.name, wait.n)
    until = None if wait.until is None else stamp(wait.until)
    if wait.seconds is not None:
        until = after(datetime.fromisoformat(stamped + "+00:00"), wait.seconds)
    has_key = None if wait.key is None else sqlite.execute(_HAS_KEY, (wait.name, wait.key)).fetchone()
    if has_key is None or (has_key[0], has_key[1], has_key[2], wait.name, has_key[3]) == place:
        sqlite.execute(_REGISTER, (*place, wait.key, until, stamped, None, None, None))
    else:
        refused = (None, until, stamped, "refused", write.attempt + 1, refusal(has_key[0]))
        sqlite.execute(_REGISTER, (*place, *refused))


def load_waits(sqlite: sqlite3.Connection, *saga_ids: str) -> list[WaitRecord]:
    """Return the waits of these runs, each one's in the order in which they were registered."""
    return [wait for waits in _waits_of(sqlite, saga_ids).values() for wait, _ in waits]


def _waits_of(sqlite: sqlite3.Connection, saga_ids: Iterable[str]) -> dict[str, list[tuple[WaitRecord, int]]]:
    """Return the waits of these runs, in the order in which they were registered, with their rows' numbers."""
    waits: dict[str, list[tuple[WaitRecord, int]]] = defaultdict(list)
    for *row, rowid in sqlite.execute(_WAITS, (json.dumps(list(saga_ids)),)):
        waits[row[0]].append((wait_record(row), rowid))
    return waits


def wait_record(row: Sequence[Any]) -> WaitRecord:
    """Read a row of ``sagaz_wait``."""
    values = [*row[:6], when(row[6]), when(row[7]), *row[8:]]
    return WaitRecord(*values)


def any_signalled(sqlite: sqlite3.Connection, names: str, moment: datetime) -> bool:
    """Whether a signal is there for a run of these sagas that waits."""
    statement = f"SELECT 1 {_SIGNALLED} LIMIT 1"
    return sqlite.execute(statement, {"names": names, "lately": stamp(moment - FRESH)}).fetchone() is not None


def rouse(sqlite: sqlite3.Connection, names: str, moment: datetime) -> None:
    """Make the waiting runs due for which a signal is there."""
    values = {"names": names, "lately": stamp(moment - FRESH), "now": stamp(moment)}
    sqlite.execute(_ROUSE, values)
    sqlite.execute(_SEE, {"now": values["now"]})


def rouse_lost(sqlite: sqlite3.Connection, steps: Mapping[str, Collection[str]]) -> int:
    """Make the runs of these sagas due that wait in a step which theirs has not."""
    moment = stamp(now())
    rows = ((moment, name, json.dumps(list(known))) for name, known in steps.items())
    return sum(sqlite.execute(_ROUSE_LOST, row).rowcount for row in rows)


def count_lost(sqlite: sqlite3.Connection, steps: Mapping[str, Collection[str]]) -> dict[tuple[str, str], int]:
    """Return how many runs of these sagas wait in a step which theirs has not, by saga and step."""
    rows = ((name, json.dumps(list(known))) for name, known in steps.items())
    return {(row[0], step): count for row in rows for step, count in sqlite.execute(_COUNT_LOST, row)}


def count_signalled(sqlite: sqlite3.Connection) -> dict[str, tuple[int, float]]:
    """Return how many waiting runs have a signal that no claim has found, and the age of the oldest, by saga."""
    moment = now()
    rows = sqlite.execute(_COUNT_SIGNALLED, {"lately": stamp(moment - FRESH), "now": stamp(moment)})
    return {saga: (count, _age(moment, sent_at)) for saga, count, sent_at in rows}


def _age(moment: datetime, stamped: str) -> float:
    since = when(stamped)
    return 0.0 if since is None else (moment - since).total_seconds()


def settle(sqlite: sqlite3.Connection, runs: Sequence[ClaimedRun], stamped: str) -> dict[str, tuple[WaitRecord, ...]]:
    """Give the waits of claimed runs that are over their outcome, and have their calls go on.

    Returns:
        All waits that these runs have.
    """
    waits = _waits_of(sqlite, [run.saga_id for run in runs])
    settled = {
        run.saga_id: tuple(_settled(sqlite, run.attempt, waits[run.saga_id], stamped))
        for run in runs
        if run.saga_id in waits
    }
    for run in runs:
        for call in resumed_by_claim(settled.get(run.saga_id, ()), run.attempt, run.direction):
            sqlite.execute(_RESUME, (run.attempt, stamped, run.saga_id, *call))
    return settled


def _settled(
    sqlite: sqlite3.Connection, attempt: int, waits: Iterable[tuple[WaitRecord, int]], stamped: str
) -> Iterable[WaitRecord]:
    served = set()
    for wait, rowid in waits:
        ended = wait
        if wait.outcome is None:
            signal = _oldest_signal(sqlite, wait) if wait.name else None
            if signal is not None:
                # One of a name; others whose signal is there, too, have come to no end either: the next claim takes it.
                if wait.name not in served:
                    served.add(wait.name)
                    sqlite.execute(_TAKE, (stamped, wait.saga_id, wait.step, wait.phase, signal[0]))
                    ended = replace(wait, key=None, outcome="signal", attempt=attempt, payload=str(signal[1]))
            elif wait.until is not None and stamp(wait.until) <= stamped:
                ended = replace(wait, key=None, outcome="timeout", attempt=attempt)
        if ended is not wait:
            sqlite.execute(_END, (ended.outcome, attempt, ended.payload, rowid))
        yield ended


def _oldest_signal(sqlite: sqlite3.Connection, wait: WaitRecord) -> tuple[Any, Any] | None:
    """Return id and payload of the oldest signal for a wait."""
    address = {"name": wait.name, "saga_id": wait.saga_id, "key": wait.key}
    found: tuple[Any, Any] | None = sqlite.execute(_OLDEST_SIGNAL, address).fetchone()
    return found


def end_timers(sqlite: sqlite3.Connection, saga_id: str, stamped: str) -> None:
    """Have the sleeps of a run be over now."""
    sqlite.execute(_END_TIMERS, (stamped, saga_id))
