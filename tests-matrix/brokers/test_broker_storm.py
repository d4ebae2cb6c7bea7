"""A kill storm of workers and servers, while the broker is killed, frozen and stopped, and given what it refuses."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from brokers.arrivals import contradictions, figures
from brokers.consumers import Broker, Message
from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.factory import create_store
from sagaz_integration_core.contract.events import EventFilter, NewEvent, OutboxRecord
from sagaz_integration_core.contract.store import SagaStore
from storm.fleet import Framework
from storm.plan import Plan
from storm.report import judge
from storm.storm import Evidence, rage
from storm.test_storm_django import framework as django_framework
from storm.test_storm_fastapi import APP, COMMAND, READY, serve
from support import pg
from support.programs import Program, environment
from support.waiting import until_true

STORM = Plan(workers=3, webs=1, sagas=200, seconds=30, restarts=3, kill_every=(0.5, 1.5)).from_env()

pytestmark = [pytest.mark.anyio, pytest.mark.storm, pytest.mark.timeout(STORM.limit)]

POISONS = 4


@pytest.fixture
def database() -> Iterator[str]:
    """A PostgreSQL of the test's own, which nobody disturbs."""
    with pg.own_server() as server:
        yield server.url


def fastapi_framework(**env: str) -> Framework:
    return Framework(serve, [*COMMAND, "worker", APP], READY, [*COMMAND, "migrate", APP], env=env)


def misfortunes(broker: Broker, storage_url: str) -> Callable[[], None]:
    """Return what does the next thing to the broker: poison and a kill, a freeze, a stop, and so on."""
    turn = 0

    def strike() -> None:
        nonlocal turn
        turn += 1
        if turn == 1:
            asyncio.run(_with_store(storage_url, lambda store: _poison(store, broker.too_large)))
        if turn % 3 == 2:
            broker.server.freeze()
            # Longer than a worker waits for an answer.
            time.sleep(12)
            broker.server.thaw()
            return
        if turn % 3 == 1:
            broker.server.kill()
        else:
            broker.server.stop()
        time.sleep(2)
        broker.server.start()

    return strike


async def _poison(store: SagaStore, size: int) -> None:
    """Have the application publish what the broker refuses, and something after it, by the same key."""
    too_large = json.dumps({"x": "y" * size})
    for n in range(POISONS):
        poison = NewEvent(f"poison-{n}", f"key-{n}", "own.poison", too_large)
        await store.insert_events([poison, NewEvent(f"after-{n}", f"key-{n}", "own.after", "{}")])


async def _with_store(storage_url: str, work):
    store = create_store(Settings(storage_url=storage_url))
    await store.open()
    try:
        return await work(store)
    finally:
        await store.close()


async def _outbox(store: SagaStore) -> list[OutboxRecord]:
    events: list[OutboxRecord] = []
    while page := await store.find_events(EventFilter(limit=500, after=events[-1].id if events else 0)):
        events += page
    return events


def finish(framework: Framework, folder: Path, storage_url: str) -> None:
    """Have one more worker publish what the storm has left, the leases of killed workers included."""
    env = environment(**framework.env, SAGAZ_STORAGE_URL=storage_url, SAGAZ_POLL_SECONDS="0.2", SAGAZ_LOGGING="false")
    worker = Program(framework.work, folder / "last-worker.log", env, framework.ready[1])
    worker.start()

    def waiting() -> int:
        return asyncio.run(
            _with_store(storage_url, lambda store: store.count_events(EventFilter(statuses=("pending",))))
        )

    try:
        until_true(lambda: worker.is_ready, "the last worker is at work", 40)
        until_true(lambda: not waiting(), "every event was published or set aside", 90, pause=0.5)
        worker.signal(15)
        assert worker.wait(40) == 0, worker.tail()
    finally:
        worker.close()


async def judge_arrivals(evidence: Evidence, folder: Path, storage_url: str, messages: list[Message]) -> None:
    """Compare everything with everything."""

    async def read(store: SagaStore):
        return {run.saga_id: await store.load_steps(run.saga_id) for run in evidence.runs}, await _outbox(store)

    journals, outbox = await _with_store(storage_url, read)
    found = list(contradictions(evidence.runs, journals, outbox, messages))
    attempts = {event.event_id: event.attempts for event in outbox if event.attempts}
    told = {**figures(messages), "charged": attempts, "outages": evidence.outages, "contradictions": found}
    (folder / "arrivals.json").write_text(json.dumps(told, indent=1))
    rows = [*map(asdict, evidence.runs), *map(asdict, outbox)]
    (folder / "outbox.jsonl").write_text("".join(json.dumps(row, default=str) + "\n" for row in rows))
    if kept := os.environ.get("SAGAZ_TEST_STORM_DIR"):
        shutil.copytree(folder, Path(kept) / folder.name, dirs_exist_ok=True)
    assert not found, json.dumps(found[:10], indent=1)
    # Only the poison was charged: it was set aside, and what came after it arrived.
    assert {event.event_id for event in outbox if event.status == "dead"} == {f"poison-{n}" for n in range(POISONS)}
    assert dict.fromkeys((f"poison-{n}" for n in range(POISONS)), 3) == attempts
    arrived = {message.event_id for message in messages}
    assert {f"after-{n}" for n in range(POISONS)} <= arrived


@pytest.mark.parametrize("name", ["fastapi", "django"])
async def test_every_event_of_every_saga_arrives_in_order_whatever_dies(broker, database, tmp_path, name):
    await broker.prepare()
    env = {"SAGAZ_BROKER_URL": broker.url, "SAGAZ_EVENT_ATTEMPTS": "3"}
    framework = fastapi_framework(**env)
    if name == "django":
        pytest.importorskip("gunicorn")
        other = django_framework()
        framework = Framework(other.serve, other.work, other.ready, other.migrate, {**other.env, **env}, other.forks)
    evidence = await rage(STORM, framework, tmp_path, database, misfortunes(broker, database))
    await asyncio.to_thread(finish, framework, tmp_path, database)
    judge(evidence, tmp_path)
    await judge_arrivals(evidence, tmp_path, database, await broker.messages())
