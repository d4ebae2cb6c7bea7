"""Listens for commits that made runs due; whatever goes wrong with that, workers poll besides."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

import psycopg
from psycopg import sql

from sagaz_durable.concurrency.cancellation import cancel_all
from sagaz_durable.stores.postgresql.database.address import Address
from sagaz_durable.stores.postgresql.database.pool import connect
from sagaz_durable.stores.postgresql.database.session import make_own
from sagaz_integration_core.errors import StoreUnavailable

__all__ = ["Listener"]

logger = logging.getLogger(__name__)

_LONGEST_PAUSE = 30.0


class Listener:
    """A connection of its own that waits for notifications, from the first time that somebody wants them.

    Args:
        any_due: A query that returns a row when something is due.
        wake: Called for each notification, and when one was missed while there was no connection.
    """

    def __init__(self, address: Address, channel: str, any_due: str, wake: Callable[[], None]) -> None:
        self._address = address
        self._channel = channel
        self._any_due = any_due
        self._wake = wake
        self._task: asyncio.Task[None] | None = None
        self.listening = False

    def start(self) -> None:
        """Begin to listen; harmless when already begun."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="sagaz-listen")

    async def stop(self) -> None:
        """Disconnect."""
        task, self._task = self._task, None
        if task is not None:
            await cancel_all([task])

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                if not await self._listen():
                    return
            except (psycopg.Error, StoreUnavailable) as error:
                failures = 1 if self.listening else failures + 1
                if failures == 1:
                    logger.warning("Wake-ups from PostgreSQL are off, workers poll; connecting again: %s", error)
            finally:
                self.listening = False
            await asyncio.sleep(min(0.5 * 2**failures, _LONGEST_PAUSE) * random.uniform(0.5, 1.0))

    async def _listen(self) -> bool:
        """Listen until the connection breaks; False if a pooler is in between, in whose sessions nobody may listen."""
        connection = await connect(self._address)
        try:
            if not await make_own(connection):
                logger.info("A pooler is in front of PostgreSQL: nothing can be listened for there, workers poll.")
                return False
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
            self.listening = True
            if await (await connection.execute(self._any_due.encode())).fetchone() is not None:
                self._wake()
            async for _ in connection.notifies():
                self._wake()
            return True
        finally:
            await connection.close()
