"""The worker inside a process that also serves: begun once all that its steps need is there, and stopped first."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sagaz_durable.workers.worker import Worker

__all__ = ["EmbeddedWorker"]


class EmbeddedWorker:
    """One runtime's worker, if it is to have one.

    Args:
        make: Returns the worker, which is not started yet; None if there is to be none.
    """

    def __init__(self, make: Callable[[], Worker] | None) -> None:
        self._make = make
        self._worker: Worker | None = None
        self._stopping = False

    def begin(self) -> None:
        """Start it, unless it was started or stopped before."""
        if self._make is not None and self._worker is None and not self._stopping:
            self._worker = self._make()
            self._worker.start()

    def stop(self) -> None:
        """Have it take no new runs."""
        self._stopping = True
        if self._worker is not None:
            self._worker.stop()

    async def settled(self) -> None:
        """Wait until it has got what it has claimed, after `stop`."""
        if self._worker is not None:
            await self._worker.settled()

    async def stopped(self) -> None:
        """Wait until it has ended, after `stop`."""
        if self._worker is not None:
            await self._worker.stopped()

    @property
    def has_died(self) -> bool:
        """Whether it has ended although nobody told it to."""
        return self._worker is not None and self._worker.has_ended and not self._stopping
