"""Where a store's database calls are made: never on a thread whose event loop is running."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from asgiref.sync import sync_to_async
from django.db import connections

from django_sagaz._stores.connections import commit_by_themselves
from sagaz_integration_core.errors import StoreUnavailable

__all__ = ["DatabaseThread", "Directly", "Runner", "ThreadSensitive", "immediately"]

T = TypeVar("T")


class Runner(Protocol):
    """Makes a database call somewhere, and returns what it returned."""

    async def __call__(self, work: Callable[[], T]) -> T:
        """Make the call."""
        ...

    async def close(self) -> None:
        """Give back what was opened for it."""
        ...


class Directly:
    """Here and now, for code that has no event loop; see `immediately`."""

    async def __call__(self, work: Callable[[], T]) -> T:
        """Make the call."""
        return work()

    async def close(self) -> None:
        """Nothing was opened: the connection is the caller's."""


def immediately(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns that never waits, because its store makes its calls `Directly`."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    coroutine.close()
    raise RuntimeError("A coroutine that must not wait waited.")


class ThreadSensitive:
    """On the thread that Django reserves for this context: a synchronous caller's own, if one waits for the loop."""

    async def __call__(self, work: Callable[[], T]) -> T:
        """Make the call."""
        return await sync_to_async(work, thread_sensitive=True)()

    async def close(self) -> None:
        """Nothing was opened: the connection is the context's."""


class DatabaseThread:
    """On a thread of its own, with a connection of its own, which it keeps from its first call until it is closed."""

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = ThreadPoolExecutor(
            1, thread_name_prefix="sagaz-database", initializer=commit_by_themselves
        )

    async def __call__(self, work: Callable[[], T]) -> T:
        """Make the call."""
        if self._thread is None:
            raise StoreUnavailable("The store is not open any more. A runtime closes it at shutdown: use it before.")
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def close(self, disconnect: Callable[[], object] = lambda: None) -> None:
        """Finish what was asked for, and disconnect; harmless when already closed.

        Args:
            disconnect: Called on the thread before its own connections are closed.
        """
        thread, self._thread = self._thread, None
        if thread is not None:
            closing = asyncio.get_running_loop().run_in_executor(thread, _both, disconnect, connections.close_all)
            thread.shutdown(wait=False)
            # Not even cancellation leaves the connection open.
            await asyncio.shield(closing)


def _both(first: Callable[[], object], second: Callable[[], object]) -> None:
    try:
        first()
    finally:
        second()
