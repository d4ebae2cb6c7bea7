"""The tables and statements of the SQLite store; every time is text in UTC that sorts as it reads."""

from __future__ import annotations

__all__ = [
    "CLAIM",
    "CREATE",
    "DELETE_ATTEMPTS",
    "DELETE_AUDIT",
    "DELETE_RUN",
    "DELETE_SENT",
    "DELETE_STEPS",
    "DELETE_WAITS",
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
        fingerprint TEXT NOT NULL,
        direction TEXT NOT NULL DEFAULT 'forward',
        version INTEGER NOT NULL DEFAULT 1,
        leased_at TEXT,
        suspicions INTEGER NOT NULL DEFAULT 0,
        alone INTEGER NOT NULL DEFAULT 0,
        deadline TEXT,
        owner TEXT
    )
    """,
    """
    CREATE INDEX IF NOT EXISTS sagaz_run_due ON sagaz_run (saga_name, alone, available_at)
    WHERE available_at IS NOT NULL
    """,
    "CREATE INDEX IF NOT EXISTS sagaz_run_created ON sagaz_run (created_at, saga_id)",
    "CREATE INDEX IF NOT EXISTS sagaz_run_status ON sagaz_run (status, created_at)",
    "CREATE INDEX IF NOT EXISTS sagaz_run_correlation ON sagaz_run (correlation_id)",
    """
    CREATE INDEX IF NOT EXISTS sagaz_run_deadline ON sagaz_run (deadline)
    WHERE deadline IS NOT NULL AND finished_at IS NULL
    """,
    """
    CREATE INDEX IF NOT EXISTS sagaz_run_owner ON sagaz_run (owner, created_at, saga_id) WHERE owner IS NOT NULL
    """,
    "CREATE INDEX IF NOT EXISTS sagaz_run_finished ON sagaz_run (finished_at) WHERE finished_at IS NOT NULL",
    # Workers look for these every minute, and hold the file's write lock meanwhile: what was erased is not in it.
    """
    CREATE INDEX IF NOT EXISTS sagaz_run_erasable ON sagaz_run (finished_at)
    WHERE finished_at IS NOT NULL AND fingerprint <> 'foreign' AND substr(fingerprint, 1, 7) <> 'erased:'
    """,
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
        compensated INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (saga_id, step, phase)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS sagaz_attempt (
        saga_id TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        owner TEXT NOT NULL,
        began_at TEXT NOT NULL,
        ended_at TEXT NOT NULL,
        outcome TEXT NOT NULL,
        detail TEXT,
        under_way TEXT,
        PRIMARY KEY (saga_id, attempt)
    )
    """,
    "CREATE INDEX IF NOT EXISTS sagaz_attempt_owner ON sagaz_attempt (owner)",
    """
    CREATE TABLE IF NOT EXISTS sagaz_worker (
        name TEXT NOT NULL PRIMARY KEY,
        kind TEXT NOT NULL,
        sagas TEXT NOT NULL,
        alive_until TEXT NOT NULL
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
    """
    CREATE TABLE IF NOT EXISTS sagaz_wait (
        saga_id TEXT NOT NULL,
        step TEXT NOT NULL,
        phase TEXT NOT NULL,
        name TEXT NOT NULL,
        n INTEGER NOT NULL,
        key TEXT,
        until TEXT,
        created_at TEXT NOT NULL,
        outcome TEXT,
        attempt INTEGER,
        payload TEXT,
        PRIMARY KEY (saga_id, step, phase, name, n)
    )
    """,
    # Only open waits have a key: at most one at a time has it.
    "CREATE UNIQUE INDEX IF NOT EXISTS sagaz_wait_key ON sagaz_wait (name, key)",
    """
    CREATE TABLE IF NOT EXISTS sagaz_signal (
        id TEXT NOT NULL PRIMARY KEY,
        name TEXT NOT NULL,
        saga_id TEXT,
        key TEXT,
        signal_id TEXT NOT NULL,
        payload TEXT,
        fingerprint TEXT NOT NULL,
        created_at TEXT NOT NULL,
        taken_at TEXT,
        taken_by TEXT,
        taken_step TEXT,
        taken_phase TEXT,
        seen_at TEXT
    )
    """,
    "CREATE INDEX IF NOT EXISTS sagaz_signal_fresh ON sagaz_signal (seen_at) WHERE taken_at IS NULL",
    "CREATE INDEX IF NOT EXISTS sagaz_signal_run ON sagaz_signal (saga_id, name)",
    "CREATE INDEX IF NOT EXISTS sagaz_signal_key ON sagaz_signal (key, name)",
    "CREATE INDEX IF NOT EXISTS sagaz_signal_created ON sagaz_signal (created_at, id)",
    "CREATE INDEX IF NOT EXISTS sagaz_signal_taken_by ON sagaz_signal (taken_by) WHERE taken_at IS NOT NULL",
    "CREATE TABLE IF NOT EXISTS sagaz_meta (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)",
)

RUN_COLUMNS = (
    "saga_id, saga_name, status, context, error, correlation_id, attempt, failures, lease_owner, lease_expires_at, "
    "available_at, created_at, updated_at, finished_at, fingerprint, direction, version, leased_at, suspicions, alone, "
    "deadline, owner"
)
STEP_COLUMNS = "saga_id, step, phase, status, result, error, attempt, started_at, finished_at, compensated"

_ACTIVE = "status IN ('pending', 'executing', 'compensating', 'waiting')"
_HELD = f"saga_id = :saga_id AND lease_owner = :owner AND attempt = :attempt AND {_ACTIVE}"

INSERT_RUN = f"""
    INSERT INTO sagaz_run ({RUN_COLUMNS})
    VALUES (:saga_id, :saga_name, :status, :context, NULL, :correlation_id, :attempt, 0, :lease_owner, :expires,
            :available, :now, :now, NULL, :fingerprint, 'forward', 1, :leased_at, 0, 0, :deadline, :owner)
    ON CONFLICT (saga_id) DO NOTHING
