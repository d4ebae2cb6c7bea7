"""Every kind of session that transactional steps may be given, with a saga that uses it; each process makes its own."""

from __future__ import annotations

import os
import signal
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psycopg
import sqlalchemy as sa
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from sqlalchemy import event
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import sessionmaker
from sqlalchemy.pool import NullPool

from sagaz_durable import Saga, action, compensate, effect
from sagaz_durable.settings.settings import Settings
from sagaz_integration_core.context.current_step import current_step

KINDS = {
    "pysqlite": False, "psycopg": False, "psycopg2": False, "raw-psycopg": False, "psycopg-pool": False,
    "aiosqlite": True, "asyncpg": True, "psycopg-async": True, "raw-psycopg-async": True, "psycopg-async-pool": True,
}  # fmt: skip
"""By name, whether it is asynchronous."""

SQLITE = ("pysqlite", "aiosqlite")


def settings_for(url, **changes):
    given = {"poll_seconds": 0.02, "backoff_seconds": 0.01, "lease_seconds": 0.5, "renew_seconds": 0.1} | changes
    return Settings(storage_url=url, migrate=True, **given)


def shop_url(request, tmp_path):
    """Return the URL of an empty store, for the ``kind`` that a test is parametrized by, with the shop's tables."""
    in_file = request.node.callspec.params["kind"] in SQLITE
    url = f"sqlite:///{tmp_path / 'shop.db'}" if in_file else request.getfixturevalue("postgres_url")
    make_tables(url)
    return url


def make_tables(url):
    """Make the application's own tables, in the store's database."""
    execute(url, *(f"CREATE TABLE {table} (saga_id TEXT, what TEXT)" for table in ("charges", "refunds")))


def execute(url, *statements):
    """Execute statements without results, and commit them."""
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def rows(url, table):
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=NullPool)
    with engine.begin() as connection:
        return sorted(tuple(row) for row in connection.execute(sa.text(f"SELECT saga_id, what FROM {table}")))


@dataclass
class Killer:
    """Kills its process at a point, counted from 1: before each exchange with the database, and after each commit.

    Args:
        at: 0 for never.
    """

    at: int = 0
    count: int = 0

    def point(self, *_, **__):
        self.count += 1
        if self.count == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


@asynccontextmanager
async def factory_of(kind, url, killer=None):
    """Give a session factory, and dispose of what it has opened."""
    killer = killer or Killer()
    if kind in ("raw-psycopg", "psycopg-pool"):

        class Connection(psycopg.Connection):
            def wait(self, *args, **kwargs):
                killer.point()
                answer = super().wait(*args, **kwargs)
                if self.pgconn.transaction_status == 0:
                    killer.point()
                return answer

        if kind == "raw-psycopg":
            yield lambda: Connection.connect(url)
            return
        with ConnectionPool(url, connection_class=Connection, min_size=1, kwargs={"autocommit": True}) as pool:
            yield pool.connection
    elif kind in ("raw-psycopg-async", "psycopg-async-pool"):

        class AsyncConnection(psycopg.AsyncConnection):
            async def wait(self, *args, **kwargs):
                killer.point()
                answer = await super().wait(*args, **kwargs)
                if self.pgconn.transaction_status == 0:
                    killer.point()
                return answer

        if kind == "raw-psycopg-async":
            yield lambda: AsyncConnection.connect(url)
            return
        async with AsyncConnectionPool(url, connection_class=AsyncConnection, min_size=1) as pool:
            yield pool.connection
    elif KINDS[kind]:
        scheme = {"aiosqlite": "sqlite+aiosqlite:", "asyncpg": "postgresql+asyncpg:"}.get(kind, "postgresql+psycopg:")
        engine = create_async_engine(_asyncpg(url) if kind == "asyncpg" else scheme + url.partition(":")[2])
        _watch(engine.sync_engine, killer)
        yield async_sessionmaker(engine)
        await engine.dispose()
    else:
        scheme = {"pysqlite": "sqlite:"}.get(kind, f"postgresql+{kind}:")
        engine = sa.create_engine(scheme + url.partition(":")[2])
        _watch(engine, killer)
        yield sessionmaker(engine)
        engine.dispose()


def _asyncpg(url):
    path, _, socket = url.partition("?host=")
    return f"postgresql+asyncpg:{path.partition(':')[2]}?host={socket}"


def _watch(engine, killer):
    event.listen(engine, "before_cursor_execute", killer.point)
    event.listen(engine, "commit", killer.point)
    # After its rollback or commit, a connection goes back.
    event.listen(engine, "checkin", killer.point)


def _insert(table, what):
    session, run = current_step().session, current_step().saga_id
    raw = isinstance(session, psycopg.Connection | psycopg.AsyncConnection)
    text = f"INSERT INTO {table} VALUES ('{run}', '{what}')"
    return session.execute(text if raw else sa.text(text))


class Shop(Saga):
    """Charges, and refunds when nothing can be shipped."""

    saga_name = "shop"

    @action("charge")
    @effect("transactional")
    def charge(self, ctx):
        _insert("charges", ctx["what"])
        return {"charged": ctx["what"]}

    @effect("transactional")
    @compensate("charge")
    def refund(self, ctx):
        _insert("refunds", ctx["charged"])

    @action("ship", depends_on=["charge"])
    def ship(self, ctx):
        if ctx["fails"]:
            raise ValueError("no truck")


class AsyncShop(Saga):
    """The same with ``async def``."""

    saga_name = "shop"

    @action("charge")
    @effect("transactional")
    async def charge(self, ctx):
        await _insert("charges", ctx["what"])
        return {"charged": ctx["what"]}

    @effect("transactional")
    @compensate("charge")
    async def refund(self, ctx):
        await _insert("refunds", ctx["charged"])

    @action("ship", depends_on=["charge"])
    async def ship(self, ctx):
        if ctx["fails"]:
            raise ValueError("no truck")


def shop_for(kind):
    return AsyncShop if KINDS[kind] else Shop
