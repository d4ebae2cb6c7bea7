"""The notifications that a Django worker listens for, on a connection of Django's that does nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

from django.db import DatabaseError, InterfaceError, connections

from django_sagaz._stores.runners import Runner
from sagaz_durable.stores.postgresql.database.notifications import Notifications
from sagaz_durable.stores.postgresql.database.session import OWN_SESSION
from sagaz_durable.stores.postgresql.database.statements import Database
from sagaz_durable.stores.postgresql.sql import ANY_DUE

__all__ = ["Listener"]


class Listener(Notifications):
    """Listens where the store's statements notify.

    Args:
        run: Makes the calls that connect.
        database: Has the statement that asks whether something is due.
    """

    def __init__(self, alias: str, run: Runner, database: Database) -> None:
        super().__init__((DatabaseError, InterfaceError, OSError))
        self._alias = alias
        self._run = run
        self._any_due = database.text(ANY_DUE)

    async def heard(self) -> AsyncGenerator[bool]:
        """Connect, listen, and yield until the connection breaks."""
        connecting = asyncio.ensure_future(self._run(self._connect))
        try:
            connection, missed = await asyncio.shield(connecting)
            if missed is None:
                return
            yield missed
            loop, readable = asyncio.get_running_loop(), asyncio.Event()
            descriptor = connection.connection.fileno()
            loop.add_reader(descriptor, readable.set)
            try:
                while True:
                    await readable.wait()
                    readable.clear()
                    yield _received(connection)
            finally:
                loop.remove_reader(descriptor)
        finally:
            await _disconnect(connecting)

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


async def _disconnect(connecting: asyncio.Future[tuple[Any, bool | None]]) -> None:
    # Cancellation, however often it comes, does not keep the thread from connecting.
    while not connecting.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([connecting])
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result()[0].connection.close()


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
