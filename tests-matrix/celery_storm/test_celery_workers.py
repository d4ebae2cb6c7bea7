"""Celery's workers as they are started: each pool, warm shutdowns, and time limits."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.factory import create_store
from sagaz_integration_core.contract.records import FINISHED, NewRun, RunRecord
from sagaz_integration_core.contract.store import SagaStore
from support import ledger
from support.programs import Program, environment
from support.waiting import until, until_true

if TYPE_CHECKING:
    from celery_storm.broker import Broker

pytestmark = pytest.mark.storm

Work = Callable[..., Program]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'sagaz.db'}"


@pytest.fixture
def work(broker: Broker, tmp_path: Path, url: str) -> Iterator[Work]:
    """Start a worker of Celery's, and return it when it is at work."""
    started = []

    def work(*options: str) -> Program:
        env = {"SAGAZ_STORAGE_URL": url, "SAGAZ_DISPATCH": "celery", "SAGAZ_METRICS": "false"}
        env |= {"CELERY_BROKER_URL": broker.url, "STORM_LEDGER": str(tmp_path / "ledger"), "C_FORCE_ROOT": "1"}
        command = [sys.executable, "-m", "celery", "-A", "celery_storm.flask_shop:celery", "worker", *options]
        program = Program([*command, "--loglevel", "INFO"], tmp_path / "worker.log", environment(**env), "ready.")
        started.append(program)
        program.start()
        until_true(lambda: program.is_ready, "the worker is ready", 40)
        return program

    yield work
    for program in started:
        program.close()


@pytest.fixture
async def store(url: str) -> AsyncIterator[SagaStore]:
    store = create_store(Settings(storage_url=url))
    await store.open()
    yield store
    await store.close()


async def send(store: SagaStore, broker: Broker, pause: float, *saga_ids: str) -> None:
    """Insert runs of the storm's saga, and send their messages."""
    context = {"fails": None, "crashes": [], "broken": None, "pause": pause}
    runs = [NewRun(saga_id, "storm", json.dumps(context), fingerprint=saga_id) for saga_id in saga_ids]
    await store.insert(runs, 0)
    for saga_id in saga_ids:
        broker.send("sagaz.run", saga_id)


async def ended(store: SagaStore, saga_id: str) -> RunRecord:
    async def ask() -> RunRecord | None:
        record = await store.load(saga_id)
        return record if record is not None and record.status in FINISHED else None

    return await until(ask, f"{saga_id} has ended", 40)  # type: ignore[return-value]


@pytest.mark.parametrize(
    "options",
    [
        ("--pool", "prefork", "--concurrency", "3"),
        ("--pool", "prefork", "--concurrency", "1", "--max-tasks-per-child", "1"),
        ("--pool", "threads", "--concurrency", "3"),
        ("--pool", "solo"),
    ],
    ids=["prefork", "processes of one task", "threads", "solo"],
)
async def test_every_pool_executes_runs_and_lets_them_end_when_it_is_told_to_stop(
    options, broker, store, work, tmp_path
) -> None:
    worker = work(*options)
    await send(store, broker, 0.01, "a", "b", "c")
    for saga_id in ("a", "b", "c"):
        assert (await ended(store, saga_id)).status == "completed"
    await send(store, broker, 0.3, "last")
    until_true(lambda: ledger.of_saga(ledger.read(tmp_path / "ledger"), "last"), "it has begun")
    worker.signal(signal.SIGTERM)
    assert worker.wait(40) == 0, worker.tail()
    record = await store.load("last")
    assert record is not None
    assert (record.status, record.attempt) == ("completed", 1), worker.tail()


async def test_a_soft_time_limit_gives_the_run_back_and_a_sweep_goes_on_with_it(broker, store, work, tmp_path) -> None:
    work("--pool", "prefork", "--concurrency", "1", "--soft-time-limit", "1")
    # Four steps of 0.6 s.
    await send(store, broker, 0.6, "long")

    async def swept() -> bool:
        record = await store.load("long")
        assert record is not None
        if record.status == "pending" and not broker.waiting():
            broker.send("sagaz.sweep")
        return record.status in FINISHED

    await until(swept, "it has ended", 40)
    record = await ended(store, "long")
    assert (record.status, record.failures) == ("completed", 0)
    assert record.attempt > 1
    lines = ledger.read(tmp_path / "ledger")
    assert [line.step for line in lines if line.event == "end"] == ["reserve", "charge", "pack", "ship"]
    assert any(line.event == "cancelled" for line in lines)
