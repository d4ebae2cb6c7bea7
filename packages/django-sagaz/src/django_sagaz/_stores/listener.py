"""The notifications that a Django worker listens for, on a connection of Django's that does nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

from django.db import DatabaseError, InterfaceError

from django_sagaz._stores.connections import own_connection
from django_sagaz._stores.runners import Runner
from sagaz_durable.stores.postgresql.database.notifications import Notifications, received
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
        self._database = database

    async def heard(self) -> AsyncGenerator[str | None]:
        """Connect, listen, and yield until the connection breaks."""
        connecting = asyncio.ensure_future(self._run(self._connect))
        try:
            connection, listens = await asyncio.shield(connecting)
            if not listens:
                return
            # Not on the same connection, on which the answer might come together with a notification, and hide it.
            yield "" if await self._database.execute(ANY_DUE) else None
            with connection.wrap_database_errors:
                async with aclosing(received(connection.connection.pgconn)) as heard:
                    async for said in heard:
                        yield said
        finally:
            await _disconnect(connecting)

    def _connect(self) -> tuple[Any, bool]:
        """Return a connection, and whether it listens: behind a pooler nobody may."""
        connection = own_connection(self._alias)
        try:
            with connection.cursor() as cursor:
                cursor.execute(OWN_SESSION, [connection.connection.info.backend_pid])
                if not cursor.fetchall():
                    return connection, False
                cursor.execute("SELECT quote_ident('sagaz_' || current_schema())")
                [channel] = cursor.fetchone()
                cursor.execute(f"LISTEN {channel}")
                return connection, True
        except BaseException:
            connection.close()
            raise


async def _disconnect(connecting: asyncio.Future[tuple[Any, bool]]) -> None:
    # Cancellation, however often it comes, does not keep the thread from connecting.
    while not connecting.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([connecting])
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result()[0].connection.close()
