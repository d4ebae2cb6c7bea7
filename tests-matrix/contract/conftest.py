"""A fresh store for each test: memory, a file, or a database of its own in one PostgreSQL for all test processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from support import pg

Settings = dict[str, Any]


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[Callable[[], str]]:
    """Starts the server when the first test asks for it."""
    with ExitStack() as stack:
        started: list[str] = []

        def url() -> str:
            if not started:
                started.append(stack.enter_context(pg.shared_server()))
            return started[0]

        yield url


@pytest.fixture
def open_store(tmp_path, postgres_url) -> Iterator[Callable[[str], Settings]]:
    """Returns the settings that choose an empty store of a kind."""
    with ExitStack() as stack:

        def settings(kind: str) -> Settings:
            if kind == "memory":
                return {"STORAGE_URL": "memory://"}
            if kind == "sqlite":
                return {"STORAGE_URL": f"sqlite:///{tmp_path / 'sagaz.db'}"}
            if reason := pg.why_not():
                pytest.skip(f"PostgreSQL: {reason}")
            url = stack.enter_context(pg.database(postgres_url()))
            return {"STORAGE_URL": url, "MIGRATE": True, "POOL_SIZE": 4}

        yield settings
