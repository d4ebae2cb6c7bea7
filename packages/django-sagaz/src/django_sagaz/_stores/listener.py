"""Listens for commits that made runs due; whatever goes wrong with that, workers poll besides."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any

from django.db import DatabaseError, InterfaceError, connections

from django_sagaz._stores.runners import Runner
from sagaz_durable.stores.postgresql.database.session import OWN_SESSION

__all__ = ["Listener"]

logger = logging.getLogger(__name__)

_LONGEST_PAUSE = 30.0


class Listener:
    """A connection of its own that waits for notifications, from the first time that somebody wants them.

    Args:
        run: Makes the calls that connect.
        any_due: A query that returns a row when something is due.
        wake: Called for each notification, and when one was missed while there was no connection.
    """

    def __init__(self, alias: str, run: Runner, any_due: str, wake: Callable[[], None]) -> None:
        self._alias = alias
        self._run = run
        self._any_due = any_due
        self._wake = wake
        self._task: asyncio.Task[None] | None = None
        self.listening = False

    def start(self) -> None:
        """Begin to listen; harmless when already begun."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._listen_always(), name="sagaz-listen")

    async def stop(self) -> None:
        """Disconnect."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _listen_always(self) -> None:
        failures = 0
        while True:
            try:
                if not await self._listen():
                    return
            except (DatabaseError, InterfaceError, OSError) as error:
                failures = 1 if self.listening else failures + 1
                if failures == 1:
                    logger.warning("Wake-ups from PostgreSQL are off, workers poll; connecting again: %s", error)
            finally:
                self.listening = False
            await asyncio.sleep(min(0.5 * 2**failures, _LONGEST_PAUSE) * random.uniform(0.5, 1.0))

    async def _listen(self) -> bool:
        """Listen until the connection breaks; False if a pooler is in between, in whose sessions nobody may listen."""
        connecting = asyncio.ensure_future(self._run(self._connect))
        try:
            connection, missed = await asyncio.shield(connecting)
            if missed is None:
                logger.info("A pooler is in front of PostgreSQL: nothing can be listened for there, workers poll.")
                return False
            await self._receive(connection, missed)
            return True
        finally:
            # Cancellation does not keep the thread from connecting.
            (await connecting)[0].connection.close()

    async def _receive(self, connection: Any, missed: bool) -> None:
        loop, readable = asyncio.get_running_loop(), asyncio.Event()
        descriptor = connection.connection.fileno()
        loop.add_reader(descriptor, readable.set)
        try:
            self.listening = True
            if missed:
                self._wake()
            while True:
                await readable.wait()
                readable.clear()
                if _received(connection):
                    self._wake()
        finally:
            loop.remove_reader(descriptor)

    def _connect(self) -> tuple[Any, bool | None]:
        """Return a connection that listens, and whether something is due; None where nobody may listen."""
        # Not one of this thread's connections, and none of a pool's: it does nothing else than listen.
        connection = connections.create_connection(self._alias)
        options = {name: value for name, value in connection.settings_dict["OPTIONS"].items() if name != "pool"}
        connection.settings_dict = {**connection.settings_dict, "OPTIONS": options}
        connection.inc_thread_sharing()
        try:
            with connection.cursor() as cursor:
                cursor.execute(OWN_SESSION, [connection.connection.info.backend_pid])
                if not cursor.fetchall():
                    return connection, None
                cursor.execute("SELECT quote_ident('sagaz_' || current_schema())")
                [channel] = cursor.fetchone()
                cursor.execute(f"LISTEN {channel}")
            # Not on the same connection, on which the answer might come together with a notification, and hide it.
            with connections[self._alias].cursor() as cursor:
                cursor.execute(self._any_due)
                return connection, cursor.fetchone() is not None
        except BaseException:
            connection.close()
            raise


def _received(connection: Any) -> bool:
    """Read what has arrived, without waiting.

    Raises:
        DatabaseError: The connection is dead.
    """
    with connection.wrap_database_errors:
        pgconn = connection.connection.pgconn
        pgconn.consume_input()
        found = False
        while pgconn.notifies() is not None:
            found = True
        return found
