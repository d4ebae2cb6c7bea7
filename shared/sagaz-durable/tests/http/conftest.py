"""An application on memory for each test."""

from __future__ import annotations

import pytest
from http_shop import Order, Shop

from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.settings.settings import Settings


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
async def shop():
    settings = Settings(storage_url="memory://", poll_seconds=0.02, backoff_seconds=0.01, drain_seconds=5)
    runtime = SagazRuntime(settings, sagas=[Order])
    await runtime.open()
    await runtime.begin()
    yield Shop(runtime)
    await runtime.close()
