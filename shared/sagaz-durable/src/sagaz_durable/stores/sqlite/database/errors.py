"""What SQLite's errors mean to whoever runs the application, each with its fix."""

from __future__ import annotations

import sqlite3

from sagaz_durable.settings.wording import Wording
from sagaz_integration_core.errors import (
    SagazError,
    StoreRightsMissing,
    StoreUnavailable,
    UnstorableValue,
    WriteLockHeld,
    WriteRefused,
)

__all__ = ["is_busy", "locked", "self_locked", "translated", "unavailable"]

_ADVICE = {
    sqlite3.SQLITE_CANTOPEN: "It must be a file, in a directory that exists and that this user may write",
    sqlite3.SQLITE_READONLY: "The file and its directory must be writable by this user",
    sqlite3.SQLITE_PERM: "The file and its directory must be writable by this user",
    sqlite3.SQLITE_FULL: "The disk is full: free some space",
    sqlite3.SQLITE_NOTADB: "It is not an SQLite database: name another file in the storage URL",
    sqlite3.SQLITE_CORRUPT: "The file is damaged: restore it from a backup, or name another one in the storage URL",
    sqlite3.SQLITE_IOERR: "The disk or its file system failed; SQLite needs a local disk, not a network share",
}


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection's lock is in the way, so that trying again may help."""
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def translated(path: str, error: sqlite3.Error | UnicodeEncodeError) -> SagazError | None:
    """Return what an error of a transaction means; None for a mistake in the call, which tells nothing of the store."""
    store = f"The SQLite store {path}"
    if isinstance(error, UnicodeEncodeError | sqlite3.DataError):
        return UnstorableValue(
            f"{store} can never store one of the values that it was given: {_unstorable(error)}. Nothing was recorded."
        )
    if isinstance(error, sqlite3.IntegrityError):
        return WriteRefused(f"{store} refused a statement, and nothing was recorded: {error}.")
    return unavailable(path, error) if type(error) in (sqlite3.DatabaseError, sqlite3.OperationalError) else None


def _unstorable(error: Exception) -> str:
    return "half of a surrogate pair is no text" if isinstance(error, UnicodeEncodeError) else str(error)


def unavailable(path: str, error: sqlite3.Error) -> StoreUnavailable:
    """Return the error that names the file, what SQLite said and what to do."""
    advice = _ADVICE.get(_code(error), "Nothing of this transaction was recorded")
    kind = StoreRightsMissing if _code(error) in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM) else StoreUnavailable
    return kind(f"The SQLite store {path} cannot be used: {error}. {advice}.")


def locked(path: str, waited: float, own: bool | None, wording: Wording) -> StoreUnavailable:
    """Return the error for a lock that was waited for in vain; ``own`` is what is known of who holds it."""
    if own:
        return self_locked(path, waited)
    if own is None:
        cause = "another process, or a transaction of this one that is waiting for this very call,"
        fix = "Commit that transaction first"
    else:
        cause = "another process"
        fix = "Keep its write transactions short"
    return StoreUnavailable(
        f"The SQLite store {path} stayed locked for {waited:.1f} s by a write transaction of {cause} and nothing was "
        f"recorded. {fix}, or wait longer with {wording.setting('sqlite_busy_seconds')}."
    )


def self_locked(path: str, waited: float) -> WriteLockHeld:
    """Return the error for a lock that this process holds itself."""
    return WriteLockHeld(
        f"The SQLite store {path} has been locked for {waited:.1f} s by a write transaction of this very process, "
        "which may be waiting for this very call. Commit it first; or have what you record be part of it, with "
        "session=…: a start, a signal, an event."
    )


def _code(error: sqlite3.Error) -> int:
    # The lower byte; the rest tells of the variant.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
