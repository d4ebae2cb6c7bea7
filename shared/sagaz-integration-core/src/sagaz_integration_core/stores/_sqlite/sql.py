"""The tables and statements of the SQLite store; every time is text in UTC that sorts as it reads."""

from __future__ import annotations

__all__ = [
    "CLAIM",
    "CREATE",
    "DELETE_AUDIT",
    "DELETE_RUN",
    "DELETE_SENT",
    "DELETE_STEPS",
    "DUE",
    "FENCE",
    "FINISH",
    "INSERT_RUN",
    "RELEASE",
    "RENEW",
    "RUN_COLUMNS",
    "SAVE_FOREIGN",
    "SET_STATUS",
    "STEPS_OF",
    "STEP_COLUMNS",
    "UPSERT_STEP",
]

# available_at is when a run may be claimed: for a leased one the end of its lease, NULL for never.
CREATE = (
    """
    CREATE TABLE IF NOT EXISTS sagaz_run (
        saga_id TEXT NOT NULL PRIMARY KEY,
        saga_name TEXT NOT NULL,
        status TEXT NOT NULL,
        context TEXT NOT NULL,
        error TEXT,
        correlation_id TEXT,
        attempt INTEGER NOT NULL DEFAULT 0,
        failures INTEGER NOT NULL DEFAULT 0,
        lease_owner TEXT,
        lease_expires_at TEXT,
        available_at TEXT,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL,
        finished_at TEXT,
        fingerprint TEXT NOT NULL
    )
    """,
    "CREATE INDEX IF NOT EXISTS sagaz_run_due ON sagaz_run (available_at) WHERE available_at IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS sagaz_run_created ON sagaz_run (created_at, saga_id)",
    "CREATE INDEX IF NOT EXISTS sagaz_run_status ON sagaz_run (status, created_at)",
    "CREATE INDEX IF NOT EXISTS sagaz_run_correlation ON sagaz_run (correlation_id)",
    """
    CREATE TABLE IF NOT EXISTS sagaz_step (
        saga_id TEXT NOT NULL,
        step TEXT NOT NULL,
        phase TEXT NOT NULL,
        status TEXT NOT NULL,
        result TEXT,
        error TEXT,
        attempt INTEGER NOT NULL,
        started_at TEXT,
        finished_at TEXT,
        PRIMARY KEY (saga_id, step, phase)
    )
    """,
    # AUTOINCREMENT, lest a late answer about a deleted event settle another one that was given its id.
    """
    CREATE TABLE IF NOT EXISTS sagaz_outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        event_id TEXT NOT NULL UNIQUE,
        saga_id TEXT NOT NULL,
        topic TEXT NOT NULL,
        payload TEXT NOT NULL,
        headers TEXT NOT NULL,
        status TEXT NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        error TEXT,
        available_at TEXT,
        created_at TEXT NOT NULL,
        sent_at TEXT
    )
    """,
    "CREATE INDEX IF NOT EXISTS sagaz_outbox_due ON sagaz_outbox (available_at) WHERE status = 'pending'",
    "CREATE INDEX IF NOT EXISTS sagaz_outbox_saga ON sagaz_outbox (saga_id, status, id)",
    "CREATE INDEX IF NOT EXISTS sagaz_outbox_dead ON sagaz_outbox (id) WHERE status = 'dead'",
    "CREATE INDEX IF NOT EXISTS sagaz_outbox_sent ON sagaz_outbox (sent_at) WHERE sent_at IS NOT NULL",
    """
    CREATE TABLE IF NOT EXISTS sagaz_audit (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        saga_id TEXT NOT NULL,
        action TEXT NOT NULL,
        actor TEXT NOT NULL,
        reason TEXT NOT NULL,
        found TEXT NOT NULL,
        status TEXT NOT NULL,
        at TEXT NOT NULL
    )
    """,
    "CREATE INDEX IF NOT EXISTS sagaz_audit_saga ON sagaz_audit (saga_id, id)",
    "CREATE TABLE IF NOT EXISTS sagaz_meta (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)",
)

RUN_COLUMNS = (
    "saga_id, saga_name, status, context, error, correlation_id, attempt, failures, lease_owner, lease_expires_at, "
    "available_at, created_at, updated_at, finished_at, fingerprint"
)
STEP_COLUMNS = "saga_id, step, phase, status, result, error, attempt, started_at, finished_at"

