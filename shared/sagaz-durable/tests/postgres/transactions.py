"""One transaction of every kind of connection that a run can join, behind the same few words."""

from __future__ import annotations

import os
import sqlite3
from contextlib import asynccontextmanager
from typing import Any

import aiosqlite
import psycopg
import sqlalchemy as sa
from pg import at
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import NullPool

from sagaz_durable.transactions.request_keys import join_answer, join_answer_sync, join_key, join_key_sync
from sagaz_durable.transactions.sessions import (
    join,
    join_events,
    join_events_sync,
    join_signals,
    join_signals_sync,
    join_sync,
)

__all__ = ["ASYNC_SA", "KINDS", "POSTGRES", "SA", "SQLITE", "counted", "transaction"]

SA = {
    f"{driver}-{form}": (driver, form)
    for driver in ("psycopg", "psycopg2", "pysqlite")
    for form in ("session", "scoped", "connection")
}
ASYNC_SA = {
    f"{driver}-async-{form}": (driver, form)
    for driver in ("psycopg", "asyncpg", "aiosqlite")
    for form in ("session", "connection")
}
KINDS = [*SA, *ASYNC_SA, "raw-psycopg", "raw-psycopg-async", "raw-sqlite3", "raw-aiosqlite"]
SQLITE = [kind for kind in KINDS if "sqlite" in kind]
POSTGRES = [kind for kind in KINDS if kind not in SQLITE]

CREATE = "CREATE TABLE IF NOT EXISTS orders (name TEXT)"


class Sync:
    """A transaction of SQLAlchemy's, or a raw connection, used without await."""

    def __init__(self, session: Any) -> None:
        self.session = session

    async def order(self, name: str) -> None:
        statement = f"INSERT INTO orders VALUES ('{name}')"
        self.session.execute(sa.text(statement) if not _raw(self.session) else statement)

    async def start(self, store: Any, *runs: Any) -> Any:
        return join_sync(self.session, store, runs)

    async def publish(self, store: Any, *events: Any) -> Any:
        return join_events_sync(self.session, store, events)

    async def signal(self, store: Any, *signals: Any) -> Any:
        return join_signals_sync(self.session, store, signals)

    async def claim_key(self, store: Any, key: Any) -> Any:
        return join_key_sync(self.session, store, key)

    async def answer_key(self, store: Any, key: str, answer: str) -> bool:
        return join_answer_sync(self.session, store, key, answer)

    async def savepoint(self) -> None:
        self._savepoint = self.session.execute("SAVEPOINT s") if _raw(self.session) else self.session.begin_nested()

    async def rollback_to_savepoint(self) -> None:
        self.session.execute("ROLLBACK TO SAVEPOINT s") if _raw(self.session) else self._savepoint.rollback()

    async def commit(self) -> None:
        self.session.commit()

    async def rollback(self) -> None:
        self.session.rollback()


class Async(Sync):
    """The same with await."""

    async def order(self, name: str) -> None:
        statement = f"INSERT INTO orders VALUES ('{name}')"
        await self.session.execute(sa.text(statement) if not _raw(self.session) else statement)

    async def start(self, store: Any, *runs: Any) -> Any:
        return await join(self.session, store, runs)

    async def publish(self, store: Any, *events: Any) -> Any:
        return await join_events(self.session, store, events)

    async def signal(self, store: Any, *signals: Any) -> Any:
        return await join_signals(self.session, store, signals)

    async def claim_key(self, store: Any, key: Any) -> Any:
        return await join_key(self.session, store, key)

    async def answer_key(self, store: Any, key: str, answer: str) -> bool:
        return await join_answer(self.session, store, key, answer)

    async def savepoint(self) -> None:
        if _raw(self.session):
            await self.session.execute("SAVEPOINT s")
        else:
            self._savepoint = await self.session.begin_nested()

    async def rollback_to_savepoint(self) -> None:
        await (self.session.execute("ROLLBACK TO SAVEPOINT s") if _raw(self.session) else self._savepoint.rollback())

    async def commit(self) -> None:
        await self.session.commit()

    async def rollback(self) -> None:
        await self.session.rollback()


def _raw(session: Any) -> bool:
    return not type(session).__module__.startswith("sqlalchemy")


