"""What people decide about runs, and the notes of it."""

from __future__ import annotations

import sqlite3

from sagaz_durable.stores.ended_leases import decision
from sagaz_durable.stores.sqlite.attempts import end_attempt
from sagaz_durable.stores.sqlite.outbox import insert_of_run
from sagaz_durable.stores.sqlite.rows import audit_record, now, stamp
from sagaz_durable.stores.sqlite.sql import DELETE_WAITS
from sagaz_durable.stores.sqlite.waits import end_timers
from sagaz_integration_core.contract.decisions import AuditRecord, Intervention
from sagaz_integration_core.contract.records import FINISHED

__all__ = ["intervene", "load_audit"]

_CHANGE = """
    UPDATE sagaz_run SET status = :status, attempt = attempt + 1, failures = 0,
        error = CASE :action WHEN 'retry' THEN :error ELSE coalesce(:error, error) END,
        version = version + 1, suspicions = 0, alone = 0,
        deadline = CASE WHEN :action <> 'retry' THEN deadline END,
        direction = CASE :status WHEN 'compensating' THEN 'back' WHEN 'pending' THEN 'forward' ELSE direction END,
        lease_owner = NULL, lease_expires_at = NULL, updated_at = :now, finished_at = :finished,
        available_at = CASE WHEN :finished IS NULL THEN max(:now, coalesce(lease_expires_at, :now)) END
    WHERE saga_id = :saga_id AND attempt = :attempt AND status = :found AND fingerprint <> 'foreign'
        AND (:version IS NULL OR version = :version)
"""
_OWNER = "SELECT lease_owner FROM sagaz_run WHERE saga_id = ?"
_FORGET = "DELETE FROM sagaz_step WHERE saga_id = ? AND phase = 'undo' AND status = 'failed'"
_FORGET_WAITS = "DELETE FROM sagaz_wait WHERE saga_id = ? AND phase <> 'undo'"
_NOTE = "INSERT INTO sagaz_audit (saga_id, action, actor, reason, found, status, at) VALUES (?, ?, ?, ?, ?, ?, ?)"
_NOTES = """
    SELECT :saga_id, action, actor, reason, found, status, at FROM sagaz_audit
    WHERE saga_id = :saga_id
        OR saga_id IN (SELECT 'signal:' || id FROM sagaz_signal WHERE taken_by = :saga_id AND taken_at IS NOT NULL)
    ORDER BY id
"""


def intervene(sqlite: sqlite3.Connection, change: Intervention) -> bool:
    """Carry out a decision and note it; False when the run has changed meanwhile."""
    stamped = stamp(now())
    values = {
        "saga_id": change.saga_id,
        "attempt": change.attempt,
        "found": change.found,
        "version": change.version,
        "status": change.status,
        "error": change.error,
        "action": change.action,
        "now": stamped,
        "finished": stamped if change.status in FINISHED else None,
    }
    owner = sqlite.execute(_OWNER, (change.saga_id,)).fetchone()
    if sqlite.execute(_CHANGE, values).rowcount == 0:
        return False
    if owner[0] is not None:
        end_attempt(sqlite, change.saga_id, owner[0], change.attempt, "decided", decision(change), stamped)
    if change.turns_back:
        sqlite.execute(_FORGET, (change.saga_id,))
    if change.status == "waiting":
        end_timers(sqlite, change.saga_id, stamped)
    elif change.turns_back:
        sqlite.execute(_FORGET_WAITS, (change.saga_id,))
    elif change.status in FINISHED:
        sqlite.execute(DELETE_WAITS, {"saga_id": change.saga_id})
    insert_of_run(sqlite, change.saga_id, change.events, stamped)
    note = (change.saga_id, change.action, change.actor, change.reason, change.found, change.status, stamped)
    sqlite.execute(_NOTE, note)
    return True


def load_audit(sqlite: sqlite3.Connection, saga_id: str) -> list[AuditRecord]:
    """Return the notes about one run, the oldest first."""
    return [audit_record(row) for row in sqlite.execute(_NOTES, {"saga_id": saga_id})]
