"""The notifications that the engine listens for, beside its pool."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import psycopg
from psycopg import sql

from sagaz_durable.stores.postgresql.database.connection import connect
from sagaz_durable.stores.postgresql.database.notifications import Notifications
from sagaz_durable.stores.postgresql.database.pool import Connections
from sagaz_durable.stores.postgresql.database.session import make_own
from sagaz_durable.stores.postgresql.sql import ANY_DUE
from sagaz_integration_core.errors import StoreUnavailable

__all__ = ["Listener"]


class Listener(Notifications):
    """Listens where the pool's statements notify.

    Args:
        database: The pool, which is opened before.
    """

    def __init__(self, database: Connections) -> None:
        super().__init__((psycopg.Error, StoreUnavailable))
        self._database = database

    async def heard(self) -> AsyncGenerator[str | None]:
        """Connect, listen, and yield until the connection breaks."""
        connection = await connect(self._database.address)
        try:
            if not await make_own(connection):
                return
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._database.channel)))
            due = await connection.execute(self._database.text(ANY_DUE).encode())
            yield None if await due.fetchone() is None else ""
            async for notification in connection.notifies():
                yield notification.payload
        finally:
            await connection.close()
