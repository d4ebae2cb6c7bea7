"""One connection to a PostgreSQL server, for what a pool's are not for."""

from __future__ import annotations

from typing import Any, TypeAlias

import psycopg
from psycopg import IsolationLevel

from sagaz_durable.stores.postgresql.database.address import Address
from sagaz_durable.stores.postgresql.database.errors import unavailable
from sagaz_durable.stores.postgresql.database.session import PREPARE_THRESHOLD
from sagaz_durable.stores.postgresql.database.statements import Row

__all__ = ["Connection", "connect", "options"]

Connection: TypeAlias = psycopg.AsyncConnection[Row]


async def connect(address: Address) -> Connection:
    """Open one connection that commits each statement; the transactions that it begins are READ COMMITTED.

    Raises:
        StoreUnavailable: It cannot be reached, or refuses the user.
    """
    try:
        connection = await psycopg.AsyncConnection.connect(address.conninfo, autocommit=True, **options(address))
    except psycopg.Error as error:
        failure = unavailable(address, error) or error
    else:
        try:
            await connection.set_isolation_level(IsolationLevel.READ_COMMITTED)
        except BaseException:
            # Also a cancellation: nobody else knows of the connection yet.
            await connection.close()
            raise
        return connection
    # Not chained, and outside of the block: psycopg's frames hold the password.
    raise failure.with_traceback(None)


def options(address: Address) -> dict[str, Any]:
    """Return what psycopg is told of each connection, besides the address."""
    return {"prepare_threshold": None if address.pgbouncer else PREPARE_THRESHOLD}
