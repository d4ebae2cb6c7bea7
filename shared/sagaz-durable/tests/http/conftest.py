"""An application on memory for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from http_shop import Order, Shop

from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.settings.settings import Settings


@pytest.fixture
def anyio_backend():
    return "asyncio"


@asynccontextmanager
async def _open(storage_url: str) -> AsyncIterator[Shop]:
    settings = Settings(storage_url=storage_url, poll_seconds=0.02, backoff_seconds=0.01, drain_seconds=5)
    runtime = SagazRuntime(settings, sagas=[Order], worker=True)
    await runtime.open()
    await runtime.begin()
    yield Shop(runtime)
    await runtime.close()


@pytest.fixture
async def shop():
    async with _open("memory://") as shop:
        yield shop


@pytest.fixture
async def file_shop(tmp_path):
    """One whose store waits for its event loop."""
    async with _open(f"sqlite:///{tmp_path / 'sagas.db'}") as shop:
        yield shop
