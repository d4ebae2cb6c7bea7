"""Waiting for another connection's write transaction, and noticing when that can never end."""

from __future__ import annotations

import sqlite3
import time

from sagaz_integration_core.stores._sqlite.errors import locked, self_locked
from sagaz_integration_core.stores._sqlite.locks import own_process_writes

__all__ = ["SLICE_SECONDS", "LockWait"]

SLICE_SECONDS = 0.25
"""How long SQLite itself waits for a lock, before it is looked at who holds it."""

_SUSPICIOUS_SECONDS = 0.5
_PAUSE_SECONDS = 0.01


class LockWait:
    """One wait for SQLite's write lock.

    Args:
        busy_seconds: When to give up.
        wary: The caller may itself be inside the transaction that holds the lock. Then two looks in a row that find
            this process holding it, with no commit in between, end the wait early.
    """

    def __init__(self, path: str, sqlite: sqlite3.Connection, busy_seconds: float, *, wary: bool) -> None:
        self._path = path
        self._sqlite = sqlite
        self._busy_seconds = busy_seconds
        self._wary = wary
        self._started = time.monotonic() - SLICE_SECONDS
        self._seen: object = None

    def go_on(self) -> None:
        """Pause before another try.

        Raises:
            StoreUnavailable: The time is up.
            WriteLockHeld: It is this process's own transaction that holds the lock.
        """
        waited = time.monotonic() - self._started
        if waited >= self._busy_seconds:
            raise locked(self._path, waited, own_process_writes(self._path))
        if self._wary and waited >= _SUSPICIOUS_SECONDS:
            before, self._seen = self._seen, self._own_transaction()
            if before is not None and before == self._seen:
                raise self_locked(self._path, waited)
        time.sleep(_PAUSE_SECONDS)

    def _own_transaction(self) -> object:
        """Return what stays equal as long as one transaction of this process goes on; None when another's does."""
        if not own_process_writes(self._path):
            return None
        try:
            return self._sqlite.execute("PRAGMA data_version").fetchone()
        except sqlite3.OperationalError:
            return "busy"
