"""The one connection of an SQLite store: opened, made ready, used and closed, all in one thread."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from typing import TypeVar

from sagaz_integration_core.errors import StoreRightsMissing, StoreUnavailable
from sagaz_integration_core.stores._sqlite.errors import is_busy, translated, unavailable
from sagaz_integration_core.stores._sqlite.patience import SLICE_SECONDS, LockWait
from sagaz_integration_core.stores._sqlite.schema import prepare

__all__ = ["Connection", "Work", "check_writable"]

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
"""What is done in one transaction; done again from its beginning when a lock was in the way."""


class Connection:
    """A connection to an SQLite file; every method belongs to the thread that opened it.

    Args:
        busy_seconds: How long to wait for another connection's write transaction.
    """

    def __init__(self, path: str, busy_seconds: float) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        self._inode = 0
        self._sqlite: sqlite3.Connection | None = None

    def open(self) -> None:
        """Connect and see that the tables are there; when it raises, nothing is left open."""
        try:
            self._make_private()
            self._sqlite = sqlite3.connect(
                self._path, timeout=min(SLICE_SECONDS, self._busy_seconds), isolation_level=None
            )
            self._make_ready(self._sqlite)
        except BaseException as error:
            self.close()
            if isinstance(error, sqlite3.Error):
                raise unavailable(self._path, error) from error
            raise

    def close(self) -> None:
        """Disconnect; harmless when already done."""
        sqlite, self._sqlite = self._sqlite, None
        if sqlite is not None:
            sqlite.close()

    def read(self, work: Work[T]) -> T:
        """Do what only reads."""
        return self._transact("BEGIN", work, wary=False)

    def write(self, work: Work[T], *, wary: bool = False) -> T:
        """Do what writes.

        Args:
            wary: The caller may itself be inside the transaction that holds the lock, so that waiting is in vain.
        """
        return self._transact("BEGIN IMMEDIATE", work, wary=wary)

    def _make_private(self) -> None:
        """Make a new file, and thereby what SQLite puts beside it, readable by its owner only: contexts are in it."""
        # What cannot be made is left to SQLite, whose errors say why.
        with contextlib.suppress(OSError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))

    def _make_ready(self, sqlite: sqlite3.Connection) -> None:
        self._patiently(sqlite, lambda: sqlite.execute("PRAGMA journal_mode = WAL"), wary=False)
        sqlite.execute("PRAGMA synchronous = FULL")
        self._inode = os.stat(self._path).st_ino
        check_writable(self._path)
        prepare(self._path, self.read, self.write)

    def _transact(self, begin: str, work: Work[T], *, wary: bool) -> T:
        sqlite = self._connected()
        try:
            return self._patiently(sqlite, lambda: _attempt(sqlite, begin, work), wary=wary)
        except (sqlite3.DatabaseError, UnicodeEncodeError) as error:
            meant = translated(self._path, error)
            if meant is None:
                raise
            raise meant from error

    def _connected(self) -> sqlite3.Connection:
        """Return the connection, unless its file is no more the one by that name: what is written would be lost."""
        try:
            same = os.stat(self._path).st_ino == self._inode
        except OSError:
            same = False
        if self._sqlite is None or not same:
            raise StoreUnavailable(
                f"The SQLite store {self._path} was removed or replaced after this process had opened it. Put the file "
                "back, or restart this process."
            )
        return self._sqlite

    def _patiently(self, sqlite: sqlite3.Connection, action: Callable[[], T], *, wary: bool) -> T:
        wait: LockWait | None = None
        while True:
            try:
                return action()
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
            wait = wait or LockWait(self._path, sqlite, self._busy_seconds, wary=wary)
            wait.go_on()


def check_writable(path: str) -> None:
    """Look whether this user may write: SQLite opens a file for reading only, and tells of it at the first write.

    Raises:
        StoreRightsMissing: Naming what it may not write.
    """
    for place in (path, os.path.dirname(path)):
        if not os.access(place, os.W_OK):
            raise StoreRightsMissing(
                f"The SQLite store {path} cannot be written: this user has no right to write {place}. Give it that "
                "right, or name another file in the storage URL."
            )


def _attempt(sqlite: sqlite3.Connection, begin: str, work: Work[T]) -> T:
    sqlite.execute(begin)
    try:
        result = work(sqlite)
        sqlite.execute("COMMIT")
    finally:
        if sqlite.in_transaction:
            sqlite.execute("ROLLBACK")
    return result
