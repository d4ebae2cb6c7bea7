"""A start whose answer was lost on its way is recognised as one's own, executed once, and told of."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from sagaz import Saga, action

from sagaz_durable.runtime.bound_saga import bind
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.sagas import Sagas
from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.postgresql.database.errors import ConnectionLost
from sagaz_integration_core.errors import IdempotencyConflict, RunInProgress

pytestmark = pytest.mark.anyio

called: list[str] = []


class Pay(Saga):
    saga_name = "pay"

    @action("charge")
    async def charge(self, ctx):
        called.append(ctx["order"])
        if ctx.get("wait"):
            await asyncio.Event().wait()
        return {"charged": True}


@asynccontextmanager
async def opened(url, **options):
    runtime = SagazRuntime(
        Settings(storage_url=url, migrate=True, drain_seconds=0, **options.pop("settings", {})), sagas=[Pay], **options
    )
    await runtime.open()
    called.clear()
    try:
        yield runtime
    finally:
        await runtime.close()


def cut(runtime, monkeypatch, *, committed=True):
    """Cut the connection of the next INSERT right after it was carried out, or before."""
    execute_once = runtime.store.database.execute_once
    left = ["INSERT INTO {schema}.sagaz_run"]

    async def breaking(template, values=()):
        if left and left[0] in template:
            left.clear()
            if committed:
                await execute_once(template, values)
            raise ConnectionLost("lost")
        return await execute_once(template, values)

    monkeypatch.setattr(runtime.store.database, "execute_once", breaking)


@pytest.mark.parametrize("key", [None, "order-1"])
@pytest.mark.parametrize("committed", [False, True])
async def test_an_inline_run_whose_start_was_cut_off_is_executed_here_and_now(
    postgres_url, monkeypatch, key, committed
):
    async with opened(postgres_url) as runtime:
        cut(runtime, monkeypatch, committed=committed)
        run = await bind(runtime, Pay).run({"order": "1"}, idempotency_key=key)
        assert run["charged"]
        record = await runtime.store.load(run.saga_id)
        assert (record.status, record.attempt, called) == ("completed", 1, ["1"])


async def test_a_run_that_another_process_has_begun_is_not_taken_for_ones_own(postgres_url, monkeypatch):
    async with opened(postgres_url) as first:
        running = asyncio.create_task(bind(first, Pay).run({"order": "1", "wait": 1}, idempotency_key="order-1"))
        async with asyncio.timeout(10):
            while not called:
                await asyncio.sleep(0.01)
        second = SagazRuntime(Settings(storage_url=postgres_url), sagas=[Pay])
        await second.open()
        try:
            cut(second, monkeypatch)
            with pytest.raises(RunInProgress):
                await bind(second, Pay).run({"order": "1", "wait": 1}, idempotency_key="order-1")
        finally:
            await second.close()
        assert called == ["1"]
        running.cancel()


async def test_nor_is_one_that_this_process_executes_already_or_was_started_otherwise(postgres_url, monkeypatch):
    async with opened(postgres_url) as runtime:
        running = asyncio.create_task(bind(runtime, Pay).run({"order": "1", "wait": 1}, idempotency_key="order-1"))
        async with asyncio.timeout(10):
            while not called:
                await asyncio.sleep(0.01)
        cut(runtime, monkeypatch)
        with pytest.raises(RunInProgress):
            await bind(runtime, Pay).run({"order": "1", "wait": 1}, idempotency_key="order-1")
        cut(runtime, monkeypatch)
        with pytest.raises(IdempotencyConflict):
            await bind(runtime, Pay).run({"order": "2"}, idempotency_key="order-1")
        cut(runtime, monkeypatch)
        with pytest.raises(IdempotencyConflict):
            await bind(runtime, Pay).run({"order": "1", "wait": 1}, idempotency_key="order-1", owner="user:7")
        assert called == ["1"]
        running.cancel()


async def test_a_start_for_later_that_was_cut_off_is_told_to_celery(postgres_url, monkeypatch):
    told = []
    async with opened(postgres_url, settings={"dispatch": "celery"}, dispatch=told.append) as runtime:
        cut(runtime, monkeypatch)
        saga_id = await asyncio.to_thread(Sagas(runtime).start_sync, Pay, {"order": "1"}, idempotency_key="order-1")
    assert told == [[saga_id]]
