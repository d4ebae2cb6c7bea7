"""Triggers with a limit: events beyond it are kept, and their runs start when there is room."""

from __future__ import annotations

import asyncio

import pytest
from sagaz.core.triggers import trigger
from webhook_shop import Shop

from sagaz_durable import Saga, action
from sagaz_durable.intake.replaying import Replayer
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.settings.settings import Settings
from sagaz_durable.webhooks.resuming import resumes
from sagaz_integration_core.context.current_step import current_step
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.errors import StoreUnavailable


def limited(**limits):
    """A saga that waits to be paid, and whose trigger has these limits."""

    class Limited(Saga):
        saga_name = "limited"

        @trigger(source="shop", **limits)
        def on_order(self, event):
            if event["type"] == "broken":
                raise ValueError("no such product")
            return {"order": event["order"]} if event["type"] == "ordered" else None

        @resumes("shop", signal="paid", key="payment")
        def on_paid(self, event):
            return {} if event["type"] == "paid" else None

        @action("pay")
        async def pay(self, ctx):
            await current_step().signal("paid", key=ctx["order"])

    return Limited


class Quick(Saga):
    saga_name = "quick"

    @trigger(source="shop", max_concurrent=1)
    def on_order(self, event):
        return {"order": event["order"]}

    @action("pack")
    async def pack(self, ctx):
        return None


class Plain(Saga):
    saga_name = "plain"

    @action("pack")
    async def pack(self, ctx):
        return None


class Shops:
    """Applications on one store, one after another."""

    def __init__(self, url: str) -> None:
        self._settings = Settings(storage_url=url, poll_seconds=0.02, drain_seconds=5)
        self.runtime: SagazRuntime | None = None

    async def open(self, saga: type[Saga], *, worker: bool = True) -> Shop:
        """Close the one that is there, and open another with this saga."""
        await self.close()
        self.runtime = SagazRuntime(self._settings, sagas=[saga], worker=worker)
        await self.runtime.open()
        await self.runtime.begin()
        return Shop(self.runtime)

    async def close(self) -> None:
        if self.runtime is not None:
            await self.runtime.close()


@pytest.fixture(params=["memory", "sqlite"])
async def shops(request, tmp_path):
    shops = Shops("memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'sagas.db'}")
    yield shops
    await shops.close()


@pytest.fixture
async def file_shops(tmp_path):
    shops = Shops(f"sqlite:///{tmp_path / 'sagas.db'}")
    yield shops
    await shops.close()


async def order(shop: Shop, *orders: str) -> list[str]:
    """Deliver an event for each, and return the saga_ids of their runs."""
    for number in orders:
        assert await shop.deliver({"id": f"evt_{number}", "type": "ordered", "order": number}) == 200
    events = {event.delivery_id: event.saga_id for event in await shop.events()}
    return [events[f"evt_{number}"] for number in orders]


async def outcomes(shop: Shop) -> list[str]:
    """What became of the events that start runs, the oldest first."""
    return [event.outcome for event in reversed(await shop.events()) if event.signal is None]


async def until_outcomes(shop: Shop, *expected: str) -> None:
    async with asyncio.timeout(20):
        while await outcomes(shop) != list(expected):
            await asyncio.sleep(0.005)


async def test_an_event_beyond_the_limit_starts_its_run_when_another_has_ended(shops):
    shop = await shops.open(limited(max_concurrent=1))
    first, second = await order(shop, "o1", "o2")
    assert await outcomes(shop) == ["started", "delayed"]
    await shop.until(first, "waiting")
    assert (await shop.store.load(second)).status == "pending"
    await shop.deliver({"id": "evt_3", "type": "paid", "payment": "o1"})
    await shop.until(first, "completed")
    await shop.until(second, "waiting")
    assert await outcomes(shop) == ["started", "started"]


async def test_of_more_events_than_the_rate_allows_the_rest_waits(shops):
    shop = await shops.open(limited(rate_limit=0.001))
    first, second = await order(shop, "o1", "o2")
    await shop.deliver({"id": "evt_3", "type": "paid", "payment": "o1"})
    await shop.until(first, "completed")
    assert await outcomes(shop) == ["started", "delayed"]
    assert (await shop.store.load(second)).status == "pending"


async def test_a_repeated_delayed_event_is_the_same_one(shops):
    shop = await shops.open(limited(max_concurrent=1))
    await order(shop, "o1", "o2", "o2", "o1")
    assert await outcomes(shop) == ["started", "delayed"]
    assert len(await shop.store.find(RunFilter())) == 2


async def test_a_delayed_event_outlives_its_process(file_shops):
    shop = await file_shops.open(limited(max_concurrent=1))
    first, second = await order(shop, "o1", "o2")
    await shop.until(first, "waiting")
    shop = await file_shops.open(limited(max_concurrent=1))
    assert await outcomes(shop) == ["started", "delayed"]
    await shop.deliver({"id": "evt_3", "type": "paid", "payment": "o1"})
    await shop.until(second, "waiting")


async def test_what_was_delayed_starts_after_the_limit_was_taken_away(file_shops):
    await order(await file_shops.open(limited(max_concurrent=1)), "o1", "o2", "o3")
    await until_outcomes(await file_shops.open(limited()), "started", "started", "started")


async def test_a_worker_that_drains_executes_delayed_runs_one_after_another(file_shops):
    shop = await file_shops.open(Quick, worker=False)
    saga_ids = await order(shop, "o1", "o2", "o3")
    assert await outcomes(shop) == ["started", "delayed", "delayed"]
    await shop.runtime.make_worker(drain=True).run()
    assert [(await shop.store.load(saga_id)).status for saga_id in saga_ids] == ["completed"] * 3
    assert await outcomes(shop) == ["started"] * 3


async def test_an_event_is_taken_although_its_run_cannot_be_started_now(file_shops, monkeypatch):
    shop = await file_shops.open(limited(max_concurrent=1), worker=False)

    async def fail(limit):
        raise StoreUnavailable("the database is gone")

    with monkeypatch.context() as patch:
        patch.setattr(shop.store, "start_delayed", fail)
        await order(shop, "o1")
    assert await outcomes(shop) == ["delayed"]
    shop = await file_shops.open(limited(max_concurrent=1))
    await until_outcomes(shop, "started")


async def test_a_replay_of_an_event_waits_for_room_too(shops):
    shop = await shops.open(limited(max_concurrent=1))
    await shop.deliver({"id": "evt_9", "type": "broken"})
    await order(shop, "o1")
    [broken] = await shop.events(outcome="quarantined")

    class Mended(limited(max_concurrent=1)):
        def on_order(self, event):
            return {"order": "o9"}

    Mended.on_order._trigger_metadata = Mended.__bases__[0].on_order._trigger_metadata
    mended = SagazRuntime(shops.runtime.settings, sagas=[Mended])
    mended.store = shop.store
    replayed = await Replayer(mended, lambda function: function, "ann", "fixed").replay(broken.id)
    assert (replayed.done, replayed.outcome) == (True, "delayed")
    assert replayed.message.endswith("which starts when the limit of its trigger allows it")


async def test_where_no_saga_has_a_trigger_nobody_looks_for_delayed_runs(shops, monkeypatch):
    asked = []
    shop = await shops.open(Plain)

    async def count():
        asked.append(1)
        return 0

    monkeypatch.setattr(shop.store, "count_delayed", count)
    worker = shop.runtime.make_worker(drain=True)
    await worker.run()
    assert asked == []
    assert [task.get_name() for task in asyncio.all_tasks() if "start_regularly" in repr(task.get_coro())] == []
