"""The tables of an SQLite store; every time is text in UTC that sorts as it reads."""

from __future__ import annotations

__all__ = ["CREATE"]

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
    CREATE INDEX IF NOT EXISTS sagaz_run_owner ON sagaz_run (owner, status, created_at, saga_id)
    WHERE owner IS NOT NULL
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
    """
    CREATE TABLE IF NOT EXISTS sagaz_idempotency (
        id TEXT NOT NULL PRIMARY KEY,
        fingerprint TEXT NOT NULL,
        saga_id TEXT,
        owner TEXT,
        leased_until TEXT,
        answer TEXT,
        created_at TEXT NOT NULL,
        expires_at TEXT NOT NULL
    )
    """,
    "CREATE INDEX IF NOT EXISTS sagaz_idempotency_expires ON sagaz_idempotency (expires_at)",
    "CREATE INDEX IF NOT EXISTS sagaz_idempotency_saga ON sagaz_idempotency (saga_id) WHERE saga_id IS NOT NULL",
    """
    CREATE TABLE IF NOT EXISTS sagaz_webhook (
        id TEXT NOT NULL PRIMARY KEY,
        source TEXT NOT NULL,
        delivery_id TEXT NOT NULL,
        handler TEXT NOT NULL,
        event_type TEXT,
        received_at TEXT NOT NULL,
        outcome TEXT NOT NULL,
        reason TEXT,
        saga_id TEXT,
        signal TEXT,
        key TEXT,
        fingerprint TEXT NOT NULL,
        body TEXT,
        correlation_id TEXT
    )
    """,
    "CREATE INDEX IF NOT EXISTS sagaz_webhook_delivery ON sagaz_webhook (source, delivery_id)",
    "CREATE INDEX IF NOT EXISTS sagaz_webhook_signal ON sagaz_webhook (delivery_id, signal) WHERE signal IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS sagaz_webhook_saga ON sagaz_webhook (saga_id) WHERE saga_id IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS sagaz_webhook_received ON sagaz_webhook (received_at, id)",
    "CREATE INDEX IF NOT EXISTS sagaz_webhook_quarantined ON sagaz_webhook (id) WHERE outcome = 'quarantined'",
    """
    CREATE INDEX IF NOT EXISTS sagaz_webhook_delayed ON sagaz_webhook (handler, received_at, id)
    WHERE outcome = 'delayed'
    """,
    "CREATE TABLE IF NOT EXISTS sagaz_meta (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)",
)
