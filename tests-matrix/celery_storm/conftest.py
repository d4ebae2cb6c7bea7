"""A Redis for each test; without redis-server nothing here can be shown."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from celery_storm.broker import Broker

MODULES = ("celery", "redis", "gunicorn", "django_sagaz", "flask_sagaz")


@pytest.fixture(autouse=True, scope="session")
def needs() -> None:
    for module in MODULES:
        pytest.importorskip(module)
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server on PATH: apt-get install redis-server")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    from celery_storm.broker import Broker

    broker = Broker(tmp_path)
    try:
        broker.start()
        yield broker
    finally:
        broker.close()
