"""One relay and one real broker: taken away, frozen, given what it refuses."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.sagas import Sagas
from sagaz_durable.settings.settings import Settings
from sagaz_integration_core.contract.events import EventFilter, NewEvent, OutboxRecord
from support.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


@asynccontextmanager
async def serving(broker, tmp_path) -> AsyncIterator[SagazRuntime]:
    """An application with a worker, whose broker has a second to answer."""
    settings = Settings(
        storage_url=f"sqlite:///{tmp_path / 'sagaz.db'}", broker_url=broker.url, event_attempts=3, poll_seconds=0.05,
        backoff_seconds=0.05, backoff_max_seconds=0.2,
    )  # fmt: skip
    runtime = SagazRuntime(settings, worker=True)
    await runtime.open()
    assert runtime.relay is not None
    runtime.relay._line.publish_seconds = 1.0
    await runtime.begin()
    try:
        yield runtime
    finally:
        await runtime.close()


async def insert(runtime, *names, topic="orders.placed", payload="{}"):
    await runtime.store.insert_events([NewEvent(name, name[0], topic, payload) for name in names])


async def found(runtime, *names) -> dict[str, OutboxRecord]:
    events = await runtime.store.find_events(EventFilter(event_ids=names, limit=1_000))
    return {event.event_id: event for event in events}


async def all_sent(runtime, *names, seconds=60.0):
    async def sent():
        return {event.status for event in (await found(runtime, *names)).values()} == {"sent"}

    await until(sent, f"{len(names)} events are sent", seconds)


async def arrived(broker):
    """Return the ids in the order in which they arrived first."""
    return list(dict.fromkeys(message.event_id for message in await broker.messages()))


async def uncharged(runtime, *names):
    return {event.attempts for event in (await found(runtime, *names)).values()} == {0}


def of(key, ids):
    return [name for name in ids if name[0] == key and len(name) == 2]


NAMES = [f"{key}{n}" for key in "abcdefgh" for n in range(5)]
MORE = [f"{key}{n}" for key in "abcdefgh" for n in range(5, 10)]


async def test_events_arrive_with_their_headers_and_in_order(broker, tmp_path):
    await broker.prepare()
    async with serving(broker, tmp_path) as runtime:
        event_id = await Sagas(runtime).publish("orders.placed", {"n": 1}, key="z", headers={"tenant": "Zo\u00eb"})
        await insert(runtime, *NAMES)
        await all_sent(runtime, event_id, *NAMES)
    messages = {message.event_id: message for message in await broker.messages()}
    assert messages.keys() == {event_id, *NAMES}
    own = messages[event_id]
    assert (own.body["payload"], own.body["event_type"], own.headers["tenant"]) == (
        {"n": 1},
        "orders.placed",
        "Zo\u00eb",
    )
    ids = await arrived(broker)
    assert [of(key, ids) for key in "abcdefgh"] == [of(key, NAMES) for key in "abcdefgh"]


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_a_broker_that_is_stopped_or_killed_charges_nobody_and_gets_everything(broker, tmp_path, end):
    await broker.prepare()
    async with serving(broker, tmp_path) as runtime:
        await insert(runtime, *NAMES)
        await all_sent(runtime, *NAMES)
        getattr(broker.server, end)()
        await insert(runtime, *MORE)
        await until(lambda: _outages(runtime, 2), "the outage is noticed")
        assert await uncharged(runtime, *MORE)
        broker.server.start()
        await all_sent(runtime, *MORE)
        assert await uncharged(runtime, *MORE)
    ids = await arrived(broker)
    assert [of(key, ids) for key in "abcdefgh"] == [of(key, [*NAMES, *MORE]) for key in "abcdefgh"]


async def _outages(runtime, number):
    return runtime.relay._outages >= number


async def test_a_broker_that_freezes_charges_nobody_and_gets_everything(broker, tmp_path):
    await broker.prepare()
    async with serving(broker, tmp_path) as runtime:
        await insert(runtime, *NAMES)
        await all_sent(runtime, *NAMES)
        broker.server.freeze()
        await insert(runtime, *MORE)
        await until(lambda: _outages(runtime, 1), "the outage is noticed")
        broker.server.thaw()
        await all_sent(runtime, *MORE)
        assert await uncharged(runtime, *MORE)
    ids = await arrived(broker)
    assert [of(key, ids) for key in "abcdefgh"] == [of(key, [*NAMES, *MORE]) for key in "abcdefgh"]


async def test_a_frozen_broker_does_not_hold_up_the_end_of_the_process(broker, tmp_path):
    async with serving(broker, tmp_path) as runtime:
        await insert(runtime, "a1")
        await all_sent(runtime, "a1")
        broker.server.freeze()
        await insert(runtime, "a2")
        began = time.monotonic()
    assert time.monotonic() - began < 20


async def test_what_the_broker_refuses_for_its_size_is_set_aside_and_holds_up_nobody_else(broker, tmp_path):
    await broker.prepare()
    async with serving(broker, tmp_path) as runtime:
        await insert(runtime, "z1", payload=f'{{"x": "{"y" * broker.too_large}"}}')
        await insert(runtime, "z2", *NAMES)
        await all_sent(runtime, "z2", *NAMES)
        poison = (await found(runtime, "z1"))["z1"]
        assert (poison.status, poison.attempts) == ("dead", 3)
        assert await uncharged(runtime, "z2", *NAMES)
    assert "z1" not in await arrived(broker)


async def test_a_topic_that_the_protocol_has_no_room_for_is_set_aside(broker, tmp_path):
    await broker.prepare()
    async with serving(broker, tmp_path) as runtime:
        await insert(runtime, "z1", topic="t" * 300)
        await insert(runtime, "z2")
        await all_sent(runtime, "z2")
        # Redis has room for it.
        status = (await found(runtime, "z1"))["z1"].status
    assert status == ("sent" if "z1" in await arrived(broker) else "dead")


async def test_no_password_and_no_payload_comes_into_the_log(broker, tmp_path, caplog):
    # At DEBUG the clients tell every byte.
    caplog.set_level(logging.INFO)
    async with serving(broker, tmp_path) as runtime:
        await insert(runtime, "a1", payload='{"card": "4111"}')
        await all_sent(runtime, "a1")
        broker.server.kill()
        await insert(runtime, "a2", payload='{"card": "4111"}')
        await until(lambda: _outages(runtime, 2), "the outage is noticed")
    lines = [record.getMessage() for record in caplog.records if record.name.startswith(("sagaz", "aio", "redis"))]
    assert lines
    assert not [line for line in lines if "guest:guest" in line or "4111" in line]
