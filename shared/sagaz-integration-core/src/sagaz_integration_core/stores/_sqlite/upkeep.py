"""What keeps a store in order: workers' signs of life, rows of sagaz's own engine, and the deletion of old runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime

from sagaz_integration_core.records import FINISHED, RunStatus
from sagaz_integration_core.stores._sqlite.rows import after, now, stamp
from sagaz_integration_core.stores._sqlite.sql import DELETE_AUDIT, DELETE_RUN, DELETE_SENT, DELETE_STEPS, SAVE_FOREIGN

__all__ = ["count_prunable", "delete", "heartbeat", "live_workers", "prune", "save_foreign"]

# Workers are kept in sagaz_meta as "worker:<name>", with the time until which they are taken to be alive.
_WORKERS = "key >= 'worker:' AND key < 'worker;'"
_FORGET = f"DELETE FROM sagaz_meta WHERE {_WORKERS} AND (value <= ? OR key = ?)"  # noqa: S608
_COUNT = f"SELECT count(*) FROM sagaz_meta WHERE {_WORKERS} AND value > ?"  # noqa: S608


def heartbeat(sqlite: sqlite3.Connection, worker: str, seconds: float) -> None:
    """Note until when a worker is alive, and forget those that are not."""
    moment = now()
    key = f"worker:{worker}"
    sqlite.execute(_FORGET, (stamp(moment), key))
    if seconds > 0:
        sqlite.execute("INSERT INTO sagaz_meta VALUES (?, ?)", (key, after(moment, seconds)))


def live_workers(sqlite: sqlite3.Connection, stamped: str) -> int:
    """Return how many workers are alive."""
    return int(sqlite.execute(_COUNT, (stamped,)).fetchone()[0])


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
    sqlite.execute(DELETE_STEPS, (saga_id,))
    sqlite.execute(DELETE_AUDIT, (saga_id,))
    sqlite.execute(DELETE_SENT, (saga_id,))
    return True


def prune(sqlite: sqlite3.Connection, older_than: datetime, statuses: Sequence[RunStatus], limit: int) -> int:
    """Delete runs that ended before ``older_than``, those first that ended first."""
    statement = f"SELECT saga_id FROM sagaz_run WHERE {_ended(statuses)} ORDER BY finished_at LIMIT ?"  # noqa: S608
    old = sqlite.execute(statement, (*statuses, stamp(older_than), limit)).fetchall()
    for statement in (DELETE_RUN, DELETE_STEPS, DELETE_AUDIT, DELETE_SENT):
        sqlite.executemany(statement, old)
    return len(old)


def count_prunable(sqlite: sqlite3.Connection, older_than: datetime, statuses: Sequence[RunStatus]) -> int:
    """Return how many runs ended before ``older_than``."""
    statement = f"SELECT count(*) FROM sagaz_run WHERE {_ended(statuses)}"  # noqa: S608
    return int(sqlite.execute(statement, (*statuses, stamp(older_than))).fetchone()[0])


def _ended(statuses: Sequence[RunStatus]) -> str:
    return f"status IN ({', '.join('?' * len(statuses))}) AND finished_at < ?"
