"""The erasure of what ended runs were given and have returned; their journals stay."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from sagaz_durable.stores.sqlite.rows import now, stamp
from sagaz_integration_core.contract.decisions import Erasure

__all__ = ["count_erasable", "erase"]

# The + keeps SQLite from the index that begins with the status, by which it would look at every run that has ended.
_MEANT = """
    finished_at IS NOT NULL AND +status IN (SELECT value FROM json_each(:statuses))
    AND fingerprint <> 'foreign' AND substr(fingerprint, 1, 7) <> 'erased:'
    AND NOT EXISTS (
        SELECT 1 FROM sagaz_outbox AS event WHERE event.saga_id = sagaz_run.saga_id AND event.status <> 'sent'
    )
"""
_STATEMENTS = (
    "UPDATE sagaz_step SET result = NULL WHERE saga_id = :saga_id",
    "UPDATE sagaz_outbox SET payload = '{}', headers = '{}' WHERE saga_id = :saga_id AND status = 'sent'",
    "UPDATE sagaz_wait SET payload = NULL WHERE saga_id = :saga_id",
    "DELETE FROM sagaz_signal WHERE saga_id = :saga_id AND taken_at IS NULL",
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
        for statement in _STATEMENTS:
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
