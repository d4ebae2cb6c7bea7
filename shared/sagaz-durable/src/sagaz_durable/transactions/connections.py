"""Callers' own connections: how each library's are asked for their state, and made to execute a statement."""

from __future__ import annotations

import sys
from collections.abc import Awaitable
from itertools import count
from typing import Any, Protocol

from sagaz_durable.transactions.statements import Caller, Rows, Statement

__all__ = [
    "AsyncCaller",
    "AsyncPsycopgCaller",
    "AsyncSQLAlchemyCaller",
    "AsyncSQLiteCaller",
    "PsycopgCaller",
    "SQLAlchemyCaller",
    "SQLiteCaller",
    "SyncCaller",
]

_IDLE = 0
"""libpq's PQTRANS_IDLE."""


class SyncCaller(Caller, Protocol):
    """A connection that executes at once."""

    def execute(self, statement: Statement) -> Rows:
        """Execute a statement and return its rows."""
        ...


class AsyncCaller(Caller, Protocol):
    """A connection whose statements are awaited."""

    def execute(self, statement: Statement) -> Awaitable[Rows]:
        """Execute a statement and return its rows."""
        ...


class _SQLAlchemy:
    """What SQLAlchemy tells of a connection, the synchronous one beneath an asynchronous one."""

    def __init__(self, connection: Any) -> None:
        self._sync = connection
        self.key: object = connection.engine
        self.database: str = connection.dialect.name

    @property
    def shown(self) -> str:
        shown: str = self._sync.engine.url.render_as_string(hide_password=True)
        return shown

    @property
    def outside(self) -> str | None:
        # What the driver says is what happens, wherever it was set: on the engine, the connection or by an event.
        if self.database == "sqlite":
            return _sqlite_outside(self._sync.connection.driver_connection)
        if not self._sync.connection.dbapi_connection.autocommit:
            return None
        return (
            "this connection is in SQLAlchemy's isolation level AUTOCOMMIT. Use a session or connection without "
            "isolation_level='AUTOCOMMIT', or leave session=… out"
        )

    def _text(self, statement: Statement) -> str:
        if self.database == "sqlite":
            return statement.text.replace("%s", "?")
        if self._sync.dialect.driver != "asyncpg":
            return statement.text
        numbers = count(1)
        first, *rest = statement.text.split("%s")
        return first + "".join(f"${next(numbers)}{part}" for part in rest)


class SQLAlchemyCaller(_SQLAlchemy):
    """A ``sqlalchemy.Connection``."""

    def execute(self, statement: Statement) -> Rows:
        """Execute a statement and return its rows."""
        result = self._sync.exec_driver_sql(self._text(statement), statement.values or None)
        rows: Rows = result.fetchall() if result.returns_rows else ()
        return rows


class AsyncSQLAlchemyCaller(_SQLAlchemy):
    """A ``sqlalchemy.ext.asyncio.AsyncConnection``."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection.sync_connection)
        self._connection = connection

    async def execute(self, statement: Statement) -> Rows:
        """Execute a statement and return its rows."""
        result = await self._connection.exec_driver_sql(self._text(statement), statement.values or None)
        rows: Rows = result.fetchall() if result.returns_rows else ()
        return rows


class _Psycopg:
    database = "postgresql"

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        pgconn = connection.pgconn
        parts = (pgconn.user, pgconn.host, pgconn.port, pgconn.db)
        user, host, port, name = (part.decode(errors="replace") if part else "" for part in parts)
        self.shown = f"postgresql://{user}@{host}:{port}/{name}"
        self.key: object = self.shown

    @property
    def outside(self) -> str | None:
        if not self._connection.autocommit or self._connection.pgconn.transaction_status != _IDLE:
            return None
        return (
            "this psycopg connection is in autocommit mode and outside of a transaction. Start inside of "
            "`with connection.transaction():`, or leave session=… out"
        )


class PsycopgCaller(_Psycopg):
    """A ``psycopg.Connection``."""

    def execute(self, statement: Statement) -> Rows:
        """Execute a statement and return its rows."""
        # The connection's own kinds of cursor and row may be anything.
        cursor = sys.modules["psycopg"].Cursor(self._connection, row_factory=sys.modules["psycopg.rows"].tuple_row)
        cursor.execute(statement.text, statement.values)
        rows: Rows = cursor.fetchall() if cursor.description is not None else ()
        return rows


class AsyncPsycopgCaller(_Psycopg):
    """A ``psycopg.AsyncConnection``."""

    async def execute(self, statement: Statement) -> Rows:
        """Execute a statement and return its rows."""
        psycopg = sys.modules["psycopg"]
        cursor = psycopg.AsyncCursor(self._connection, row_factory=sys.modules["psycopg.rows"].tuple_row)
        await cursor.execute(statement.text, statement.values)
        rows: Rows = await cursor.fetchall() if cursor.description is not None else ()
        return rows


class _SQLite:
    database = "sqlite"
    shown = "an SQLite connection"

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @property
    def outside(self) -> str | None:
        return _sqlite_outside(self._connection)


class SQLiteCaller(_SQLite):
    """A ``sqlite3.Connection``; it cannot be referred to weakly, so that each start asks which store it sees."""

    key = None

    def execute(self, statement: Statement) -> Rows:
        """Execute a statement and return its rows."""
        rows = self._connection.execute(statement.text.replace("%s", "?"), statement.values).fetchall()
        return [tuple(row) for row in rows]


class AsyncSQLiteCaller(_SQLite):
    """An ``aiosqlite.Connection``."""

    @property
    def key(self) -> object:
        """The connection itself."""
        return self._connection

    async def execute(self, statement: Statement) -> Rows:
        """Execute a statement and return its rows."""
        rows = await self._connection.execute_fetchall(statement.text.replace("%s", "?"), statement.values)
        return [tuple(row) for row in rows]


def _sqlite_outside(connection: Any) -> str | None:
    # With an isolation level, sqlite3 begins a transaction at the INSERT; not with autocommit=True, since Python 3.12.
    commits = getattr(connection, "autocommit", None) is True or connection.isolation_level is None
    if connection.in_transaction or not commits:
        return None
    return (
        "this SQLite connection is in autocommit mode and outside of a transaction. Execute BEGIN first, or connect "
        "without isolation_level=None, or leave session=… out"
    )