@asynccontextmanager
async def transaction(kind: str, url: str, *, autocommit: bool = False):
    """Open a connection of this kind, with a table for orders; its transaction begins with the first statement."""
    if kind in SA:
        opened = _sqlalchemy(*SA[kind], url, autocommit)
    elif kind in ASYNC_SA:
        opened = _async_sqlalchemy(*ASYNC_SA[kind], url, autocommit)
    else:
        opened = _raw_connection(kind, url, autocommit)
    async with opened as transaction:
        yield transaction


def _engine_url(driver: str, url: str) -> str:
    return f"sqlite+{driver}:///{url}" if "sqlite" in driver else at(url, driver=driver)


@asynccontextmanager
async def _sqlalchemy(driver: str, form: str, url: str, autocommit: bool):
    engine = sa.create_engine(
        _engine_url(driver, url), poolclass=NullPool, isolation_level="AUTOCOMMIT" if autocommit else None
    )
    _prepare(engine, driver, autocommit)
    with engine.begin() as connection:
        connection.execute(sa.text(CREATE))
    session: Any = engine.connect() if form == "connection" else Session(engine)
    if form == "scoped":
        session = scoped_session(sessionmaker(engine))
    try:
        yield Sync(session)
    finally:
        session.close()
        engine.dispose()


@asynccontextmanager
async def _async_sqlalchemy(driver: str, form: str, url: str, autocommit: bool):
    options = {"isolation_level": "AUTOCOMMIT"} if autocommit else {}
    engine = create_async_engine(_engine_url(driver, url), poolclass=NullPool, **options)
    _prepare(engine.sync_engine, driver, autocommit)
    async with engine.begin() as connection:
        await connection.execute(sa.text(CREATE))
    session: Any = AsyncSession(engine) if form == "session" else await engine.connect()
    try:
        yield Async(session)
    finally:
        await session.close()
        await engine.dispose()


def _prepare(engine: Any, driver: str, autocommit: bool) -> None:
    """Make SQLite's savepoints work as SQLAlchemy documents it: the driver's own BEGIN comes too late for them."""
    if "sqlite" in driver and not autocommit:
        event.listen(engine, "connect", lambda dbapi, _: setattr(dbapi, "isolation_level", None))
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))


@asynccontextmanager
async def _raw_connection(kind: str, url: str, autocommit: bool):
    if kind == "raw-psycopg":
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(CREATE)
            connection.autocommit = autocommit
            yield Sync(connection)
            connection.rollback()
    elif kind == "raw-psycopg-async":
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute(CREATE)
            await connection.set_autocommit(autocommit)
            yield Async(connection)
            await connection.rollback()
    elif kind == "raw-sqlite3":
        connection = sqlite3.connect(url, isolation_level=None if autocommit else "")
        connection.execute(CREATE)
        yield Sync(connection)
        connection.close()
    else:
        async with aiosqlite.connect(url, isolation_level=None if autocommit else "") as connection:
            await connection.execute(CREATE)
            yield Async(connection)


@asynccontextmanager
async def counted(transaction: Sync, tmp_path: Any):
    """Give a list that has, afterwards, an entry for each statement that the transaction executed meanwhile."""
    statements: list[str] = []
    session = transaction.session
    if not _raw(session):
        bind = session.get_bind() if hasattr(session, "get_bind") else session.engine
        engine = getattr(bind, "sync_engine", bind)

        def note(_connection, _cursor, statement, *_rest) -> None:
            statements.append(statement)

        event.listen(engine, "before_cursor_execute", note)
        yield statements
        event.remove(engine, "before_cursor_execute", note)
    elif isinstance(session, sqlite3.Connection):
        session.set_trace_callback(statements.append)
        yield statements
        session.set_trace_callback(None)
    elif isinstance(session, aiosqlite.Connection):
        await session.set_trace_callback(statements.append)
        yield statements
        await session.set_trace_callback(None)
    else:
        # A Sync message ends each statement of the extended protocol.
        trace = os.open(tmp_path / "trace", os.O_CREAT | os.O_RDWR)
        session.pgconn.trace(trace)
        yield statements
        session.pgconn.untrace()
        os.close(trace)
        lines = (tmp_path / "trace").read_text().splitlines()
        statements += [line for line in lines if "\tSync" in line or "\tQuery" in line]
