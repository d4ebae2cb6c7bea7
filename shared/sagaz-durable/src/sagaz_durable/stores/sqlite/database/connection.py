"""A connection of an SQLite store: opened, made ready, used and closed, all in one thread."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from typing import TypeVar

from sagaz_durable.stores.sqlite.database.errors import is_busy, translated, unavailable
from sagaz_durable.stores.sqlite.database.locks import own_process_writes
from sagaz_durable.stores.sqlite.database.schema import prepare
from sagaz_integration_core.errors import StoreRightsMissing, StoreUnavailable

__all__ = ["Connection", "Work", "check_writable"]

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
"""What is done in one transaction; done again from its beginning when a lock was in the way."""


_SHORT_SECONDS = 0.02
"""For how long SQLite itself waits for a lock, in the thread: as long as most transactions of others take."""


class Connection:
    """A connection to an SQLite file; every method belongs to the thread that opened it.

    What a lock is in the way of raises SQLite's own error, which `is_busy` knows, and may be done again.

    Args:
        only_reads: It makes nothing and writes nothing, in a file that another connection has made ready.
    """

    def __init__(self, path: str, *, only_reads: bool = False) -> None:
        self._path = path
        self._only_reads = only_reads
        self._waits = True
        self._inode = 0
        self._sqlite: sqlite3.Connection | None = None

    def open(self) -> None:
        """Connect and see that the tables are there; when it raises, nothing is left open."""
        try:
            if not self._only_reads:
                self._make_private()
            self._sqlite = sqlite3.connect(self._path, timeout=_SHORT_SECONDS, isolation_level=None)
            self._make_ready(self._sqlite)
        except BaseException as error:
            self.close()
            if isinstance(error, sqlite3.Error) and not is_busy(error):
                raise unavailable(self._path, error) from error
            raise

    def close(self) -> None:
        """Disconnect; harmless when already done."""
        sqlite, self._sqlite = self._sqlite, None
        if sqlite is not None:
            sqlite.close()

    def read(self, work: Work[T]) -> T:
        """Do what only reads."""
        return self._transact("BEGIN", work)

    def write(self, work: Work[T], *, waits: bool = True) -> T:
        """Do what writes.

        Args:
            waits: Whether SQLite may wait for a lock, as nobody else is held up by it.
        """
        if waits != self._waits:
            self._connected().execute(f"PRAGMA busy_timeout = {round(_SHORT_SECONDS * 1000) if waits else 0}")
            self._waits = waits
        return self._transact("BEGIN IMMEDIATE", work)

    def own_transaction(self) -> object:
        """Return what stays equal as long as one transaction of this process goes on; None when another's does."""
        if not own_process_writes(self._path):
            return None
        try:
            return self._connected().execute("PRAGMA data_version").fetchone()
        except sqlite3.OperationalError:
            return "busy"

    def _make_private(self) -> None:
        """Make a new file, and thereby what SQLite puts beside it, readable by its owner only: contexts are in it."""
        # What cannot be made is left to SQLite, whose errors say why.
        with contextlib.suppress(OSError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))

    def _make_ready(self, sqlite: sqlite3.Connection) -> None:
        self._inode = os.stat(self._path).st_ino
        if self._only_reads:
            sqlite.execute("PRAGMA query_only = ON")
            return
        sqlite.execute("PRAGMA journal_mode = WAL")
        sqlite.execute("PRAGMA synchronous = FULL")
        check_writable(self._path)
        prepare(self._path, self.read, self.write)

    def _transact(self, begin: str, work: Work[T]) -> T:
        sqlite = self._connected()
        try:
            return _attempt(sqlite, begin, work)
        except (sqlite3.DatabaseError, UnicodeEncodeError) as error:
            if isinstance(error, sqlite3.Error) and is_busy(error):
                raise
            meant = translated(self._path, error)
            if meant is None:
                raise
            # That of an encoding holds the whole text.
            raise meant from (None if isinstance(error, UnicodeEncodeError) else error)

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
