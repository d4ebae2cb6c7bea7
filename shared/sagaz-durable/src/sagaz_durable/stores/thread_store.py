"""A store for a thread that has no event loop: on a loop of its own, which turns while something is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.errors import StoreUnavailable

__all__ = ["ThreadStore"]

T = TypeVar("T")


class ThreadStore:
    """Opened by the first call, and used by one thread.

    Args:
        make: Makes the store.
    """

    def __init__(self, make: Callable[[], SagaStore]) -> None:
        self._make = make
        self._loop = asyncio.new_event_loop()
        self._store: SagaStore | None = None

    def call(self, work: Callable[[SagaStore], Awaitable[T]], seconds: float) -> T:
        """Ask the store something.

        Raises:
            StoreUnavailable: It is unreachable, or did not answer within ``seconds``.
        """
        return self._loop.run_until_complete(self._within(seconds, work))

    async def _within(self, seconds: float, work: Callable[[SagaStore], Awaitable[T]]) -> T:
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                if self._store is None:
                    store = self._make()
                    await store.open()
                    self._store = store
                return await work(self._store)
        except TimeoutError as error:
            if limit.expired():
                raise StoreUnavailable(f"The store did not answer within {seconds:g} s.") from error
            raise

    def close(self) -> None:
        """Disconnect."""
        try:
            if self._store is not None:
                self._loop.run_until_complete(self._store.close())
        finally:
            self._loop.close()
