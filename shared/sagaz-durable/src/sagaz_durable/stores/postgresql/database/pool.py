"""The connections of a PostgreSQL store: a pool of the loop that opened it, which mends itself after an outage."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import psycopg
from psycopg import errors as pg
from psycopg import sql
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from sagaz_durable.stores.open_check import Opened
from sagaz_durable.stores.postgresql.database.address import Address
from sagaz_durable.stores.postgresql.database.at_hand import AtHand
from sagaz_durable.stores.postgresql.database.connection import Connection, connect, options
from sagaz_durable.stores.postgresql.database.errors import busy, how_to_migrate, lost, meaning
from sagaz_durable.stores.postgresql.database.notifications import channel_of, wake_ups
from sagaz_durable.stores.postgresql.database.numbered import NumberedStatements
from sagaz_durable.stores.postgresql.database.rights import LACKING, lacking_values, what_lacks
from sagaz_durable.stores.postgresql.database.schema import find_tables, migrate_tables
from sagaz_durable.stores.postgresql.database.session import make_own, reads_committed
from sagaz_durable.stores.postgresql.database.statements import Database, Row, Values
from sagaz_durable.transactions.database_errors import without_rows
from sagaz_integration_core.errors import StoreUnavailable

__all__ = ["Connections"]

# How long a call waits for a connection: a restart of the server passes unnoticed, and a request does not hang.
ACQUIRE_SECONDS = 5.0

# How long closing waits for statements that were under way.
CLOSE_SECONDS = 10.0


logger = logging.getLogger(__name__)


class Connections(Database):
    """Executes statements on a pool of connections.

    It also works through a transaction pooler, which it notices: statements are not prepared then.

    Args:
        schema: Where the tables are; None for the search path of the user.
        size: The most connections it opens.
        notify: Whether commits that make runs due notify the channel.
        migrate: Bring the tables up to date before they are used.
        only_reads: Nothing will be written, so that no right to do so is needed.
    """

    kind = "postgres"
    shown: str | None

    def __init__(
        self,
        address: Address,
        *,
        schema: str | None = None,
        size: int = 10,
        notify: bool = True,
        migrate: bool = False,
        only_reads: bool = False,
    ) -> None:
        super().__init__()
        self.address = address
        self.shown = address.shown
        self._schema = schema
        self._size = size
        self._notify = notify
        self._migrate = migrate
        self._only_reads = only_reads
        self._opened = Opened(f"The PostgreSQL store {address.shown}")

    async def open(self) -> None:
        """Find the tables, and open the pool."""
        if self._opened and not self._opened.inherited:
            return
        if self._migrate:
            await migrate_tables(self.address, self._schema)
        self._found = await find_tables(self.address, self._schema, only_reads=self._only_reads)
        self._warn_of_encoding()
        await self._open_pool()

    @property
    def channel(self) -> str:
        """What an open store notifies."""
        return channel_of(self._found.schema)

    def _warn_of_encoding(self) -> None:
        if self._found.encoding not in ("UTF8", "SQL_ASCII"):
            logger.warning(
                "The PostgreSQL store %s is in a database of encoding %s: a context or a result with a character that "
                "this has not is refused. Have its database created with ENCODING 'UTF8'.",
                self.address.shown, self._found.encoding,
            )  # fmt: skip

    async def _open_pool(self) -> None:
        super().__init__()
        self._unused.set()
        wakes = wake_ups(f"'{self.channel}'", notify=self._notify)
        self._names = {"schema": sql.Identifier(self._found.schema).as_string(), **wakes}
        self._loop = asyncio.get_running_loop()
        self._says_committed = False
        self._numbered = NumberedStatements(self.text)
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            self.address.conninfo,
            kwargs={"autocommit": True, **options(self.address)},
            min_size=1,
            max_size=self._size,
            configure=self._configure,
            timeout=ACQUIRE_SECONDS,
            # The pool's pauses between attempts double: begun anew this often, they stay short.
            reconnect_timeout=ACQUIRE_SECONDS,
            name="sagaz",
            open=False,
        )
        self._at_hand = AtHand(self._pool)
        await self._pool.open()
        self._opened.set()

    async def _configure(self, connection: Connection) -> None:
        if not await make_own(connection, pooled=self.address.pgbouncer) and not await reads_committed(connection):
            # Where nothing may be set in a session, each statement has to say it.
            self._says_committed = True

    async def close(self) -> None:
        """Let what was asked for end, and close the pool; after a fork, only forget it, for it is the parent's."""
        was_open = self._opened and not self._opened.inherited
        self._opened.clear()
        if not was_open:
            return
        try:
            # Somebody who waits for a lock shall not keep the process from ending.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._unused.wait()
        finally:
            await self._at_hand.close()
            await self._pool.close()

    async def check_ready(self, *, only_reads: bool) -> None:
        """Ask whether tables and rights are there."""
        rows = await self.fetch(LACKING, lacking_values(self._found.schema, only_reads=only_reads))
        subject = f"The PostgreSQL store {self.address.shown}"
        if lack := what_lacks(subject, rows, only_reads=only_reads, migrate=how_to_migrate(self.address.wording)):
            raise lack

    async def store_id(self) -> str:
        """Return the random id that was made with the tables."""
        self.check_process()
        return self._found.store_id

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

    async def mend(self) -> None:
        """Replace the idle connections that are dead."""
        try:
            await self._at_hand.put_back()
            await self._pool.check()
        except (psycopg.Error, PoolClosed) as error:
            raise self._closed() from error

    async def execute_once(self, template: str, values: Values = ()) -> list[Row]:
        """Execute a statement and return its rows."""
        try:
            connection = await self._at_hand.take()
            try:
                return await self._execute(connection, template, values)
            finally:
                await self._at_hand.give_back(connection)
        except PoolTimeout:
            # Raised below: psycopg's frames hold the password.
            pass
        except PoolClosed as error:
            raise self._closed() from error
        raise await self._why()

    async def _execute(self, connection: Connection, template: str, values: Values) -> list[Row]:
        try:
            try:
                return await self._execute_on(connection, template, values)
            except pg.DeadlockDetected:
                # Nothing of it was committed, and whoever won has ended.
                return await self._execute_on(connection, template, values)
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

    async def _execute_on(self, connection: Connection, template: str, values: Values) -> list[Row]:
        if self._says_committed:
            return await _execute_committed(connection, self.text(template).encode(), values)
        return await self._numbered.execute(connection, template, values)

    async def _why(self) -> StoreUnavailable:
        """Find out why there was no connection in time, which the pool does not tell."""
        try:
            await (await connect(self.address)).close()
        except StoreUnavailable as error:
            return error
        return busy(self.address, self._size, ACQUIRE_SECONDS)

    def _closed(self) -> StoreUnavailable:
        return StoreUnavailable(f"The PostgreSQL store {self.address.shown} was closed meanwhile.")


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
