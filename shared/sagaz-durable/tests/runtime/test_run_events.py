"""The events of runs: sagaz's own topics and payloads, one id for each thing that happened, and none that is lost."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace

import pytest
from sagaz import Saga, SagaConfig, action, compensate
from sagaz.core.listeners import OutboxSagaListener
from sagaz.core.storage.backends.memory.outbox import InMemoryOutboxStorage

from sagaz_durable.outbox.run_events import EventLog
from sagaz_durable.runtime import new_run
from sagaz_durable.sagas import Sagas
from sagaz_integration_core.contract.events import EventFilter
from sagaz_integration_core.contract.records import RunWrite, StepWrite


class Order(Saga):
    """Fails where the context says."""

    saga_name = "order"

    @action("reserve")
    async def reserve(self, ctx):
        return {"reserved": 2, "sku": ctx["sku"]}

    @compensate("reserve")
    async def release(self, ctx):
        return None

    @action("charge", depends_on=["reserve"])
    async def charge(self, ctx):
        if ctx.get("fails") == "charge":
            raise ValueError("card refused: \u00fc")
        return {"charge_id": "ch_1", "nested": {"a": [1, 2.5, None, True]}}

    @compensate("charge")
    async def refund(self, ctx):
        if ctx.get("breaks"):
            raise RuntimeError("bank is closed")

    @action("tell", depends_on=["charge"])
    async def tell(self, ctx):
        return None

    @action("ship", depends_on=["tell"])
    async def ship(self, ctx):
        if ctx.get("fails") == "ship":
            raise LookupError
        ctx["shipped"] = True


CONTEXTS = {
    "completed": {"sku": "x"},
    "first_step_undone": {"sku": "x", "fails": "charge"},
    "all_undone": {"sku": "x", "fails": "ship"},
    "compensation_fails": {"sku": "x", "fails": "ship", "breaks": True},
}


async def of_sagaz(context):
    """Return what sagaz's own listener writes about a run on its own engine."""
    outbox = InMemoryOutboxStorage()

    class Listened(Order):
        listeners = [OutboxSagaListener(storage=outbox)]

    with contextlib.suppress(ValueError, LookupError):
        await Listened().run(dict(context), saga_id="run-1")
    return [(event.event_type, event.payload) for event in await outbox.get_events_by_saga("run-1")]


def with_broker(settings):
    return replace(settings, broker_url="memory://")


async def of_ours(runtime, saga_id):
    return [
        (event.topic, json.loads(event.payload))
        for event in await runtime.store.find_events(EventFilter(saga_id=saga_id, limit=1000))
    ]


@pytest.mark.parametrize("name", CONTEXTS)
async def test_topics_and_payloads_are_those_of_sagaz_own_listener(settings, opened, name):
    theirs = await of_sagaz(CONTEXTS[name])
    assert len(theirs) >= 4
    async with opened(with_broker(settings), sagas=[Order]) as runtime:
        with contextlib.suppress(ValueError, LookupError):
            await Sagas(runtime).run(Order, CONTEXTS[name], saga_id="run-1")
        assert await of_ours(runtime, "run-1") == theirs


async def test_the_message_is_what_sagaz_own_worker_would_publish(settings, opened):
    async with opened(with_broker(settings), sagas=[Order]) as runtime:
        await Sagas(runtime).run(Order, {"sku": "x"}, saga_id="run-1")
        await runtime.make_worker(drain=True).run()
        await runtime.drain()
        (message,) = runtime.broker.get_messages("order.reserve.success")
        body = json.loads(message["message"])
        (row,) = await runtime.store.find_events(EventFilter(topic="order.reserve.success"))
    assert body == {
        "event_id": row.event_id,
        "saga_id": "run-1",
        "aggregate_type": "saga",
        "aggregate_id": "run-1",
        "event_type": "order.reserve.success",
        "payload": {"step": "reserve", "result": {"reserved": 2, "sku": "x"}},
        "timestamp": row.created_at.isoformat(),
    }
    assert message["key"] == "run-1"
    assert message["headers"] == {
        "event_id": row.event_id,
        "saga_id": "run-1",
        "event_type": "order.reserve.success",
        "content_type": "application/json",
    }


