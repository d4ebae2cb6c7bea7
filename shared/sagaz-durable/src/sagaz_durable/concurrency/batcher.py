"""Many small writes in one commit: each waits for its own batch, and a batch starts when the last one has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeAlias, TypeVar

from sagaz_integration_core.contract.records import RunWrite
from sagaz_integration_core.errors import StoreUnavailable

__all__ = ["MAX_BYTES", "Batcher", "bytes_of"]

T = TypeVar("T")
R = TypeVar("R")

Batch: TypeAlias = Sequence[tuple[T, asyncio.Future[R]]]

MAX_BYTES = 1 << 20
"""The most bytes of one batch; a single item that is larger goes alone."""


class Batcher(Generic[T, R]):
    """Collects items while a commit is under way and hands them to the next one.

    An item that the store refuses harms no other: its batch is committed again in parts.

    Args:
        commit: Takes the items of a batch in the order of their submission; returns an answer for each. When it raises,
            nothing was recorded.
        limit: The most items of one batch.
        size: Returns how many bytes an item has.
    """

    def __init__(
        self,
        commit: Callable[[list[T]], Awaitable[list[R]]],
        limit: int = 500,
        size: Callable[[T], int] = lambda item: 0,
    ) -> None:
        self._commit = commit
        self._limit = limit
        self._size = size
        self._queue: list[tuple[T, asyncio.Future[R]]] = []
        self._flusher: asyncio.Task[None] | None = None

    def submit(self, item: T) -> asyncio.Future[R]:
        """Queue an item; the future is done when its batch is durable, or has the error that it met."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._queue.append((item, future))
        if self._flusher is None:
            self._flusher = asyncio.get_running_loop().create_task(self._flush())
        return future

    async def idle(self) -> None:
        """Return when everything that was submitted has been committed, or has failed."""
        while self._flusher is not None:
            await asyncio.wait([self._flusher])

    async def _flush(self) -> None:
        batch: Batch[T, R] = ()
        try:
            while self._queue:
                count = self._count()
                batch, self._queue = self._queue[:count], self._queue[count:]
                await self._commit_batch(batch)
        except BaseException:
            for _, future in batch:
                future.cancel()
            raise
        finally:
            self._flusher = None

    def _count(self) -> int:
        """Return how many of the items that wait make the next batch."""
        total = 0
        for count, (item, _) in enumerate(self._queue[: self._limit]):
            total += self._size(item)
            if count and total > MAX_BYTES:
                return count
        return self._limit

    async def _commit_batch(self, batch: Batch[T, R]) -> None:
        try:
            answers = await self._commit([item for item, _ in batch])
        except StoreUnavailable as error:
            _fail(batch, error)
        except Exception as error:
            if len(batch) == 1:
                _fail(batch, error)
                return
            half = len(batch) // 2
            await self._commit_batch(batch[:half])
            await self._commit_batch(batch[half:])
        else:
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)


def _fail(batch: Batch[T, R], error: Exception) -> None:
    for _, future in batch:
        # Whoever waited for it may have been cancelled.
        if not future.done():
            future.set_exception(error)


def bytes_of(write: RunWrite) -> int:
    """Return how many bytes of results, errors and events a write has."""
    total = _bytes(write.error)
    for step in write.steps:
        total += _bytes(step.result) + _bytes(step.error)
    for event in write.events:
        total += _bytes(event.payload) + _bytes(event.headers)
    return total


def _bytes(text: str | None) -> int:
    if not text:
        return 0
    return len(text) if text.isascii() else len(text.encode(errors="replace"))
