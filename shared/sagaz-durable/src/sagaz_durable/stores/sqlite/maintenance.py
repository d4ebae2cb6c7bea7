"""What keeps a store in order: workers' signs of life, rows of sagaz's own engine, and the deletion of old runs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from datetime import datetime

from sagaz_durable.stores.sqlite.rows import after, now, stamp, worker_record
from sagaz_durable.stores.sqlite.sql import (
    DELETE_ATTEMPTS,
    DELETE_AUDIT,
    DELETE_RUN,
    DELETE_SENT,
    DELETE_STEPS,
    SAVE_FOREIGN,
)
from sagaz_integration_core.contract.listings import WorkerKind, WorkerRecord
from sagaz_integration_core.contract.records import FINISHED, RunStatus

__all__ = ["count_prunable", "delete", "heartbeat", "live_workers", "prune", "save_foreign"]

_WITH_RUN = (DELETE_STEPS, DELETE_ATTEMPTS, DELETE_AUDIT, DELETE_SENT)
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
    if sqlite.execute(DELETE_RUN, (saga_id,)).rowcount == 0:
        return False
    for statement in _WITH_RUN:
        sqlite.execute(statement, (saga_id,))
    return True


def prune(sqlite: sqlite3.Connection, older_than: datetime, statuses: Sequence[RunStatus], limit: int) -> int:
    """Delete runs that ended before ``older_than``, those first that ended first."""
    statement = f"SELECT saga_id FROM sagaz_run WHERE {_ended(statuses)} ORDER BY finished_at LIMIT ?"  # noqa: S608
    old = sqlite.execute(statement, (*statuses, stamp(older_than), limit)).fetchall()
    for statement in (DELETE_RUN, *_WITH_RUN):
        sqlite.executemany(statement, old)
    return len(old)


def count_prunable(sqlite: sqlite3.Connection, older_than: datetime, statuses: Sequence[RunStatus]) -> int:
    """Return how many runs ended before ``older_than``."""
    statement = f"SELECT count(*) FROM sagaz_run WHERE {_ended(statuses)}"  # noqa: S608
    return int(sqlite.execute(statement, (*statuses, stamp(older_than))).fetchone()[0])


def _ended(statuses: Sequence[RunStatus]) -> str:
    # The + keeps SQLite from the index that begins with the status.
    return f"+status IN ({', '.join('?' * len(statuses))}) AND finished_at < ?"
