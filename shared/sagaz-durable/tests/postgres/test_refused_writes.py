"""A database that refuses writes for a while, or for good: no step has failed by that."""

from __future__ import annotations

import asyncio
from collections import Counter

import psycopg
import pytest
from sagaz import Saga, action, compensate

from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.sagas import Sagas
from sagaz_durable.settings.settings import Settings
from sagaz_integration_core.contract.records import FINISHED

TRIGGER = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not today'; END $$;
    CREATE TRIGGER refuses BEFORE INSERT OR UPDATE ON sagaz_step FOR EACH ROW EXECUTE FUNCTION refuse();
"""


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def test_runs_whose_journal_a_trigger_refuses_for_a_while_go_on_and_undo_nothing(postgres_url):
    calls: Counter[str] = Counter()
    second, go = asyncio.Semaphore(0), asyncio.Event()

    class Order(Saga):
        @action("a")
        async def a(self, ctx):
            calls["a"] += 1

        @compensate("a")
        async def undo_a(self, ctx):
            calls["undo a"] += 1

        @action("b", depends_on=["a"])
        async def b(self, ctx):
            calls["b"] += 1
            second.release()
            await go.wait()

        @compensate("b")
        async def undo_b(self, ctx):
            calls["undo b"] += 1

        @action("c", depends_on=["b"])
        async def c(self, ctx):
            calls["c"] += 1

    runtime = SagazRuntime(
        Settings(storage_url=postgres_url, migrate=True, poll_seconds=0.05), sagas=[Order], worker=True
    )
    await runtime.open()
    await runtime.begin()
    try:
        saga_ids = await Sagas(runtime).start_many(Order, [{}] * 5)
        async with asyncio.timeout(30):
            for _ in saga_ids:
                await second.acquire()
            with psycopg.connect(postgres_url, autocommit=True) as connection:
                connection.execute(TRIGGER)
                go.set()
                while not await refused(runtime, saga_ids):
                    await asyncio.sleep(0.05)
                connection.execute("DROP TRIGGER refuses ON sagaz_step; DROP FUNCTION refuse()")
            while {(await runtime.store.load(saga_id)).status for saga_id in saga_ids} - set(FINISHED):
                await asyncio.sleep(0.05)
        assert {(await runtime.store.load(saga_id)).status for saga_id in saga_ids} == {"completed"}
    finally:
        await runtime.close()
    assert calls == {"a": 5, "b": 5, "c": 5}, "the writes are repeated, and no call is"


async def refused(runtime, saga_ids):
    """Whether all steps b have ended in this process, and none of these ends could be recorded."""
    await asyncio.sleep(0.3)
    steps = [step for saga_id in saga_ids for step in await runtime.store.load_steps(saga_id)]
    return [step.status for step in steps if step.step == "b"] == ["started"] * 5