_ACTIVE = "status IN ('pending', 'executing', 'compensating')"
_HELD = f"saga_id = :saga_id AND lease_owner = :owner AND attempt = :attempt AND {_ACTIVE}"

INSERT_RUN = f"""
    INSERT INTO sagaz_run ({RUN_COLUMNS})
    VALUES (:saga_id, :saga_name, :status, :context, NULL, :correlation_id, :attempt, 0, :owner, :expires,
            :available, :now, :now, NULL, :fingerprint)
    ON CONFLICT (saga_id) DO NOTHING
"""  # noqa: S608

# The unary plus keeps SQLite, which has no statistics, from preferring the index on status.
DUE = f"available_at <= ? AND +{_ACTIVE}"

CLAIM = """
    UPDATE sagaz_run SET status = ?, attempt = ?, failures = ?, lease_owner = ?, lease_expires_at = ?,
        available_at = ?, updated_at = ?
    WHERE saga_id = ?
"""

RENEW = f"UPDATE sagaz_run SET lease_expires_at = :expires, available_at = :expires WHERE {_HELD}"  # noqa: S608

# Journal entries alone leave the run's row, with its context, unwritten.
FENCE = f"SELECT 1 FROM sagaz_run WHERE {_HELD}"  # noqa: S608

SET_STATUS = f"""
    UPDATE sagaz_run SET status = coalesce(:status, status), error = coalesce(:error, error), updated_at = :now
    WHERE {_HELD}
"""  # noqa: S608

FINISH = f"""
    UPDATE sagaz_run SET status = :status, error = coalesce(:error, error), lease_owner = NULL,
        lease_expires_at = NULL, available_at = NULL, finished_at = :now, updated_at = :now
    WHERE {_HELD}
"""  # noqa: S608

RELEASE = f"""
    UPDATE sagaz_run SET error = coalesce(:error, error), failures = failures + :failed, lease_owner = NULL,
        lease_expires_at = NULL, available_at = :available, updated_at = :now,
        status = CASE coalesce(:status, status) WHEN 'executing' THEN 'pending' ELSE coalesce(:status, status) END
    WHERE {_HELD}
"""  # noqa: S608

UPSERT_STEP = f"""
    INSERT INTO sagaz_step ({STEP_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (saga_id, step, phase) DO UPDATE SET
        status = excluded.status,
        result = excluded.result,
        error = excluded.error,
        attempt = CASE excluded.status WHEN 'started' THEN excluded.attempt ELSE attempt END,
        started_at = coalesce(excluded.started_at, started_at),
        finished_at = excluded.finished_at
"""  # noqa: S608

# Entries of one commit bear the same time: the rowid tells which came first.
STEPS_OF = f"""
    SELECT {STEP_COLUMNS} FROM sagaz_step WHERE saga_id IN (SELECT value FROM json_each(?))
    ORDER BY coalesce(started_at, finished_at), rowid
"""  # noqa: S608

SAVE_FOREIGN = f"""
    INSERT INTO sagaz_run ({RUN_COLUMNS})
    VALUES (:saga_id, :saga_name, :status, :context, NULL, :correlation_id, 0, 0, NULL, NULL, NULL, :now, :now,
            :finished, 'foreign')
    ON CONFLICT (saga_id) DO UPDATE SET saga_name = excluded.saga_name, status = excluded.status,
        context = excluded.context, correlation_id = coalesce(excluded.correlation_id, correlation_id),
        updated_at = excluded.updated_at, finished_at = excluded.finished_at
    WHERE fingerprint = 'foreign'
"""  # noqa: S608

DELETE_RUN = """
    DELETE FROM sagaz_run
    WHERE saga_id = ? AND (fingerprint = 'foreign' OR status IN ('completed', 'rolled_back', 'failed'))
"""
DELETE_STEPS = "DELETE FROM sagaz_step WHERE saga_id = ?"
DELETE_AUDIT = "DELETE FROM sagaz_audit WHERE saga_id = ?"
DELETE_SENT = "DELETE FROM sagaz_outbox WHERE saga_id = ? AND status = 'sent'"
