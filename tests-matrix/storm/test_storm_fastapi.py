"""The storm over FastAPI: uvicorn and ``fastapi-sagaz worker``, on SQLite and on PostgreSQL."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from storm.deployment import deploy, untrue
from storm.fleet import Framework
from storm.interference import Interference
from storm.plan import Plan
from storm.report import judge
from storm.storm import rage
from support import pg
from support.programs import script

pytest.importorskip("fastapi_sagaz")

pytestmark = pytest.mark.storm

APP = "storm.fastapi_app:app"
READY = ("Application startup complete", "Working on")
COMMAND = script("fastapi-sagaz", "fastapi_sagaz.cli:main")

SMALL = Plan(workers=1, webs=1, sagas=60, seconds=12, kill_every=(0.4, 1.4), rough=True).from_env()
WAITING = Plan(workers=2, webs=1, sagas=90, seconds=12, kill_every=(0.4, 1.4), waits=True).from_env()
WAITING_MORE = Plan(workers=3, webs=2, sagas=120, seconds=12, waits=True).from_env()
LARGE = Plan(workers=4, webs=2, sagas=600, seconds=30, restarts=2, rough=True).from_env()


def serve(port: int) -> list[str]:
    return [sys.executable, "-m", "uvicorn", APP, "--host", "127.0.0.1", "--port", str(port), "--no-access-log"]


@pytest.mark.timeout(SMALL.limit)
async def test_one_worker_and_one_server_on_sqlite(tmp_path) -> None:
    framework = Framework(serve, [*COMMAND, "worker", APP], READY)
    evidence = await rage(SMALL, framework, tmp_path, f"sqlite:///{tmp_path / 'sagaz.db'}")
    judge(evidence, tmp_path)


@pytest.fixture
def server() -> Iterator[pg.Server]:
    """A PostgreSQL of the test's own, which it may crash."""
    with pg.own_server() as server:
        yield server


@pytest.mark.timeout(LARGE.limit)
async def test_four_workers_and_two_servers_on_postgresql_that_crashes_too(server, tmp_path) -> None:
    framework = Framework(serve, [*COMMAND, "worker", APP], READY, [*COMMAND, "migrate", APP])
    interference = Interference(server.url, LARGE.seed)
    evidence = await rage(LARGE, framework, tmp_path, server.url, lambda: server.restart("immediate"), interference)
    evidence.locks, evidence.refused = interference.held, interference.refused
    assert len(evidence.outages) == LARGE.restarts
    assert evidence.locks
    assert evidence.refused
    judge(evidence, tmp_path)


@pytest.mark.timeout(WAITING.limit)
async def test_steps_and_compensations_that_wait_on_sqlite(tmp_path) -> None:
    evidence = await rage(
        WAITING, Framework(serve, [*COMMAND, "worker", APP], READY), tmp_path, f"sqlite:///{tmp_path / 'sagaz.db'}"
    )
    judge(evidence, tmp_path)


@pytest.mark.timeout(WAITING_MORE.limit)
async def test_steps_and_compensations_that_wait_on_postgresql(server, tmp_path) -> None:
    evidence = await rage(
        WAITING_MORE,
        Framework(serve, [*COMMAND, "worker", APP], READY, [*COMMAND, "migrate", APP]),
        tmp_path,
        server.url,
    )
    judge(evidence, tmp_path)


@pytest.mark.timeout(120)
async def test_runs_that_wait_while_another_version_is_deployed(server, tmp_path) -> None:
    deployed = await deploy(
        Framework(serve, [*COMMAND, "worker", APP], READY, [*COMMAND, "migrate", APP]), tmp_path, server.url
    )
    assert list(untrue(deployed)) == []
