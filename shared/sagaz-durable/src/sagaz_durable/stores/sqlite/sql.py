"""The statements of the SQLite store; every time is text in UTC that sorts as it reads."""

from __future__ import annotations

__all__ = [
    "CLAIM",
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
    WHERE saga_id = :saga_id AND (fingerprint = 'foreign' OR status IN ('completed', 'rolled_back', 'failed'))
"""
DELETE_STEPS = "DELETE FROM sagaz_step WHERE saga_id = :saga_id"
DELETE_ATTEMPTS = "DELETE FROM sagaz_attempt WHERE saga_id = :saga_id"
DELETE_AUDIT = """
    DELETE FROM sagaz_audit WHERE saga_id = :saga_id
        OR saga_id IN (SELECT 'signal:' || id FROM sagaz_signal WHERE taken_by = :saga_id AND taken_at IS NOT NULL)
"""
DELETE_WAITS = "DELETE FROM sagaz_wait WHERE saga_id = :saga_id"
DELETE_SENT = "DELETE FROM sagaz_outbox WHERE saga_id = :saga_id AND status = 'sent'"
