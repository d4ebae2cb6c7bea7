"""The signals of an SQLite store."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sagaz_durable.stores.sqlite.rows import now, stamp, when
from sagaz_integration_core.contract.waits import NewSignal, Sent, SignalFilter, SignalRecord

__all__ = [
    "NOTE",
    "SEND",
    "count_prunable_signals",
    "count_untaken",
    "find_signals",
    "note_values",
    "prune_signals",
    "send",
    "signal_values",
]

# Begins with INSERT, for by that word sqlite3 knows that a transaction is to begin. ``WHERE true`` keeps SQLite from
# taking ON CONFLICT for a join.
SEND = """INSERT INTO sagaz_signal (id, name, saga_id, key, signal_id, payload, fingerprint, created_at)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]'),
    json_extract(value, '$[6]'), json_extract(value, '$[7]')
FROM json_each(%s) WHERE NOT EXISTS (
    SELECT 1 FROM sagaz_run WHERE saga_id = json_extract(value, '$[2]')
        AND status IN ('completed', 'rolled_back', 'failed'))
    AND (json_extract(value, '$[8]') IS NULL
        OR json_extract(value, '$[8]') = (SELECT version FROM sagaz_run WHERE saga_id = json_extract(value, '$[2]')))
ON CONFLICT (id) DO NOTHING
RETURNING id"""
# Which run takes a signal to a key that nobody waits under is not known yet: until then the note is the signal's.
NOTE = """INSERT INTO sagaz_audit (saga_id, action, actor, reason, found, status, at)
SELECT COALESCE(run.saga_id, json_extract(given.value, '$[1]'), 'signal:' || json_extract(given.value, '$[6]')),
    'signal', json_extract(given.value, '$[3]'), json_extract(given.value, '$[4]'),
    COALESCE(run.status, 'waiting'), COALESCE(run.status, 'waiting'), json_extract(given.value, '$[5]')
FROM json_each(%s) AS given LEFT JOIN sagaz_run AS run ON run.saga_id = COALESCE(json_extract(given.value, '$[1]'), (
    SELECT wait.saga_id FROM sagaz_wait AS wait
    WHERE wait.name = json_extract(given.value, '$[0]') AND wait.key = json_extract(given.value, '$[2]')))
RETURNING saga_id"""
_FIND = "SELECT id, fingerprint FROM sagaz_signal WHERE id IN (SELECT value FROM json_each(?))"
_COLUMNS = (
    "id, name, saga_id, key, signal_id, payload, fingerprint, created_at, taken_at, taken_by, taken_step, taken_phase"
)
_OLD = """sagaz_signal AS signal WHERE taken_at < ? OR (taken_at IS NULL AND created_at < ?
    AND NOT EXISTS (SELECT 1 FROM sagaz_run AS run WHERE run.saga_id = signal.saga_id
        AND run.status NOT IN ('completed', 'rolled_back', 'failed'))
    AND NOT EXISTS (SELECT 1 FROM sagaz_wait AS wait WHERE wait.key = signal.key AND wait.name = signal.name))"""
_COUNT_PRUNABLE = "SELECT count(*) FROM {old}".replace("{old}", _OLD)
_FIND_OLD = "SELECT id FROM {old} ORDER BY created_at LIMIT ?".replace("{old}", _OLD)
_PRUNE = (
    """
    UPDATE sagaz_audit SET saga_id = (SELECT taken_by FROM sagaz_signal WHERE id = :id)
    WHERE saga_id = 'signal:' || :id AND EXISTS (SELECT 1 FROM sagaz_signal AS signal
        JOIN sagaz_run AS run ON run.saga_id = signal.taken_by WHERE signal.id = :id)
    """,
    """
    DELETE FROM sagaz_audit WHERE saga_id IN (SELECT 'signal:' || :id UNION ALL SELECT saga_id FROM sagaz_signal
        WHERE id = :id AND saga_id NOT IN (SELECT saga_id FROM sagaz_run WHERE saga_id = sagaz_signal.saga_id))
    """,
    "DELETE FROM sagaz_signal WHERE id = :id",
)


def signal_values(signals: Sequence[NewSignal]) -> tuple[str]:
    """Return the parameter of `SEND`."""
    stamped = stamp(now())
    rows = [
        (one.id, one.name, one.saga_id, one.key, one.signal_id, one.payload, one.fingerprint, stamped, one.version)
        for one in signals
    ]
    return (json.dumps(rows),)


def note_values(signals: Sequence[NewSignal]) -> tuple[str]:
    """Return the parameter of `NOTE`: signals that persons have sent."""
    stamped = stamp(now())
    return (json.dumps([(one.name, one.saga_id, one.key, one.actor, one.reason, stamped, one.id) for one in signals]),)


def send(sqlite: sqlite3.Connection, signals: Sequence[NewSignal]) -> list[Sent]:
    """Insert signals; an answer for each."""
    made = {row[0] for row in sqlite.execute(SEND.replace("%s", "?"), signal_values(signals)).fetchall()}
    if noted := [one for one in signals if one.id in made and one.actor is not None]:
        sqlite.execute(NOTE.replace("%s", "?"), note_values(noted)).fetchall()
    found: dict[str, str] = {}
    if others := [one.id for one in signals if one.id not in made]:
        found = dict(sqlite.execute(_FIND, (json.dumps(others),)).fetchall())
    return [Sent(one.id in made, one.fingerprint if one.id in made else found.get(one.id)) for one in signals]


def find_signals(sqlite: sqlite3.Connection, query: SignalFilter) -> list[SignalRecord]:
    """Return signals, the newest first."""
    conditions: list[str] = []
    values: list[Any] = []
    if query.state is not None:
        conditions.append(f"taken_at IS {'NULL' if query.state == 'untaken' else 'NOT NULL'}")
    if query.name is not None:
        conditions.append("name = ?")
        values.append(query.name)
    if query.saga_id is not None:
        conditions.append("(saga_id = ? OR taken_by = ?)")
        values += [query.saga_id] * 2
    if query.before is not None:
        conditions.append("(created_at, id) < (?, ?)")
        values += [stamp(query.before[0]), query.before[1]]
    where = " AND ".join(conditions) or "true"
    statement = f"SELECT {_COLUMNS} FROM sagaz_signal WHERE {where} ORDER BY created_at DESC, id DESC LIMIT ?"  # noqa: S608
    return [_record(row) for row in sqlite.execute(statement, (*values, query.limit))]


def count_untaken(sqlite: sqlite3.Connection) -> int:
    """Return how many signals nobody has taken."""
    return int(sqlite.execute("SELECT count(*) FROM sagaz_signal WHERE taken_at IS NULL").fetchone()[0])


def prune_signals(sqlite: sqlite3.Connection, taken_before: datetime, untaken_before: datetime, limit: int) -> int:
    """Delete old signals; return how many."""
    old = sqlite.execute(_FIND_OLD, (stamp(taken_before), stamp(untaken_before), limit)).fetchall()
    for statement in _PRUNE:
        sqlite.executemany(statement, [{"id": signal_id} for (signal_id,) in old])
    return len(old)


def count_prunable_signals(sqlite: sqlite3.Connection, taken_before: datetime, untaken_before: datetime) -> int:
    """Return how many signals are old."""
    return int(sqlite.execute(_COUNT_PRUNABLE, (stamp(taken_before), stamp(untaken_before))).fetchone()[0])


def _record(row: tuple[Any, ...]) -> SignalRecord:
    values = [*row[:7], when(row[7]), when(row[8]), *row[9:]]
    return SignalRecord(*values)
