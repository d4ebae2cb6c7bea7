"""What keeps a store in order: workers' signs of life, rows of sagaz's own engine, deleting and erasing old runs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sagaz_durable.stores.sqlite.rows import after, now, stamp, worker_record
from sagaz_durable.stores.sqlite.sql import (
    DELETE_ATTEMPTS,
    DELETE_AUDIT,
    DELETE_RUN,
    DELETE_SENT,
    DELETE_STEPS,
    DELETE_WAITS,
    SAVE_FOREIGN,
)
from sagaz_integration_core.contract.decisions import Erasure
from sagaz_integration_core.contract.listings import WorkerKind, WorkerRecord
from sagaz_integration_core.contract.records import FINISHED, RunStatus

__all__ = ["count_erasable", "count_prunable", "delete", "erase", "heartbeat", "live_workers", "prune", "save_foreign"]

_WITH_RUN = (DELETE_STEPS, DELETE_ATTEMPTS, DELETE_AUDIT, DELETE_WAITS, DELETE_SENT)
_FORGET = "DELETE FROM sagaz_worker WHERE alive_until <= ? OR name = ?"
_LIVE = "SELECT name, kind, sagas, alive_until FROM sagaz_worker WHERE alive_until > ? ORDER BY name"


def heartbeat(
    sqlite: sqlite3.Connection,
    worker: str,
    seconds: float,
    kind: WorkerKind = "worker",
    sagas: Collection[str] = (),
) -> None:
    """Note until when a process is alive, and forget those that are not."""
    moment = now()
    sqlite.execute(_FORGET, (stamp(moment), worker))
    if seconds > 0:
        row = (worker, kind, json.dumps(sorted(sagas)), after(moment, seconds))
        sqlite.execute("INSERT INTO sagaz_worker (name, kind, sagas, alive_until) VALUES (?, ?, ?, ?)", row)


def live_workers(sqlite: sqlite3.Connection) -> list[WorkerRecord]:
    """Return the processes that are alive."""
    return [worker_record(row) for row in sqlite.execute(_LIVE, (stamp(now()),))]


def save_foreign(
    sqlite: sqlite3.Connection, saga_id: str, saga_name: str, status: str, context: str, correlation_id: str | None
) -> bool:
    """Insert or update a row of sagaz's own engine; False when a run of ours has this saga_id."""
    stamped = stamp(now())
    row = {
        "saga_id": saga_id,
        "saga_name": saga_name,
        "status": status,
        "context": context,
        "correlation_id": correlation_id,
        "now": stamped,
        "finished": stamped if status in FINISHED else None,
    }
    return sqlite.execute(SAVE_FOREIGN, row).rowcount == 1


def delete(sqlite: sqlite3.Connection, saga_id: str) -> bool:
    """Delete a finished or foreign run with its journal; its events stay until they are sent."""
    if sqlite.execute(DELETE_RUN, {"saga_id": saga_id}).rowcount == 0:
        return False
    for statement in _WITH_RUN:
        sqlite.execute(statement, {"saga_id": saga_id})
    return True


def prune(sqlite: sqlite3.Connection, older_than: datetime, statuses: Sequence[RunStatus], limit: int) -> int:
    """Delete runs that ended before ``older_than``, those first that ended first."""
    statement = f"SELECT saga_id FROM sagaz_run WHERE {_ended(statuses)} ORDER BY finished_at LIMIT ?"  # noqa: S608
    old = sqlite.execute(statement, (*statuses, stamp(older_than), limit)).fetchall()
    for statement in (DELETE_RUN, *_WITH_RUN):
        sqlite.executemany(statement, [{"saga_id": saga_id} for (saga_id,) in old])
    return len(old)


def count_prunable(sqlite: sqlite3.Connection, older_than: datetime, statuses: Sequence[RunStatus]) -> int:
    """Return how many runs ended before ``older_than``."""
    statement = f"SELECT count(*) FROM sagaz_run WHERE {_ended(statuses)}"  # noqa: S608
    return int(sqlite.execute(statement, (*statuses, stamp(older_than))).fetchone()[0])


