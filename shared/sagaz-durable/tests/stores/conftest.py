"""The stores that the contract is tested on: another one is one more line in `STORES`."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import psycopg
import pytest

from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.factory import create_store
from sagaz_durable.stores.memory.store import MemoryStore
from sagaz_durable.stores.sqlite.database.thread import ConnectionThread
from sagaz_durable.stores.sqlite.store import SQLiteStore
from sagaz_integration_core.contract.store import SagaStore


@asynccontextmanager
async def opened(store: SagaStore) -> AsyncIterator[SagaStore]:
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def opened_postgres(url: str) -> AsyncIterator[SagaStore]:
    # Whoever runs the tests over and over again has no time for new tables each time.
    schema = os.environ.get("SAGAZ_TEST_POSTGRES_SCHEMA")
    settings = Settings(storage_url=url, schema=schema or f"test_{secrets.token_hex(6)}", migrate=True)
    async with opened(create_store(settings)) as store:
        if schema:
            await emptied(url, schema)
        yield store


async def emptied(url: str, schema: str) -> None:
    """Empty all tables but the one that tells which store this is."""
    tables = ("run", "step", "attempt", "worker", "outbox", "audit", "wait", "signal")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("; ".join(f"DELETE FROM {schema}.sagaz_{table}" for table in tables))


# Each makes an open, empty store, given a directory of its own, and fixtures.
STORES: dict[str, Callable[[Path, pytest.FixtureRequest], AbstractAsyncContextManager[SagaStore]]] = {
    "memory": lambda path, request: opened(MemoryStore()),
    "sqlite": lambda path, request: opened(SQLiteStore(ConnectionThread(path / "sagaz.db"))),
    "postgres": lambda path, request: opened_postgres(request.getfixturevalue("shared_postgres_url")),
}


if "SAGAZ_TEST_PGBOUNCER" in os.environ:
    STORES["pgbouncer"] = lambda path, request: opened_postgres(request.getfixturevalue("pooled_postgres_url"))


@pytest.fixture(scope="session")
def pooled_postgres_url(shared_postgres_url: str) -> Iterator[str]:
    """The same database, through a pooler."""
    from pooler import pooled

    with pooled(shared_postgres_url) as url:
        yield url


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SagaStore]:
    async with STORES[request.param](tmp_path, request) as store:
        yield store


@pytest.fixture
async def sqlite_store(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    store = SQLiteStore(ConnectionThread(tmp_path / "sagaz.db"))
    async with opened(store):
        yield store
