"""How attempts ended that were neither completed nor rolled back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from sagaz_durable.stores.ended_leases import under_way
from sagaz_durable.stores.sqlite.rows import attempt_record
from sagaz_integration_core.contract.listings import AttemptRecord
from sagaz_integration_core.contract.records import AttemptOutcome

__all__ = ["end_attempt", "end_leases", "load_attempts"]

_COLUMNS = "saga_id, attempt, owner, began_at, ended_at, outcome, detail, under_way"

# leased_at outlives the lease, so that an attempt may be recorded before or after it was taken away.
_END = f"""
    INSERT OR IGNORE INTO sagaz_attempt ({_COLUMNS})
    SELECT saga_id, :attempt, :owner, coalesce(leased_at, created_at), :ended_at, :outcome, coalesce(:detail,
        CASE :outcome WHEN 'failed' THEN error END), :under_way
    FROM sagaz_run WHERE saga_id = :saga_id
"""  # noqa: S608
_END_LEASE = f"""
    INSERT OR IGNORE INTO sagaz_attempt ({_COLUMNS})
    SELECT saga_id, attempt, lease_owner, coalesce(leased_at, created_at), lease_expires_at, :outcome, NULL, :under_way
    FROM sagaz_run WHERE saga_id = :saga_id
"""  # noqa: S608
_UNDER_WAY = "SELECT step, phase FROM sagaz_step WHERE saga_id = ? AND status = 'started' ORDER BY started_at, rowid"
_ATTEMPTS = f"SELECT {_COLUMNS} FROM sagaz_attempt WHERE saga_id = ? ORDER BY attempt"  # noqa: S608


def end_attempt(
    sqlite: sqlite3.Connection,
    saga_id: str,
    owner: str,
    attempt: int,
    outcome: AttemptOutcome,
    detail: str | None,
    ended_at: str,
) -> None:
    """Record how an attempt ended; ``failed`` without a detail has the run's error."""
    values = {
        "saga_id": saga_id,
        "owner": owner,
        "attempt": attempt,
        "outcome": outcome,
        "detail": detail,
        "ended_at": ended_at,
        "under_way": _under_way(sqlite, saga_id),
    }
    sqlite.execute(_END, values)


def end_leases(sqlite: sqlite3.Connection, saga_ids: Iterable[str], outcome: AttemptOutcome) -> None:
    """Record that the leases of these runs ended, which they still have."""
    for saga_id in saga_ids:
        values = {"saga_id": saga_id, "outcome": outcome, "under_way": _under_way(sqlite, saga_id)}
        sqlite.execute(_END_LEASE, values)


def load_attempts(sqlite: sqlite3.Connection, saga_id: str) -> list[AttemptRecord]:
    """Return how a run's earlier attempts ended, the oldest first."""
    return [attempt_record(row) for row in sqlite.execute(_ATTEMPTS, (saga_id,))]


def _under_way(sqlite: sqlite3.Connection, saga_id: str) -> str | None:
    return under_way(sqlite.execute(_UNDER_WAY, (saga_id,)).fetchall())
