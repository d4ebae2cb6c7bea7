"""SIGKILL at each statement of a transactional step and of its compensation, in applications of FastAPI and Flask.

Django's are in its own tests, and every kind of session in the engine's.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from support import pg
from support.programs import environment

pytest.importorskip("fastapi_sagaz")
pytest.importorskip("flask_sagaz")

PLACES = {("fastapi", "postgres"): 20, ("fastapi", "sqlite"): 22, ("flask", "sqlite"): 22, ("flask", "postgres"): 20}
"""By framework and store, more points than there are."""

LEASES_END = (
    "UPDATE sagaz_run SET lease_expires_at = '2020-01-01T00:00:00.000000', available_at = '2020-01-01T00:00:00.000000'"
    " WHERE lease_owner IS NOT NULL"
)
"""What time would do after a death."""


@contextmanager
def database(store: str, folder: Path) -> Iterator[str]:
    """Give the URL of a store whose database has the application's own tables."""
    if store == "sqlite":
        yield f"sqlite:///{folder / 'till.db'}"
        return
    if reason := pg.why_not():
        pytest.skip(f"PostgreSQL: {reason}")
    with pg.shared_server() as server, pg.database(server) as url:
        yield url


def engine(url: str) -> sa.Engine:
    return sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=NullPool)


def till(framework: str, url: str, at: int) -> subprocess.CompletedProcess[str]:
    """Have an application do its work in another process."""
    command = [sys.executable, "-m", f"kills.transactional_{framework}", url, str(at)]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=90, check=False)


@contextmanager
def tables(store: str, folder: Path) -> Iterator[str]:
    with database(store, folder) as url:
        with engine(url).begin() as connection:
            for name in ("charges", "refunds"):
                connection.execute(sa.text(f"CREATE TABLE {name} (what TEXT)"))
        yield url


@pytest.mark.parametrize(
    ("framework", "store", "at"),
    [(framework, store, at) for (framework, store), count in PLACES.items() for at in range(1, count)],
)
def test_an_applications_step_has_its_effect_once_wherever_its_process_dies(
    framework: str, store: str, at: int, tmp_path: Path
) -> None:
    with tables(store, tmp_path) as url:
        died = till(framework, url, at)
        assert died.returncode in (0, -signal.SIGKILL), died.stderr
        with engine(url).begin() as connection:
            connection.exec_driver_sql(LEASES_END)
        survivor = till(framework, url, -1)
        assert survivor.returncode == 0, survivor.stderr
        with engine(url).begin() as connection:
            for name in ("charges", "refunds"):
                assert connection.execute(sa.text(f"SELECT what FROM {name}")).fetchall() == [("book",)], name


@pytest.mark.parametrize(("framework", "store"), PLACES)
def test_each_of_its_statements_is_among_the_points(framework: str, store: str, tmp_path: Path) -> None:
    with tables(store, tmp_path) as url:
        done = till(framework, url, 0)
        # Of the step, and of its compensation: savepoint, insert, release, record, and before and after the commit.
        assert 2 * 6 <= int(done.stdout or 0) < PLACES[framework, store], done.stdout + done.stderr
