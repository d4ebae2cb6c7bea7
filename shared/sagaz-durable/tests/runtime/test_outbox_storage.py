"""sagaz's own outbox classes, unmodified, on our stores."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sagaz import Saga, action
from sagaz.core.outbox.brokers.memory import InMemoryBroker
from sagaz.core.outbox.types import OutboxConfig, OutboxEvent, OutboxStatus
from sagaz.core.outbox.worker import OutboxWorker
from sagaz.core.storage.core import HealthStatus
from sagaz.core.storage.interfaces.outbox import OutboxStorageError

from sagaz_durable._upstream.outbox_storage import StoreOutboxStorage
from sagaz_integration_core.contract.events import EventFilter, EventOutcome


class Two(Saga):
    saga_name = "two"

    @action("first")
    async def first(self, ctx):
        return {"n": 1}

    @action("second", depends_on=["first"])
    async def second(self, ctx):
        return {"n": 2}


TOLD = ["two.first.success", "two.second.success", "two.completed"]


@pytest.fixture
async def storage(runtime):
    return StoreOutboxStorage(runtime.store, backoff_seconds=0.01)


def event(name, saga_id="s1", **values):
    return OutboxEvent(saga_id=saga_id, event_type="orders", payload={"name": name}, event_id=name, **values)


async def until(ask):
    async with asyncio.timeout(20):
        while not (answer := await ask()):
            await asyncio.sleep(0.01)
    return answer


async def test_an_event_comes_back_as_it_was_given(storage):
    given = event(
        "a", aggregate_type="order", aggregate_id="o-1", headers={"trace": "t"}, routing_key="r", partition_key="p"
    )
    assert await storage.insert(given) is given
    found = await storage.get_by_id("a")
    for name in ("saga_id", "aggregate_type", "aggregate_id", "event_type", "payload", "headers", "status"):
        assert getattr(found, name) == getattr(given, name), name
    assert (found.routing_key, found.partition_key, found.retry_count, found.last_error) == ("r", "p", 0, None)
    assert await storage.get_by_id("b") is None
    await storage.insert(event("a", saga_id="other"))
    assert await storage.count() == 1


async def test_what_json_has_not_is_refused(storage):
    with pytest.raises(OutboxStorageError, match="x: set is not"):
        await storage.insert(OutboxEvent(saga_id="s", event_type="t", payload={"x": {1}}))
    with pytest.raises(OutboxStorageError, match="x: object is not"):
        await storage.insert(OutboxEvent(saga_id="s", event_type="t", payload={}, headers={"x": object()}))


async def test_sagaz_own_worker_publishes_from_it_in_the_order_of_each_saga(storage):
    broker = InMemoryBroker()
    await broker.connect()
    for n in range(3):
        for saga_id in ("s1", "s2"):
            await storage.insert(event(f"{saga_id}-{n}", saga_id=saga_id))
    worker = OutboxWorker(storage, broker, OutboxConfig(max_retries=3))
    while await worker.process_batch():
        continue
    ids = [json.loads(message["message"])["event_id"] for message in broker.get_messages("orders")]
    assert sorted(ids) == sorted(f"{saga_id}-{n}" for n in range(3) for saga_id in ("s1", "s2"))
    for saga_id in ("s1", "s2"):
        assert [id_ for id_ in ids if id_.startswith(saga_id)] == [f"{saga_id}-{n}" for n in range(3)]
    assert await storage.get_pending_count() == 0
    assert (await storage.get_by_id("s1-0")).status is OutboxStatus.SENT


async def test_sagaz_own_worker_pauses_between_attempts_and_sets_aside(storage):
    class Refusing(InMemoryBroker):
        async def publish(self, topic, message, headers=None, key=None):
            raise ConnectionError("no")

    broker = Refusing()
    await broker.connect()
    await storage.insert(event("a"))
    worker = OutboxWorker(storage, broker, OutboxConfig(max_retries=2))
    assert await worker.process_batch() == 1
    waiting = await storage.get_by_id("a")
    assert (waiting.status, waiting.retry_count, waiting.last_error) == (OutboxStatus.PENDING, 1, "no")

    async def set_aside():
        await worker.process_batch()
        return await storage.get_dead_letter_events()

    (dead,) = await until(set_aside)
    assert (dead.event_id, dead.retry_count, dead.status) == ("a", 2, OutboxStatus.DEAD_LETTER)
    assert await storage.get_pending_count() == 0


async def test_a_failed_event_is_nobody_elses_until_its_worker_says_what_becomes_of_it(storage):
    await storage.insert(event("a"))
    (claimed,) = await storage.claim_batch("w1")
    assert (claimed.status, claimed.worker_id) == (OutboxStatus.CLAIMED, "w1")
    assert await storage.claim_batch("w2") == []
    failed = await storage.update_status("a", OutboxStatus.FAILED, "no")
    assert (failed.status, failed.retry_count) == (OutboxStatus.FAILED, 1)
    assert await storage.claim_batch("w2") == []
    await storage.update_status("a", OutboxStatus.PENDING)
    assert [claim.event_id for claim in await until(lambda: storage.claim_batch("w2"))] == ["a"]


async def test_a_claim_ends_by_itself(runtime):
    storage = StoreOutboxStorage(runtime.store, claim_seconds=0.1)
    await storage.insert(event("a"))
    assert len(await storage.claim_batch("dies")) == 1
    assert await storage.get_stuck_events() == []
    assert await storage.release_stuck_events() == 0
    assert len(await until(lambda: storage.claim_batch("w2"))) == 1


async def test_events_that_are_too_young_are_left(storage):
    await storage.insert(event("a"))
    assert await storage.claim_batch("w1", older_than_seconds=3600) == []
    assert len(await storage.claim_batch("w1")) == 1


async def test_sagas_on_sagaz_own_engine_publish_through_the_same_outbox(settings, opened):
    async with opened(replace(settings, broker_url="memory://")) as runtime:
        await Two(config=runtime.config).run({}, saga_id="plain-1")
        storage = runtime.config.outbox_storage
        assert [found.event_type for found in await storage.get_events_by_saga("plain-1")] == TOLD
        await runtime.drain()
        await runtime.make_worker(drain=True).run()
        assert [len(runtime.broker.get_messages(topic)) for topic in TOLD] == [1, 1, 1]


async def test_a_durable_run_is_told_of_once(settings, opened):
    from sagaz_durable.sagas import Sagas

    async with opened(replace(settings, broker_url="memory://"), sagas=[Two]) as runtime:
        await Sagas(runtime).run(Two, {}, saga_id="ours")
        assert [found.event_type for found in await runtime.config.outbox_storage.get_events_by_saga("ours")] == TOLD


async def test_everything_can_be_exported_and_imported_elsewhere(storage, opened, settings):
    for name in ("a", "b", "c"):
        await storage.insert(event(name, saga_id=name))
    await storage.update_status("a", OutboxStatus.SENT)
    await storage.update_status("b", OutboxStatus.DEAD_LETTER, "too large")
    records = [record async for record in storage.export_all()]
    async with opened(replace(settings, storage_url="memory://")) as other:
        copy = StoreOutboxStorage(other.store)
        for record in records:
            await copy.import_record(record)
        found = {event.event_id: event for event in [await copy.get_by_id(name) for name in ("a", "b", "c")]}
    assert [found[name].status for name in ("a", "b", "c")] == [
        OutboxStatus.SENT,
        OutboxStatus.DEAD_LETTER,
        OutboxStatus.PENDING,
    ]
    assert found["b"].last_error == "too large"


async def test_only_sent_events_are_archived(storage):
    for name in ("a", "b"):
        await storage.insert(event(name, saga_id=name))
    await storage.update_status("a", OutboxStatus.SENT)
    assert await storage.archive_events(older_than_days=1) == 0
    assert await storage.archive_events(older_than_days=-1) == 1
    assert await storage.count() == 1
    with pytest.raises(OutboxStorageError, match="need manual intervention"):
        await storage.archive_events(statuses=[OutboxStatus.DEAD_LETTER])


async def test_its_health_and_figures(storage):
    await storage.insert(event("a"))
    assert (await storage.health_check()).status is HealthStatus.HEALTHY
    assert (await storage.get_statistics()).pending_records == 1


async def test_an_unknown_event_and_another_transaction_are_refused(storage):
    with pytest.raises(OutboxStorageError, match="no event x"):
        await storage.update_status("x", OutboxStatus.SENT)
    with pytest.raises(OutboxStorageError, match="leave out connection="):
        await storage.update_status("x", OutboxStatus.SENT, connection=object())


async def test_an_insert_joins_the_transaction_of_a_connection(tmp_path, opened, settings):
    import aiosqlite

    path = tmp_path / "shop.db"
    async with opened(replace(settings, storage_url=f"sqlite:///{path}")) as runtime:
        storage = StoreOutboxStorage(runtime.store)
        async with aiosqlite.connect(path) as connection:
            await storage.insert(event("lost"), connection)
            await connection.rollback()
            await storage.insert(event("kept"), connection)
            await connection.commit()
        assert [record.event_id for record in await runtime.store.find_events(EventFilter())] == ["kept"]


async def test_its_events_are_relayed_by_our_workers_too(settings, opened):
    async with opened(replace(settings, broker_url="memory://")) as runtime:
        await runtime.config.outbox_storage.insert(event("a", aggregate_id="o-1", headers={"trace": "t"}))
        await runtime.drain()
        await runtime.make_worker(drain=True).run()
        (message,) = runtime.broker.get_messages("orders")
    assert message["key"] == json.loads(message["message"])["aggregate_id"] == "o-1"
    assert message["headers"]["trace"] == "t"
    assert not any(name.startswith("__") for name in message["headers"])


async def test_a_settled_event_is_as_old_as_its_sending(storage, runtime):
    await storage.insert(event("a"))
    (record,) = await runtime.store.due_events(1, 30)
    await runtime.store.settle_events([EventOutcome(record.id, "sent")])
    assert abs((await storage.get_by_id("a")).sent_at - datetime.now(UTC)) < timedelta(minutes=1)
