"""One caller's wait for another connection's write transaction, and noticing when that can never end."""

from __future__ import annotations

import time

from sagaz_durable.settings.wording import Wording
from sagaz_durable.stores.sqlite.database.errors import locked, self_locked
from sagaz_durable.stores.sqlite.database.locks import own_process_writes

__all__ = ["LockWait"]

_SUSPICIOUS_SECONDS = 0.5
_LOOK_SECONDS = 0.25


class LockWait:
    """One wait for SQLite's write lock, which does not depend on how long others have waited before.

    Args:
        came_at: When the caller came, by the monotonic clock.
        busy_seconds: After how long to give up.
        wary: The caller may itself be inside the transaction that holds the lock. Then two looks in a row that find
            this process holding it, with no commit in between, end the wait early.
        wording: How the setting for it is spelled.
    """

    def __init__(self, path: str, came_at: float, busy_seconds: float, *, wary: bool, wording: Wording) -> None:
        self._path = path
        self._came_at = came_at
        self._busy_seconds = busy_seconds
        self._wording = wording
        self._look_at = came_at + _SUSPICIOUS_SECONDS if wary else float("inf")
        self._seen: object = None

    def remaining(self) -> float:
        """Return for how many seconds more to wait.

        Raises:
            StoreUnavailable: The time is up.
        """
        waited = time.monotonic() - self._came_at
        if waited >= self._busy_seconds:
            raise locked(self._path, waited, own_process_writes(self._path), self._wording)
        return self._busy_seconds - waited

    def wants_to_look(self) -> bool:
        """Whether it is time to see who holds the lock."""
        return time.monotonic() >= self._look_at

    def look(self, own_transaction: object) -> None:
        """Take note of this process's own transaction: what stays equal while one goes on, None for another's.

        Raises:
            WriteLockHeld: It is this process's own transaction that holds the lock, and it does not end.
        """
        self._look_at = time.monotonic() + _LOOK_SECONDS
        before, self._seen = self._seen, own_transaction
        if before is not None and before == own_transaction:
            raise self_locked(self._path, time.monotonic() - self._came_at)
