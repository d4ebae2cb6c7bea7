"""PostgreSQL stores in a schema or a database of their own."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import pytest

from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.factory import create_store
from sagaz_durable.stores.postgresql.store import PostgresStore


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def settings(shared_postgres_url: str) -> Settings:
    return Settings(storage_url=shared_postgres_url, schema=f"test_{secrets.token_hex(6)}", migrate=True, pool_size=4)


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[PostgresStore]:
    store = create_store(settings)
    await store.open()
    yield store
    await store.close()
