"""The application's own events: what is accepted, what comes out at the broker, and what is refused with the fix."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from sagaz_durable.sagas import Sagas
from sagaz_integration_core.context import correlation as context
from sagaz_integration_core.contract.events import EventFilter
from sagaz_integration_core.errors import ContextValueError, RuntimeNotOpen, SagazError, SettingsError


@pytest.fixture
async def runtime(settings, opened):
    async with opened(replace(settings, broker_url="memory://")) as runtime:
        yield runtime


async def messages(runtime, topic):
    async with asyncio.timeout(20):
        while await runtime.store.count_events(EventFilter(statuses=("pending",))):
            await runtime.make_worker(drain=True).run()
    return runtime.broker.get_messages(topic)


async def test_an_event_comes_to_the_broker_as_sagaz_messages_do(runtime):
    with context.bound("c-1"):
        event_id = await Sagas(runtime).publish("orders.placed", {"order": 7}, key="order-7", headers={"tenant": "a"})
    (message,) = await messages(runtime, "orders.placed")
    body = json.loads(message["message"])
    assert body.pop("timestamp")
    assert body == {
        "event_id": event_id,
        "saga_id": "order-7",
        "aggregate_type": "application",
        "aggregate_id": "order-7",
        "event_type": "orders.placed",
        "payload": {"order": 7},
    }
    assert message["key"] == "order-7"
    assert message["headers"] == {
        "event_id": event_id,
        "saga_id": "order-7",
        "event_type": "orders.placed",
        "content_type": "application/json",
        "correlation_id": "c-1",
        "tenant": "a",
    }


async def test_without_a_key_no_event_waits_for_another(runtime):
    ids = [await Sagas(runtime).publish("t", {}) for _ in range(3)]
    events = await runtime.store.find_events(EventFilter(event_ids=tuple(ids)))
    assert [event.saga_id for event in events] == ids


async def test_a_second_event_with_the_same_idempotency_key_is_ignored_sent_or_not(runtime):
    first = await Sagas(runtime).publish("t", {"n": 1}, idempotency_key="k")
    assert await Sagas(runtime).publish("t", {"n": 2}, idempotency_key="k") == first
    assert len(await messages(runtime, "t")) == 1
    assert await Sagas(runtime).publish("t", {"n": 3}, idempotency_key="k") == first
    other = await Sagas(runtime).publish("u", {"n": 4}, idempotency_key="k")
    assert other != first
    assert [json.loads(m["message"])["payload"] for m in await messages(runtime, "t")] == [{"n": 1}]


async def test_a_thread_can_publish_too(runtime):
    event_id = await asyncio.to_thread(Sagas(runtime).publish_sync, "t", {"n": 1})
    (message,) = await messages(runtime, "t")
    assert message["headers"]["event_id"] == event_id


async def test_without_a_broker_the_error_names_the_setting(settings, opened):
    async with opened(settings) as runtime:
        with pytest.raises(SettingsError, match="SAGAZ_BROKER_URL"):
            await Sagas(runtime).publish("t", {})
        assert await runtime.store.count_events(EventFilter()) == 0


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"topic": ""}, "topic must have 1 to 255"),
        ({"topic": "\u00e9" * 128}, "topic must have 1 to 255 printable bytes"),
        ({"topic": 7}, "topic must be a string, not int"),
        ({"topic": "a\nb"}, "printable"),
        ({"key": "k" * 201}, "key must have 1 to 200"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"headers": {"event_id": "x"}}, "'event_id' is sagaz's own"),
        ({"headers": {"__x": "x"}}, "own"),
        ({"headers": {"n": 1}}, "int; pass str"),
        ({"headers": {"n": "\0"}}, "NUL"),
    ],
)
async def test_what_a_broker_would_refuse_is_refused_at_the_door(runtime, arguments, match):
    with pytest.raises(SagazError, match=match):
        await Sagas(runtime).publish(**{"topic": "t", "payload": {}, **arguments})


async def test_a_payload_that_json_has_not_is_refused_with_its_path(runtime):
    with pytest.raises(ContextValueError, match=r"items\[1\]"):
        await Sagas(runtime).publish("t", {"items": [1, {2}]})
    with pytest.raises(ContextValueError, match="the event's payload: expected a dict"):
        await Sagas(runtime).publish("t", [1])
    with pytest.raises(ContextValueError, match="1,048,576 are allowed"):
        await Sagas(runtime).publish("t", {"x": "y" * 1_100_000})


async def test_a_runtime_that_is_shutting_down_takes_no_events(runtime):
    await runtime.drain()
    with pytest.raises(RuntimeNotOpen):
        await Sagas(runtime).publish("t", {})
