"""The threads that own a store's connections, and the way of a transaction from the event loop to them and back."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from sagaz_durable.settings.wording import NEUTRAL, Wording
from sagaz_durable.stores.open_check import Opened
from sagaz_durable.stores.sqlite.database import forks
from sagaz_durable.stores.sqlite.database.connection import Connection, Work, check_writable
from sagaz_durable.stores.sqlite.database.errors import is_busy
from sagaz_durable.stores.sqlite.database.lock_wait import LockWait
from sagaz_durable.stores.sqlite.database.schema import read_store_id

__all__ = ["ConnectionThread"]

T = TypeVar("T")

_PAUSE_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 0.25


class ConnectionThread:
    """Does one write after the other, and beside them one read after the other, each kind in a thread of its own.

    A lock is waited for on the event loop, so that nobody waits behind somebody who waits: each caller gives up when
    its own time is up. Idle threads end with the interpreter, closed or not.

    Args:
        path: The file; it is made, with its tables, when it is not there. Its directory must be.
        busy_seconds: How long to wait for another connection's write transaction.
        wording: How the setting that says so is spelled.
    """

    kind = "sqlite"
    path: str | None

    def __init__(self, path: str | os.PathLike[str], *, busy_seconds: float = 5.0, wording: Wording = NEUTRAL) -> None:
        self.path = self._path = os.path.abspath(path)
        self._busy_seconds = busy_seconds
        self._wording = wording
        self._opened = Opened(f"The SQLite store {self._path}")
        self._waiting = 0

    def check(self) -> None:
        """Refuse the use of a store that is not open in this process."""
        self._opened.check()

    async def open(self) -> None:
        """Start the threads and connect; harmless when already done."""
        if self._opened and not self._opened.inherited:
            return
        forks.register(self._path)
        self._writer, self._reader = Connection(self._path), Connection(self._path, only_reads=True)
        self._writes, self._reads = (
            ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"sagaz-sqlite-{kind}") for kind in ("write", "read")
        )
        try:
            await self._patiently(self._writes, lambda _: self._writer.open())
            await self._patiently(self._reads, lambda _: self._reader.open())
        except BaseException:
            await self._stop()
            raise
        self._opened.set()

    async def close(self) -> None:
        """Finish what was asked for, disconnect and end the threads; harmless when already done.

        A fork only forgets it: the threads did not follow, and the connections are the parent's.
        """
        usable = self._opened and not self._opened.inherited
        self._opened.clear()
        if usable:
            await self._stop()

    async def check_ready(self, *, only_reads: bool) -> None:
        """Ask whether the file is there, and may be written."""
        await self.store_id()
        if not only_reads:
            check_writable(self._path)

    async def store_id(self) -> str:
        """Return the random id that was made with the tables."""
        return await self.read(read_store_id)

    async def read(self, work: Work[T]) -> T:
        """Do what only reads."""
        self.check()
        return await self._patiently(self._reads, lambda _: self._reader.read(work))

    async def write(self, work: Work[T], *, wary: bool = False) -> T:
        """Do what writes; ``wary`` when the caller may itself be inside the transaction that holds the lock."""
        self.check()
        return await self._patiently(self._writes, lambda waits: self._writer.write(work, waits=waits), wary=wary)

    async def _patiently(self, thread: ThreadPoolExecutor, attempt: Callable[[bool], T], *, wary: bool = False) -> T:
        """Do it again until no lock is in the way, or the caller's time is up.

        Args:
            attempt: Called with whether SQLite itself may wait a little.
        """
        came_at = time.monotonic()
        try:
            return await _run(thread, lambda: attempt(self._waiting == 0))
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
        wait = LockWait(self._path, came_at, self._busy_seconds, wary=wary, wording=self._wording)
        self._waiting += 1
        try:
            return await self._wait(thread, attempt, wait)
        finally:
            self._waiting -= 1

    async def _wait(self, thread: ThreadPoolExecutor, attempt: Callable[[bool], T], wait: LockWait) -> T:
        while True:
            if wait.wants_to_look():
                wait.look(await _run(self._writes, self._writer.own_transaction))
            # Many that wait try as often as a few, together.
            pause = min(_PAUSE_SECONDS * self._waiting, _LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(min(pause, wait.remaining()))
            try:
                return await _run(thread, lambda: attempt(self._waiting == 1))
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise

    async def _stop(self) -> None:
        reader_closed = self._reads.submit(self._reader.close)
        stopping = _run(self._writes, lambda: self._disconnect(reader_closed))
        for thread in (self._reads, self._writes):
            thread.shutdown(wait=False)
        # Not even cancellation leaves the file open.
        await asyncio.shield(stopping)

    def _disconnect(self, reader_closed: Future[None]) -> None:
        try:
            reader_closed.result()
        finally:
            try:
                self._writer.close()
            finally:
                forks.forget(self._path)


def _run(thread: ThreadPoolExecutor, work: Callable[[], T]) -> asyncio.Future[T]:
    return asyncio.get_running_loop().run_in_executor(thread, work)
