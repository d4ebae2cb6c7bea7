"""A PostgreSQL server for the tests that want one: shared by all processes of a test session."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from pg import database, end_others, shared_server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a server, as a user who may do everything."""
    with shared_server() as url:
        yield url


@pytest.fixture(scope="session")
def shared_postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of a database of this test process: each test makes a schema of its own in it.

    With SAGAZ_TEST_POSTGRES_SCHEMA, tests share that one, and test processes that come one after another the database.
    """
    if "SAGAZ_TEST_POSTGRES_SCHEMA" in os.environ:
        end_others(postgres_server)
        yield postgres_server
        return
    with database(postgres_server) as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of an empty database for one test."""
    with database(postgres_server) as url:
        yield url
