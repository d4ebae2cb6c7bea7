"""The notifications that the engine listens for, beside its pool."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import psycopg
from psycopg import sql

from sagaz_durable.stores.postgresql.database.connection import connect
from sagaz_durable.stores.postgresql.database.notifications import Notifications, received
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
            # Not on the same connection, on which the answer might come together with a notification, and hide it.
            yield "" if await self._database.execute(ANY_DUE) else None
            async with aclosing(received(connection.pgconn)) as heard:
                async for said in heard:
                    yield said
        finally:
            await connection.close()
