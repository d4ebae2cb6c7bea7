"""An application for each test, on memory or on a file."""

from __future__ import annotations

import pytest
from webhook_shop import Mail, Order, Shop

from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.settings.settings import Settings


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(params=["memory", "sqlite"])
async def shop(request, tmp_path):
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'sagas.db'}"
    settings = Settings(storage_url=url, poll_seconds=0.02, drain_seconds=5, max_webhook_bytes=4_096)
    runtime = SagazRuntime(settings, sagas=[Order, Mail], worker=True)
    await runtime.open()
    await runtime.begin()
    yield Shop(runtime)
    await runtime.close()