async def test_without_a_broker_nothing_is_written(runtime):
    runtime.registry.add(Order)
    await Sagas(runtime).run(Order, {"sku": "x"}, saga_id="run-1")
    assert await of_ours(runtime, "run-1") == []


async def test_a_broker_of_the_applications_own_config_is_enough(settings, opened):
    from sagaz.core.outbox.brokers.memory import InMemoryBroker

    broker = InMemoryBroker()
    async with opened(settings, sagas=[Order], worker=True, config=SagaConfig(broker=broker)) as runtime:
        await Sagas(runtime).run(Order, {"sku": "x"}, saga_id="run-1")
    assert len(broker.get_messages("order.completed")) == 1


async def test_an_id_tells_the_run_the_attempt_and_what_happened(settings, opened):
    async with opened(with_broker(settings), sagas=[Order]) as runtime:
        await Sagas(runtime).run(Order, {"sku": "x"}, saga_id="run-1")
        events = await runtime.store.find_events(EventFilter(saga_id="run-1"))
    assert len({event.event_id for event in events}) == len(events)
    again = EventLog("run-1", "order", None, 1, enabled=True)
    assert again.completed()[0].event_id == EventLog("run-1", "order", None, 1, enabled=True).completed()[0].event_id
    later = EventLog("run-1", "order", None, 2, enabled=True)
    other = EventLog("run-2", "order", None, 1, enabled=True)
    assert len({log.completed()[0].event_id for log in (again, later, other)}) == 3
    assert again.failed("x")[0].event_id == again.failed("y")[0].event_id


async def test_a_write_that_is_sent_again_because_its_answer_was_lost_tells_of_it_once(settings, opened):
    async with opened(with_broker(settings), sagas=[Order]) as runtime:
        await runtime.drain()
        run = new_run.new_run(runtime.configuration, Order, {"sku": "x"}, saga_id="run-1")
        await runtime.store.insert([run], 30)
        (claimed,) = await runtime.store.claim("w1", 1, 30, {"order": ()}, saga_ids=["run-1"])
        log = EventLog("run-1", "order", None, claimed.attempt, enabled=True)
        done = RunWrite(
            "run-1", "w1", claimed.attempt, (StepWrite("reserve", "do", "done"),), log.step_done("reserve", None)
        )
        for _ in range(2):
            assert await runtime.store.write([done]) == [True]
        assert [topic for topic, _ in await of_ours(runtime, "run-1")] == ["order.reserve.success"]


async def test_a_step_that_returns_what_cannot_be_published_fails_as_one_whose_result_cannot_be_kept(settings, opened):
    class Odd(Saga):
        saga_name = "odd"

        @action("one")
        async def one(self, ctx):
            return {"numbers": [True], "odd": ctx["odd"]}

        @action("two", depends_on=["one"])
        async def two(self, ctx):
            return {"odd": [frozenset()]}

    async with opened(with_broker(settings), sagas=[Odd]) as runtime:
        with pytest.raises(ValueError, match="frozenset"):
            await Sagas(runtime).run(Odd, {"odd": [1]}, saga_id="run-1")
        assert [topic for topic, _ in await of_ours(runtime, "run-1")][-1] == "odd.failed"


async def test_a_run_that_is_rolled_back_by_another_process_says_what_the_step_had_said(shared_settings, opened):
    async with opened(with_broker(shared_settings), sagas=[Order]) as runtime:
        run = new_run.new_run(runtime.configuration, Order, {"sku": "x", "fails": "charge"}, saga_id="run-1")
        await runtime.store.insert([run], 30)
        (claimed,) = await runtime.store.claim("gone", 1, 0.05, {"order": ()}, saga_ids=["run-1"])
        steps = (
            StepWrite("reserve", "do", "started"),
            StepWrite("reserve", "do", "done"),
            StepWrite("charge", "do", "started"),
            StepWrite("charge", "do", "failed", None, "ValueError: card refused: twice"),
        )
        write = RunWrite("run-1", "gone", claimed.attempt, steps, status="compensating", error="step 'charge': …")
        assert await runtime.store.write([write]) == [True]
        while (await runtime.store.load("run-1")).status != "rolled_back":
            await runtime.make_worker(drain=True).run()
        assert (await of_ours(runtime, "run-1"))[-1] == (
            "order.failed",
            {"saga_id": "run-1", "status": "failed", "error": "card refused: twice"},
        )
