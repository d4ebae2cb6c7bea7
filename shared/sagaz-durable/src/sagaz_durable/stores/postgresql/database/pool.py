"""The connections of a PostgreSQL store: a pool of the loop that opened it, which mends itself after an outage."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, TypeAlias

import psycopg
from psycopg import IsolationLevel
from psycopg import errors as pg
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from sagaz_durable.stores.open_check import Opened
from sagaz_durable.stores.postgresql.database.address import Address
from sagaz_durable.stores.postgresql.database.errors import busy, lost, meaning, unavailable
from sagaz_durable.stores.postgresql.database.session import PREPARE_THRESHOLD, make_own, reads_committed
from sagaz_durable.stores.postgresql.database.statements import Database, Row, Values
from sagaz_integration_core.error_text import without_rows
from sagaz_integration_core.errors import StoreUnavailable

__all__ = ["Connection", "Connections", "connect"]

Connection: TypeAlias = psycopg.AsyncConnection[Row]

# How long a call waits for a connection: a restart of the server passes unnoticed, and a request does not hang.
ACQUIRE_SECONDS = 5.0

# How long closing waits for statements that were under way.
CLOSE_SECONDS = 10.0


async def connect(address: Address) -> Connection:
    """Open one connection that commits each statement; the transactions that it begins are READ COMMITTED.

    Raises:
        StoreUnavailable: It cannot be reached, or refuses the user.
    """
    try:
        connection = await psycopg.AsyncConnection.connect(address.conninfo, autocommit=True, **_options(address))
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


class Connections(Database):
    """Executes statements on a pool of connections.

    Args:
        size: The most connections it opens.
    """

    def __init__(self, address: Address, size: int) -> None:
        super().__init__()
        self.address = address
        self._size = size
        self._opened = Opened(f"The PostgreSQL store {address.shown}")

    @property
    def is_open(self) -> bool:
        """Whether this very process has opened it."""
        return bool(self._opened) and not self._opened.inherited

    async def open(self, names: Mapping[str, str]) -> None:
        """Open the pool; ``names`` are what statements have in braces."""
        super().__init__()
        self._unused.set()
        self._names = names
        self._loop = asyncio.get_running_loop()
        self._execute_with = _execute
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            self.address.conninfo,
            kwargs={"autocommit": True, **_options(self.address)},
            min_size=1,
            max_size=self._size,
            configure=self._configure,
            timeout=ACQUIRE_SECONDS,
            # The pool's pauses between attempts double: begun anew this often, they stay short.
            reconnect_timeout=ACQUIRE_SECONDS,
            name="sagaz",
            open=False,
        )
        await self._pool.open()
        self._opened.set()

    async def _configure(self, connection: Connection) -> None:
        if not await make_own(connection, pooled=self.address.pgbouncer) and not await reads_committed(connection):
            # Where nothing may be set in a session, each statement has to say it.
            self._execute_with = _execute_committed

    async def close(self) -> None:
        """Let what was asked for end, and close the pool; after a fork, only forget it, for it is the parent's."""
        was_open = self.is_open
        self._opened.clear()
        if not was_open:
            return
        try:
            # Somebody who waits for a lock shall not keep the process from ending.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._unused.wait()
        finally:
            await self._pool.close()

    def check_process(self) -> None:
        """Refuse the use of a store that is not open in this process."""
        self._opened.check()

    def check(self) -> None:
        """Refuse the use of a store that is not open in this process and on this event loop."""
        self._opened.check()
        if asyncio.get_running_loop() is not self._loop:
            raise StoreUnavailable(
                f"The PostgreSQL store {self.address.shown} was opened on another event loop. Use it there (from a "
                "thread, with asyncio.run_coroutine_threadsafe), or open a store of its own here."
            )

    def fill_in(self, template: str) -> str:
        """Replace what a statement has in braces."""
        for name, value in self._names.items():
            template = template.replace(f"{{{name}}}", value)
        return template

    async def mend(self) -> None:
        """Replace the idle connections that are dead."""
        try:
            await self._pool.check()
        except (psycopg.Error, PoolClosed) as error:
            raise self._closed() from error

    async def execute_once(self, template: str, values: Values = ()) -> list[Row]:
        """Execute a statement and return its rows."""
        statement = self.text(template).encode()
        try:
            async with self._pool.connection() as connection:
                return await self._execute(connection, statement, values)
        except PoolTimeout:
            # Raised below: psycopg's frames hold the password.
            pass
        except PoolClosed as error:
            raise self._closed() from error
        raise await self._why()

    async def _execute(self, connection: Connection, statement: bytes, values: Values) -> list[Row]:
        try:
            try:
                return await self._execute_with(connection, statement, values)
            except pg.DeadlockDetected:
                # Nothing of it was committed, and whoever won has ended.
                return await self._execute_with(connection, statement, values)
        except psycopg.Error as error:
            without_rows(error)
            if connection.closed:
                raise lost(self.address.shown, error) from error
            if isinstance(error, pg.ReadOnlySqlTransaction):
                # A former primary: the pool is to look for the new one.
                await connection.close()
            raise meaning(self.address, error) from (None if isinstance(error, psycopg.DataError) else error)
        except UnicodeEncodeError as error:
            # Not chained: it holds the whole text.
            raise meaning(self.address, error) from None

    async def _why(self) -> StoreUnavailable:
        """Find out why there was no connection in time, which the pool does not tell."""
        try:
            await (await connect(self.address)).close()
        except StoreUnavailable as error:
            return error
        return busy(self.address, self._size, ACQUIRE_SECONDS)

    def _closed(self) -> StoreUnavailable:
        return StoreUnavailable(f"The PostgreSQL store {self.address.shown} was closed meanwhile.")


def _options(address: Address) -> dict[str, Any]:
    return {"prepare_threshold": None if address.pgbouncer else PREPARE_THRESHOLD}


async def _execute(connection: Connection, statement: bytes, values: Values) -> list[Row]:
    return await (await connection.execute(statement, values)).fetchall()


async def _execute_committed(connection: Connection, statement: bytes, values: Values) -> list[Row]:
    """Execute a statement as READ COMMITTED, in one round trip, whatever the session's default is."""
    async with psycopg.AsyncClientCursor(connection) as cursor:
        try:
            await cursor.execute(b"BEGIN ISOLATION LEVEL READ COMMITTED;" + statement + b";COMMIT", values)
        except psycopg.Error:
            if not connection.closed:
                await connection.rollback()
            raise
        cursor.nextset()
        return await cursor.fetchall()
