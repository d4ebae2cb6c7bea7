"""The port of an SQLite store: what executes its transactions, a thread of its own or a framework's connections."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Protocol, TypeVar

__all__ = ["Transactions"]

T = TypeVar("T")


class Transactions(Protocol):
    """Executes the transactions of a `SQLiteStore`, one after the other if it has to.

    Each is a function that is given a connection, of which it uses ``execute`` (with ``fetchone``, ``fetchall``,
    iteration and ``rowcount`` of what that returns) and ``executemany``. It may be called again from its beginning when
    a lock was in the way; nothing of a try that failed is kept.

    Whatever is asked raises `StoreUnavailable` when the file cannot be used, and nothing else for that reason;
    `UnstorableValue` and `WriteRefused` as `SagaStore` has it.
    """

    kind: str
    """What the store is in messages and listings: ``sqlite``, or ``django``."""

    path: str | None
    """The file, if callers' own connections to it can take part in a start; None where they are these very ones."""

    async def open(self) -> None:
        """Connect, and make the tables when they are missing; harmless when already open.

        Raises:
            StoreNotReady: What lacks is not made here.
        """
        ...

    async def close(self) -> None:
        """Finish what was asked for, and disconnect; harmless when already closed."""
        ...

    def check(self) -> None:
        """Refuse the use of what is not open in this process.

        Raises:
            StoreUnavailable: Saying why.
        """
        ...

    async def check_ready(self, *, only_reads: bool) -> None:
        """Ask whether the tables are there, and whether the file may be written.

        Raises:
            StoreNotReady: Naming what lacks.
        """
        ...

    async def store_id(self) -> str:
        """Return the random id that was made with the tables."""
        ...

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what a transaction returns that only reads."""
        ...

    async def write(self, work: Callable[[sqlite3.Connection], T], *, wary: bool = False) -> T:
        """Return what a transaction returns that has the file's write lock from its beginning; durable from then on.

        Args:
            wary: The caller may itself be inside of the transaction that holds the lock.

        Raises:
            WriteLockHeld: Found out to be so; only of those that are wary.
        """
        ...