"""  # noqa: S608

CLAIM = """
    UPDATE sagaz_run SET status = :status, attempt = :attempt, failures = :failures, lease_owner = :owner,
        lease_expires_at = :expires, available_at = :expires, updated_at = :now, leased_at = :now,
        version = version + 1
    WHERE saga_id = :saga_id
"""

RENEW = f"UPDATE sagaz_run SET lease_expires_at = :expires, available_at = :expires WHERE {_HELD}"  # noqa: S608

# What every write under the fence does; a `done` or `waiting` entry is progress, by which a run is no suspect any more.
_WRITE = """
    version = version + 1, updated_at = :now, error = coalesce(:error, error),
    direction = CASE :status WHEN 'compensating' THEN 'back' ELSE direction END,
    suspicions = CASE WHEN :progress THEN 0 ELSE suspicions END,
    alone = CASE WHEN :progress THEN 0 ELSE alone END,
    failures = CASE WHEN :progress THEN 0 ELSE failures END
"""

SET_STATUS = f"UPDATE sagaz_run SET {_WRITE}, status = coalesce(:status, status) WHERE {_HELD}"  # noqa: S608

FINISH = f"""
    UPDATE sagaz_run SET {_WRITE}, status = :status, lease_owner = NULL, lease_expires_at = NULL, available_at = NULL,
        finished_at = :now
    WHERE {_HELD}
"""  # noqa: S608

RELEASE = f"""
    UPDATE sagaz_run SET {_WRITE} + :failed, lease_owner = NULL, lease_expires_at = NULL, available_at = :available,
        status = CASE coalesce(:status, status) WHEN 'executing' THEN 'pending' ELSE coalesce(:status, status) END
    WHERE {_HELD}
"""  # noqa: S608

UPSERT_STEP = f"""
    INSERT INTO sagaz_step ({STEP_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (saga_id, step, phase) DO UPDATE SET
        status = excluded.status,
        result = excluded.result,
        error = excluded.error,
        attempt = CASE excluded.status WHEN 'started' THEN excluded.attempt ELSE attempt END,
        started_at = coalesce(excluded.started_at, started_at),
        finished_at = excluded.finished_at,
        compensated = CASE excluded.status WHEN 'started' THEN excluded.compensated ELSE compensated END
"""  # noqa: S608

STEPS_OF = f"""
    SELECT {STEP_COLUMNS} FROM sagaz_step WHERE saga_id IN (SELECT value FROM json_each(?))
    ORDER BY coalesce(started_at, finished_at), rowid
"""  # noqa: S608

SAVE_FOREIGN = f"""
    INSERT INTO sagaz_run ({RUN_COLUMNS})
    VALUES (:saga_id, :saga_name, :status, :context, NULL, :correlation_id, 0, 0, NULL, NULL, NULL, :now, :now,
            :finished, 'foreign', 'forward', 1, NULL, 0, 0, NULL, NULL)
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
DELETE_ATTEMPTS = "DELETE FROM sagaz_attempt WHERE saga_id = ?"
DELETE_AUDIT = "DELETE FROM sagaz_audit WHERE saga_id = ?"
DELETE_WAITS = "DELETE FROM sagaz_wait WHERE saga_id = ?"
DELETE_SENT = "DELETE FROM sagaz_outbox WHERE saga_id = ? AND status = 'sent'"