def _ended(statuses: Sequence[RunStatus]) -> str:
    # The + keeps SQLite from the index that begins with the status.
    return f"+status IN ({', '.join('?' * len(statuses))}) AND finished_at < ?"


# The + keeps SQLite from the index that begins with the status, by which it would look at every run that has ended.
_MEANT = """
    finished_at IS NOT NULL AND +status IN (SELECT value FROM json_each(:statuses))
    AND fingerprint <> 'foreign' AND substr(fingerprint, 1, 7) <> 'erased:'
    AND NOT EXISTS (
        SELECT 1 FROM sagaz_outbox AS event WHERE event.saga_id = sagaz_run.saga_id AND event.status <> 'sent'
    )
"""
_ERASING = (
    """
    UPDATE sagaz_webhook SET body = NULL, fingerprint = 'erased:' WHERE saga_id = :saga_id OR id IN (
        SELECT event.id FROM sagaz_signal AS signal CROSS JOIN sagaz_webhook AS event
            ON event.delivery_id = signal.signal_id AND event.signal = signal.name
        WHERE signal.taken_by = :saga_id AND signal.taken_at IS NOT NULL)
    """,
    "UPDATE sagaz_step SET result = NULL WHERE saga_id = :saga_id",
    "UPDATE sagaz_outbox SET payload = '{}', headers = '{}' WHERE saga_id = :saga_id AND status = 'sent'",
    "UPDATE sagaz_wait SET payload = NULL WHERE saga_id = :saga_id",
    "DELETE FROM sagaz_signal WHERE saga_id = :saga_id AND taken_at IS NULL",
    "UPDATE sagaz_idempotency SET answer = NULL WHERE saga_id = :saga_id",
    "UPDATE sagaz_signal SET fingerprint = 'erased:' WHERE taken_by = :saga_id AND taken_at IS NOT NULL",
    """
    INSERT INTO sagaz_audit (saga_id, action, actor, reason, found, status, at)
    SELECT saga_id, 'erase', :actor, :reason, status, status, :now FROM sagaz_run WHERE saga_id = :saga_id
    """,
    """
    UPDATE sagaz_run SET context = '{}', fingerprint = 'erased:' || status, attempt = attempt + 1,
        version = version + 1, updated_at = :now
    WHERE saga_id = :saga_id
    """,
)


def erase(sqlite: sqlite3.Connection, erasure: Erasure, limit: int) -> int:
    """Erase at most ``limit`` runs, those first that ended first; return how many."""
    condition, values = _meant(erasure)
    find = f"SELECT saga_id FROM sagaz_run WHERE {condition} ORDER BY finished_at LIMIT :limit"  # noqa: S608
    chosen = sqlite.execute(find, {**values, "limit": limit}).fetchall()
    note = {"actor": erasure.actor, "reason": erasure.reason, "now": stamp(now())}
    for (saga_id,) in chosen:
        for statement in _ERASING:
            sqlite.execute(statement, {**note, "saga_id": saga_id})
    return len(chosen)


def count_erasable(sqlite: sqlite3.Connection, erasure: Erasure) -> int:
    """Return how many runs an erasure means."""
    condition, values = _meant(erasure)
    return int(sqlite.execute(f"SELECT count(*) FROM sagaz_run WHERE {condition}", values).fetchone()[0])  # noqa: S608


def _meant(erasure: Erasure) -> tuple[str, dict[str, Any]]:
    condition = _MEANT
    values: dict[str, Any] = {"statuses": json.dumps(erasure.statuses)}
    if erasure.saga_ids is not None:
        condition += " AND saga_id IN (SELECT value FROM json_each(:saga_ids))"
        values["saga_ids"] = json.dumps(erasure.saga_ids)
    if erasure.before is not None:
        condition += " AND finished_at < :before"
        values["before"] = stamp(erasure.before)
    return condition, values
