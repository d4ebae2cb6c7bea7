"""The connection of a pool that was used last, kept at hand for the next statement."""

from __future__ import annotations

from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool

from sagaz_durable.stores.postgresql.database.connection import Connection

__all__ = ["AtHand"]

_USES = 1_000
"""After so many uses a connection goes back to the pool, which replaces those that are old."""


class AtHand:
    """Lends connections of a pool, one at a time to each caller.

    A pool lends the one that has been idle for longest, so that each statement meets a server process that has slept,
    and goes a long way there and back. Here it is the last one again, if it is free and nobody waits for one.

    Args:
        pool: Whose own callers find it with one connection less.
    """

    def __init__(self, pool: AsyncConnectionPool[Connection]) -> None:
        self._pool = pool
        self._kept: Connection | None = None
        self._waiting = self._uses = 0
        self._keeps = True

    async def take(self) -> Connection:
        """Return a connection, which `give_back` is to have.

        Raises:
            PoolTimeout: There was none in time.
            PoolClosed: The pool is closed.
        """
        if self._kept is not None:
            kept, self._kept = self._kept, None
            return kept
        self._waiting += 1
        try:
            return await self._pool.getconn()
        finally:
            self._waiting -= 1

    async def give_back(self, connection: Connection) -> None:
        """Keep a connection, or return it to the pool."""
        self._uses += 1
        is_fit = connection.pgconn.transaction_status == TransactionStatus.IDLE and self._uses % _USES
        if is_fit and self._keeps and self._kept is None and not self._waiting:
            self._kept = connection
        else:
            await self._pool.putconn(connection)

    async def put_back(self) -> None:
        """Return what is kept to the pool."""
        kept, self._kept = self._kept, None
        if kept is not None:
            await self._pool.putconn(kept)

    async def close(self) -> None:
        """Keep nothing any more."""
        self._keeps = False
        await self.put_back()
