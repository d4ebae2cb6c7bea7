"""A fresh store for each test: memory, a file, or a database of its own in one PostgreSQL for all test processes.

A plugin makes its tables once in each test process; what tests work on are copies of them.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from contract.driver import Driver
from contract.site import Site
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
                return _in_file(tmp_path / "sagaz.db")
            if reason := pg.why_not():
                pytest.skip(f"PostgreSQL: {reason}")
            return _in_database(stack.enter_context(pg.database(postgres_url())))

        yield settings


@pytest.fixture(scope="session")
def tables(tmp_path_factory, postgres_url) -> Iterator[Callable[[type[Driver], str], Awaitable[str]]]:
    """Returns the path of the file or the URL of the database in which a driver has made its tables."""
    made: dict[tuple[str, str], str] = {}
    with ExitStack() as stack:

        async def of(driver: type[Driver], kind: str) -> str:
            if (driver.name, kind) not in made:
                if kind == "sqlite":
                    place = str(tmp_path_factory.mktemp(driver.name) / "sagaz.db")
                    settings = _in_file(Path(place))
                else:
                    place = stack.enter_context(pg.database(postgres_url()))
                    settings = _in_database(place)
                # Frameworks keep connections by thread: those of the test's own loop must not have met these tables.
                await asyncio.to_thread(asyncio.run, _make_tables(driver, settings))
                if kind == "postgres":
                    pg.end_others(place)
                made[driver.name, kind] = place
            return made[driver.name, kind]

        yield of


@pytest.fixture
def prepared(
    tmp_path, postgres_url, tables, open_store
) -> Iterator[Callable[[type[Driver], str], Awaitable[Settings]]]:
    """Returns the settings that choose an empty store of a kind, which has a driver's tables."""
    with ExitStack() as stack:

        async def settings(driver: type[Driver], kind: str) -> Settings:
            if kind == "memory" or (kind == "postgres" and pg.why_not()):
                return open_store(kind)
            place = await tables(driver, kind)
            if kind == "sqlite":
                return _in_file(Path(shutil.copy(place, tmp_path)))
            return _in_database(stack.enter_context(pg.database(postgres_url(), like=place)))

        yield settings


async def _make_tables(driver: type[Driver], settings: Settings) -> None:
    async with Site(driver, settings) as site:
        await site.driver.ask(lambda store: store.stats())


def _in_file(path: Path) -> Settings:
    return {"STORAGE_URL": f"sqlite:///{path}"}


def _in_database(url: str) -> Settings:
    return {"STORAGE_URL": url, "MIGRATE": True, "POOL_SIZE": 4}
