"""Runs whose processes died twice while they had several: who executes them, and that nothing else runs beside them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest
from sagaz import Saga, action

from sagaz_durable.sagas import Sagas
from sagaz_integration_core.contract.records import NewRun

pytestmark = pytest.mark.anyio

AT_ONCE = 0.001


class Shop:
    """Two sagas whose steps are counted: a suspect waits at the gate, an order for as long as it says."""

    def __init__(self):
        self.gate, self.running, self.beside_suspects, self.orders = asyncio.Event(), [], [], 0
        shop = self

        class Suspect(Saga):
            saga_name = "suspect"

            @action("only")
            async def only(self, ctx):
                await shop.work("suspect", shop.gate.wait())

        class Order(Saga):
            saga_name = "order"

            @action("only")
            async def only(self, ctx):
                await shop.work("order", asyncio.sleep(ctx.get("seconds", 0)))
                shop.orders += 1

        self.suspect, self.order = Suspect, Order

    async def work(self, name, wait):
        self.running.append(name)
        if "suspect" in self.running:
            self.beside_suspects.append(list(self.running))
        try:
            await wait
        finally:
            self.running.remove(name)


@pytest.fixture
def shop():
    return Shop()


async def until(condition):
    async with asyncio.timeout(30):
        while not (found := await result if asyncio.iscoroutine(result := condition()) else result):
            await asyncio.sleep(0.02)
    return found


async def suspects(runtime, shop, count):
    """Start runs, and have two processes die that executed all of them."""
    ids = await Sagas(runtime).start_many(shop.suspect, [{}] * count)
    for owner in ("dead-1", "dead-2"):
        bait = f"bait-{owner}"
        await runtime.store.insert([NewRun(bait, "bait", "{}", "f")], 0)
        await asyncio.sleep(0.02)  # Until those that are suspects by now have come back.
        # By their names, which is one statement: all leases end at the same moment.
        taken = await runtime.store.claim(owner, 100, 0.1, {"suspect": (), "bait": ()}, saga_ids=[*ids, bait])
        assert {run.saga_id for run in taken} == {*ids, bait}

        async def settled(bait=bait):
            # Who asks for the bait only finds the owner dead, and takes none of the others.
            await runtime.store.claim("finder", 1, AT_ONCE, {"bait": ()}, saga_ids=[bait])
            return all(record.lease_owner is None for record in await records(runtime, ids))

        await until(settled)
    assert {(record.alone, record.failures) for record in await records(runtime, ids)} == {(True, 0)}
    return ids


async def records(runtime, ids):
    return [await runtime.store.load(saga_id) for saga_id in ids]


@asynccontextmanager
async def working(runtime, **options):
    worker = runtime.make_worker(**options)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()
        await worker.stopped()


async def statuses(runtime, ids):
    return {record.status for record in await records(runtime, ids)}


async def completed(runtime, ids):
    return await until(lambda: _are(runtime, ids, {"completed"}))


async def _are(runtime, ids, expected):
    return await statuses(runtime, ids) == expected


@pytest.mark.parametrize("command", [True, False], ids=["worker-command", "embedded-worker"])
async def test_a_suspect_is_executed_with_nothing_beside_it(shared_settings, opened, shop, command):
    async with opened(shared_settings, sagas=[shop.suspect, shop.order]) as runtime:
        ids = await suspects(runtime, shop, 3)
        async with working(runtime, command=command):
            await until(lambda: shop.running == ["suspect"])
            orders = await Sagas(runtime).start_many(shop.order, [{}] * 20)
            await asyncio.sleep(0.3)  # What is waited for is that nothing happens.
            assert await statuses(runtime, orders) == {"pending"}
            shop.gate.set()
            await completed(runtime, [*ids, *orders])
    assert shop.beside_suspects == [["suspect"]] * 3
    assert shop.orders == 20


async def test_a_busy_worker_makes_room_for_a_suspect_after_a_lease(shared_settings, opened, shop):
    settings = replace(shared_settings, lease_seconds=1, renew_seconds=0.1)
    async with opened(settings, sagas=[shop.suspect, shop.order]) as runtime:
        ids = await suspects(runtime, shop, 2)
        orders = await Sagas(runtime).start_many(shop.order, [{"seconds": 0.05}] * 300)
        shop.gate.set()
        async with working(runtime, command=True, concurrency=2):
            await completed(runtime, ids)
            assert "pending" in await statuses(runtime, orders), "it did not wait until all others had ended"
            assert shop.orders > 0, "what was under way has been let to end, and came first"
            await runtime.drain(0)
    assert shop.beside_suspects == [["suspect"]] * 2


async def test_several_workers_each_have_one_at_most_half_of_those_that_know_it_and_the_rest_goes_on(
    shared_settings, opened, shop
):
    class Elsewhere(Saga):
        @action("only")
        async def only(self, ctx):
            pass

    async with opened(shared_settings, sagas=[shop.suspect, shop.order]) as runtime, AsyncExitStack() as stack:
        ids = await suspects(runtime, shop, 4)
        for _ in range(2):
            other = await stack.enter_async_context(opened(shared_settings, sagas=[Elsewhere]))
            await stack.enter_async_context(working(other, command=True))
        for n in range(4):
            await runtime.store.heartbeat(f"soon-{n}", 60, "worker", ["suspect", "order"])
        for n in range(4):
            # Each takes the place of one that was announced, so that there are four from the beginning.
            one = await stack.enter_async_context(opened(shared_settings, sagas=[shop.suspect, shop.order]))
            await stack.enter_async_context(working(one, command=True))
            await until(lambda one=one: _is_announced(runtime, one))
            await runtime.store.heartbeat(f"soon-{n}", 0)
        await until(lambda: shop.running == ["suspect"] * 2)
        orders = await Sagas(runtime).start_many(shop.order, [{}] * 20)
        await completed(runtime, orders)
        assert shop.running == ["suspect"] * 2, "half of the four that know it, the two of another service aside"
        assert len({record.lease_owner for record in await records(runtime, ids) if record.lease_owner}) == 2
        shop.gate.set()
        await completed(runtime, ids)


async def _is_announced(runtime, one):
    return any(worker.name == one.owner for worker in await runtime.store.workers())


async def test_a_web_process_takes_none_while_a_worker_command_lives_that_knows_it(shared_settings, opened, shop):
    async with opened(shared_settings, sagas=[shop.suspect, shop.order]) as runtime:
        ids = await suspects(runtime, shop, 2)
        shop.gate.set()
        await runtime.store.heartbeat("a worker command", 60, "worker", ["suspect"])
        async with working(runtime, command=False):
            await completed(runtime, await Sagas(runtime).start_many(shop.order, [{}] * 3))
            await asyncio.sleep(0.3)  # What is waited for is that nothing happens.
            assert await statuses(runtime, ids) == {"pending"}
            await runtime.store.heartbeat("a worker command", 0)
            await completed(runtime, ids)


async def test_a_worker_command_of_another_service_keeps_no_web_process_from_its_suspects(
    shared_settings, opened, shop
):
    async with opened(shared_settings, sagas=[shop.suspect]) as runtime:
        ids = await suspects(runtime, shop, 2)
        shop.gate.set()
        await runtime.store.heartbeat("elsewhere", 60, "worker", ["order"])
        async with working(runtime, command=False):
            await completed(runtime, ids)


async def test_a_draining_worker_executes_suspects_too(shared_settings, opened, shop):
    async with opened(shared_settings, sagas=[shop.suspect]) as runtime:
        ids = await suspects(runtime, shop, 3)
        shop.gate.set()
        async with asyncio.timeout(20):
            await runtime.make_worker(drain=True).run()
        assert await statuses(runtime, ids) == {"completed"}
    assert shop.beside_suspects == [["suspect"]] * 3
