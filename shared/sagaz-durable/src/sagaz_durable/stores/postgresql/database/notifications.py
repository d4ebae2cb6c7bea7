"""Listening for commits that made runs due; whatever goes wrong with that, workers poll besides."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from sagaz_durable.concurrency.cancellation import cancel_all
from sagaz_durable.concurrency.process_id import current_pid

__all__ = ["Notifications", "channel_of"]

logger = logging.getLogger(__name__)

_LONGEST_PAUSE = 30.0


class Notifications(ABC):
    """A connection of its own that waits for notifications, from the first time that somebody wants them.

    Args:
        broken: The errors by which a connection that cannot be made, or breaks, is known: it is made anew.
    """

    def __init__(self, broken: tuple[type[Exception], ...]) -> None:
        self._broken = broken
        self._task: asyncio.Task[None] | None = None
        self._pid = 0
        self.listening = False

    @abstractmethod
    def heard(self) -> AsyncGenerator[bool]:
        """Connect, listen, and yield until the connection breaks: first whether something is due, then each True.

        What was due before comes first, as nobody was told of it while there was no connection. It yields nothing at
        all where a pooler is in between, in whose sessions nobody may listen.
        """

    def start(self, wake: Callable[[], None]) -> None:
        """Begin to listen; harmless when already begun.

        Args:
            wake: Called for each notification, and when one was missed while there was no connection.
        """
        if self._task is None:
            self._pid = current_pid()
            self._task = asyncio.get_running_loop().create_task(self._listen_always(wake), name="sagaz-listen")

    async def stop(self) -> None:
        """Disconnect; a fork only forgets it, for the connection is its parent's."""
        task, self._task = self._task, None
        if task is not None and self._pid == current_pid():
            await cancel_all([task])

    async def _listen_always(self, wake: Callable[[], None]) -> None:
        failures = 0
        while True:
            try:
                await self._listen(wake)
                if not self.listening:
                    logger.info("A pooler is in front of PostgreSQL: nothing can be listened for there, workers poll.")
                    return
            except self._broken as error:
                failures = 1 if self.listening else failures + 1
                if failures == 1:
                    logger.warning("Wake-ups from PostgreSQL are off, workers poll; connecting again: %s", error)
            finally:
                self.listening = False
            await asyncio.sleep(min(0.5 * 2**failures, _LONGEST_PAUSE) * random.uniform(0.5, 1.0))

    async def _listen(self, wake: Callable[[], None]) -> None:
        async with aclosing(self.heard()) as heard:
            async for is_due in heard:
                self.listening = True
                if is_due:
                    wake()


def channel_of(schema: str) -> str:
    """Return the channel of a store; PostgreSQL cuts names at 63 bytes, and refuses longer ones in pg_notify."""
    plain = schema.isascii() and schema.isidentifier() and len(schema) <= 56
    return f"sagaz_{schema if plain else hashlib.sha256(schema.encode()).hexdigest()[:32]}"
