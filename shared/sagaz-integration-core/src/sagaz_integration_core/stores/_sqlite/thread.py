"""The thread that owns a store's connection, and the way of a transaction from the event loop to it and back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sagaz_integration_core.stores._opened import Opened
from sagaz_integration_core.stores._sqlite import forks
from sagaz_integration_core.stores._sqlite.connection import Connection, Work

__all__ = ["ConnectionThread"]

T = TypeVar("T")


class ConnectionThread:
    """Does one transaction after the other, in the order in which they were asked for.

    Its idle thread ends with the interpreter, closed or not.
    """

    def __init__(self, path: str, busy_seconds: float) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        self._opened = Opened(f"The SQLite store {path}")

    def check(self) -> None:
        """Refuse the use of a store that is not open in this process."""
        self._opened.check()

    async def open(self) -> None:
        """Start the thread and connect; harmless when already done."""
        if self._opened and not self._opened.inherited:
            return
        forks.register(self._path)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sagaz-sqlite")
        self._connection = Connection(self._path, self._busy_seconds)
        try:
            await self._run(self._connection.open)
        except BaseException:
            await self._stop()
            raise
        self._opened.set()

    async def close(self) -> None:
        """Finish what was asked for, disconnect and end the thread; harmless when already done.

        A fork only forgets it: the thread did not follow, and the connection is the parent's.
        """
        usable = self._opened and not self._opened.inherited
        self._opened.clear()
        if usable:
            await self._stop()

    async def read(self, work: Work[T]) -> T:
        """Do what only reads."""
        self.check()
        return await self._run(lambda: self._connection.read(work))

    async def write(self, work: Work[T], *, wary: bool = False) -> T:
        """Do what writes; ``wary`` when the caller may itself be inside the transaction that holds the lock."""
        self.check()
        return await self._run(lambda: self._connection.write(work, wary=wary))

    def _run(self, work: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _stop(self) -> None:
        stopping = self._run(self._disconnect)
        self._thread.shutdown(wait=False)
        # Not even cancellation leaves the file open.
        await asyncio.shield(stopping)

    def _disconnect(self) -> None:
        try:
            self._connection.close()
        finally:
            forks.forget(self._path)
