"""PostgreSQL through Django on an event loop: Django opens connections, and the loop executes statements on them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NoReturn

import psycopg
from django.db import connections

from django_sagaz._stores.connections import own_connection
from django_sagaz._stores.errors import ConnectionDied, translated
from django_sagaz._stores.postgresql_database import CONFLICTS, TRIES, DjangoDatabase
from django_sagaz._stores.runners import DatabaseThread
from sagaz_durable.stores.postgresql.database.errors import ConnectionLost
from sagaz_durable.stores.postgresql.database.numbered import NumberedStatements
from sagaz_durable.stores.postgresql.database.session import OWN_SESSION, PREPARE_THRESHOLD
from sagaz_durable.stores.postgresql.database.statements import Row, Values

__all__ = ["LoopDatabase"]

_MOST = 2
"""How many connections there are at most: one for claims while another has what running sagas write."""


class _Session:
    """A connection that Django has opened, for statements that are executed from an event loop."""

    def __init__(self, connection: Any, statements: NumberedStatements) -> None:
        self.connection = connection
        self._statements = statements
        self.psycopg: psycopg.AsyncConnection[Any] = psycopg.AsyncConnection(connection.connection.pgconn)
        self.psycopg.prepare_threshold = PREPARE_THRESHOLD

    async def execute(self, template: str, values: Values) -> list[Row]:
        """Execute a statement in a transaction of its own, and return its rows."""
        if not self.psycopg.autocommit:
            await self.psycopg.set_autocommit(True)
        for _ in range(TRIES - 1):
            try:
                return await self._statements.execute(self.psycopg, template, values)
            except psycopg.Error as error:
                # Nothing was committed, and who won, ended.
                if error.sqlstate not in CONFLICTS:
                    raise
        return await self._statements.execute(self.psycopg, template, values)


class LoopDatabase(DjangoDatabase):
    """Executes the engine's statements from the event loop, on connections that do nothing else.

    Django connects, on the runner's thread, as the project's settings, its receivers and its backend have it. Then the
    loop itself waits for the server: handing each statement to a thread and back costs more than executing it. They are
    prepared, and planned once, as the engine has it. Behind a pooler, and with a pool, the thread executes them.
    """

    def __init__(self, alias: str, run: DatabaseThread, wakes: Mapping[str, str]) -> None:
        super().__init__(alias, run, wakes)
        self._thread = run
        self._places = asyncio.Semaphore(_MOST)
        self._free: list[_Session] = []
        self._by_thread = False
        self._numbered = NumberedStatements(self.text)

    async def close(self) -> None:
        """Disconnect when nothing is executed any more."""
        async with self._places, self._places:
            # On the thread: what it still opens for a statement that was cancelled is among them then.
            await self._thread.close(lambda: _disconnect(self._free))

    async def store_id(self) -> str:
        """Return the store's random id, and leave the thread without a connection: it has no other use for one."""
        try:
            return await super().store_id()
        finally:
            await self._run(lambda: connections[self._alias].close())

    async def mend(self) -> None:
        """Disconnect what is idle, which the dead connection's server has left as well; others follow when needed."""
        idle, self._free = self._free, []
        await asyncio.shield(self._run(lambda: _disconnect(idle)))

    async def execute_once(self, template: str, values: Values = ()) -> list[Row]:
        """Execute a statement, and return its rows."""
        async with self._places:
            # Again, if another statement or `mend` took the session between its connecting and this.
            while not self._free and not self._by_thread:
                await self._run(self._connect)
            if self._by_thread:
                return await super().execute_once(template, values)
            session = self._free.pop()
            try:
                return await session.execute(template, values)
            except (psycopg.Error, UnicodeEncodeError) as error:
                await self._raise(session.connection, error)
            finally:
                if not session.psycopg.closed:
                    self._free.append(session)

    async def _raise(self, connection: Any, error: Exception) -> NoReturn:
        def explain() -> NoReturn:
            with translated(connection), connection.wrap_database_errors:
                raise error

        try:
            await self._run(explain)
        except ConnectionDied as died:
            raise ConnectionLost(str(died)) from died
        raise error

    def _connect(self) -> None:
        if connections[self._alias].settings_dict["OPTIONS"].get("pool"):
            self._by_thread = True
            return
        connection = own_connection(self._alias)
        try:
            with translated(connection), connection.cursor() as cursor:
                cursor.execute(OWN_SESSION, [connection.connection.info.backend_pid])
                self._by_thread = not cursor.fetchall()
        except BaseException:
            connection.close()
            raise
        if self._by_thread:
            connection.close()
        else:
            self._free.append(_Session(connection, self._numbered))


def _disconnect(sessions: list[_Session]) -> None:
    while sessions:
        session = sessions.pop()
        session.connection.close()
