"""Listening for commits that made runs due; whatever goes wrong with that, workers poll besides."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING

from sagaz_durable.concurrency.cancellation import cancel_all
from sagaz_durable.concurrency.process_id import current_pid

__all__ = ["FOR_SIGNAL", "Notifications", "channel_of", "received", "wake_ups"]

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

logger = logging.getLogger(__name__)

_LONGEST_PAUSE = 30.0

FOR_SIGNAL = "signal"
"""What a notification says when a signal was sent; others say nothing."""


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
    def heard(self) -> AsyncGenerator[str | None]:
        """Connect, listen, and yield until the connection breaks: what notifications say, or None for no news.

        First comes an empty one if something is due, as nobody was told of it while there was no connection, or None.
        It yields nothing at all where a pooler is in between, in whose sessions nobody may listen.
        """

    def start(self, tell: Callable[[str], None]) -> None:
        """Begin to listen; harmless when already begun.

        Args:
            tell: Called with what notifications say, and with an empty text when one was missed while there was no
                connection.
        """
        if self._task is None:
            self._pid = current_pid()
            self._task = asyncio.get_running_loop().create_task(self._listen_always(tell), name="sagaz-listen")

    async def stop(self) -> None:
        """Disconnect; a fork only forgets it, for the connection is its parent's."""
        task, self._task = self._task, None
        if task is not None and self._pid == current_pid():
            await cancel_all([task])

    async def _listen_always(self, tell: Callable[[str], None]) -> None:
        failures = 0
        while True:
            try:
                await self._listen(tell)
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

    async def _listen(self, tell: Callable[[str], None]) -> None:
        async with aclosing(self.heard()) as heard:
            async for said in heard:
                self.listening = True
                if said is not None:
                    tell(said)


def channel_of(schema: str) -> str:
    """Return the channel of a store; PostgreSQL cuts names at 63 bytes, and refuses longer ones in pg_notify."""
    plain = schema.isascii() and schema.isidentifier() and len(schema) <= 56
    return f"sagaz_{schema if plain else hashlib.sha256(schema.encode()).hexdigest()[:32]}"


async def received(pgconn: PGconn) -> AsyncGenerator[str | None]:
    """Yield what notifications say that arrive on a connection that nobody uses for anything else.

    Of several that arrive at once, one is told of: one that says something, if there is one. psycopg's own generator,
    which has each of them, takes a twentieth of a millisecond longer to wake a worker.

    Raises:
        psycopg.OperationalError: The connection is dead.
    """
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    descriptor = pgconn.socket
    loop.add_reader(descriptor, readable.set)
    try:
        while True:
            await readable.wait()
            readable.clear()
            pgconn.consume_input()
            said: str | None = None
            while (notification := pgconn.notifies()) is not None:
                # Anybody may notify the channel, of anything.
                said = said or notification.extra.decode(errors="replace")
            yield said
    finally:
        loop.remove_reader(descriptor)


def wake_ups(channel: str, *, notify: bool) -> dict[str, str]:
    """Return what statements call to wake those who listen to a channel, by the name that they have for it.

    Args:
        channel: As an expression.
        notify: Whether they are to be woken at all.
    """
    said = {"wake": "", "wake_for_signal": FOR_SIGNAL}
    return {name: f"pg_notify({channel}, '{text}')" if notify else "NULL" for name, text in said.items()}
