"""How events come to a broker: at least once, in order, whatever becomes of the broker or of one event."""

from __future__ import annotations

import asyncio
import inspect
import socket
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sagaz import SagaConfig
from scripted_broker import ScriptedBroker

from sagaz_durable._upstream import broker_connection as publishing
from sagaz_durable.operations import checking
from sagaz_integration_core.contract.events import EventFilter, NewEvent
from sagaz_integration_core.errors import StoreUnavailable


@pytest.fixture
def patient(settings):
    return replace(settings, event_attempts=3, backoff_seconds=0.02, backoff_max_seconds=0.1)


@pytest.fixture
def serving(patient, opened):
    """Opens a runtime with a worker, on a broker; the store is there again for the next one."""
    return lambda broker, settings=patient: opened(settings, worker=True, config=SagaConfig(broker=broker))


def event(name, key=None, topic="orders"):
    return NewEvent(name, key or name, topic, "{}", "{}")


async def until(ask, seconds=15.0):
    deadline = time.monotonic() + seconds
    while not (answer := await ask() if inspect.iscoroutinefunction(ask) else ask()):
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.005)
    return answer


async def found(runtime, *names):
    return {e.event_id: e for e in await runtime.store.find_events(EventFilter(event_ids=names, limit=1000))}


async def all_sent(runtime, *names):
    async def sent():
        return {e.status for e in (await found(runtime, *names)).values()} == {"sent"}

    await until(sent)


async def tidied(runtime):
    """Return when sent events have been looked through once more."""
    runtime.relay._next_tidying = 0.0
    await until(lambda: runtime.relay._next_tidying)


async def test_events_of_one_key_arrive_in_order_and_the_others_beside_them(serving):
    broker = ScriptedBroker()
    async with serving(broker) as runtime:
        names = [f"{key}{n}" for key in "abcdefghij" for n in range(8)]
        await runtime.store.insert_events([event(name, key=name[0]) for name in names])
        await all_sent(runtime, *names)
    assert sorted(broker.ids) == names
    for key in "abcdefghij":
        assert [name for name in broker.ids if name[0] == key] == [f"{key}{n}" for n in range(8)]


async def test_an_outage_charges_nobody_and_everything_arrives_in_order_after_it(serving):
    broker = ScriptedBroker()
    async with serving(broker) as runtime:
        await runtime.store.insert_events([event("first")])
        await until(lambda: "first" in broker.ids)
        broker.up = False
        broker.break_connection()
        names = [f"{key}{n}" for key in "abcd" for n in range(3)]
        await runtime.store.insert_events([event(name, key=name[0]) for name in names])
        await until(lambda: runtime.relay._outages >= 3)
        assert {(e.attempts, e.status) for e in (await found(runtime, *names)).values()} == {(0, "pending")}
        broker.up = True
        await all_sent(runtime, *names)
    for key in "abcd":
        assert [name for name in broker.ids if name[0] == key] == [f"{key}{n}" for n in range(3)]


async def test_a_connection_that_was_lost_meanwhile_charges_nobody(serving):
    broker = ScriptedBroker()
    async with serving(broker) as runtime:
        await runtime.store.insert_events([event("first")])
        await all_sent(runtime, "first")
        broker.break_connection()
        names = [f"e{n}" for n in range(10)]
        await runtime.store.insert_events([event(name) for name in names])
        await all_sent(runtime, *names)
        assert {e.attempts for e in (await found(runtime, *names)).values()} == {0}
    assert broker.connects >= 2


async def test_a_broker_that_answers_nobody_charges_nobody(serving):
    broker = ScriptedBroker()
    async with serving(broker) as runtime:
        await runtime.store.insert_events([event("first")])
        await all_sent(runtime, "first")
        broker.silent = True
        names = [f"e{n}" for n in range(40)]
        await runtime.store.insert_events([event(name) for name in names])
        await until(lambda: runtime.relay._outages >= 1)
        broker.silent = False
        await all_sent(runtime, *names)
        assert {e.attempts for e in (await found(runtime, *names)).values()} == {0}


async def test_a_broker_that_is_there_and_takes_nothing_charges_nobody(serving):
    broker = ScriptedBroker()
    broker.poison["orders"] = "full"
    async with serving(broker) as runtime:
        await runtime.store.insert_events([event("a1", key="a"), event("a2", key="a"), event("b")])
        await until(lambda: runtime.relay._outages >= 3)
        broker.poison.clear()
        await all_sent(runtime, "a1", "a2", "b")
        assert {e.attempts for e in (await found(runtime, "a1", "a2", "b")).values()} == {0}


@pytest.mark.parametrize("misdeed", ["refused", "breaks", "hangs"])
async def test_a_poison_event_is_set_aside_and_holds_up_only_what_follows_it(serving, misdeed):
    broker = ScriptedBroker()
    broker.poison["poison"] = misdeed
    async with serving(broker) as runtime:
        await runtime.store.insert_events([event("p1", "p", "poison"), event("p2", "p")])
        sent = 0

        async def set_aside():
            # A living system: others are published all the time.
            nonlocal sent
            sent += 1
            await runtime.store.insert_events([event(f"other-{sent}")])
            await until(lambda: f"other-{sent}" in broker.ids)
            return (await found(runtime, "p1"))["p1"].status == "dead"

        await until(set_aside)
        await all_sent(runtime, "p2", *(f"other-{n}" for n in range(1, sent + 1)))
        dead = (await found(runtime, "p1"))["p1"]
        assert dead.attempts == 3
        assert dead.error
        others = await found(runtime, *(f"other-{n}" for n in range(1, sent + 1)))
        assert {e.attempts for e in others.values()} == {0}
    assert "p1" not in broker.ids


@pytest.mark.parametrize("misdeed", ["refused", "breaks"])
async def test_a_poison_event_that_is_alone_is_set_aside_too(serving, misdeed):
    broker = ScriptedBroker()
    broker.poison["poison"] = misdeed
    async with serving(broker) as runtime:
        await runtime.store.insert_events([event("p1", "p", "poison"), event("p2", "p")])
        await all_sent(runtime, "p2")
        assert (await found(runtime, "p1"))["p1"].status == "dead"


async def test_an_event_that_failed_is_not_published_again_before_its_pause_is_over(serving, patient):
    broker = ScriptedBroker()
    broker.poison["poison"] = "refused"
    async with serving(broker, replace(patient, backoff_seconds=1000, backoff_max_seconds=1000)) as runtime:
        await runtime.store.insert_events([event("p1", "p", "poison")])

        async def charged():
            return (await found(runtime, "p1"))["p1"].attempts

        await until(charged)
        pause = (await found(runtime, "p1"))["p1"].available_at - datetime.now(UTC)
        assert pause > timedelta(seconds=400)


async def test_a_retried_event_goes_out_when_its_fault_is_mended(serving):
    broker = ScriptedBroker()
    broker.poison["poison"] = "refused"
    async with serving(broker) as runtime:
        await runtime.store.insert_events([event("p1", topic="poison")])

        async def set_aside():
            return (await found(runtime, "p1"))["p1"].status == "dead"

        await until(set_aside)
        broker.poison.clear()
        assert await runtime.store.retry_events(["p1"]) == ["p1"]
        await all_sent(runtime, "p1")
    assert broker.ids == ["p1"]


async def test_a_worker_that_stops_gives_back_what_it_has_leased(shared_settings, opened):
    broker = ScriptedBroker(publish_seconds=30)
    broker.silent = True
    await broker_connected(broker)
    async with opened(shared_settings, worker=True, config=SagaConfig(broker=broker)) as runtime:
        await runtime.store.insert_events([event(f"e{n}") for n in range(5)])
        await until(lambda: len(broker.tries) == 5)
    other = ScriptedBroker()
    async with opened(shared_settings, worker=True, config=SagaConfig(broker=other)) as runtime:
        began = time.monotonic()
        await all_sent(runtime, *(f"e{n}" for n in range(5)))
        assert time.monotonic() - began < 20, "they waited for a lease of 30 s or more"


async def broker_connected(broker):
    silent, broker.silent = broker.silent, False
    await broker.connect()
    broker.silent = silent


@pytest.mark.parametrize("url", ["amqp://me:secret@127.0.0.1:{}/", "redis://127.0.0.1:{}/0"])
async def test_a_broker_that_accepts_connections_and_never_answers_is_away(url, patient, opened, monkeypatch, caplog):
    monkeypatch.setattr(publishing, "_CONNECT_SECONDS", 0.2)
    # Connections are accepted by the kernel, and nobody ever reads from them.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = replace(patient, broker_url=url.format(silent.getsockname()[1]))
        async with opened(settings) as runtime:
            await runtime.store.insert_events([event("e1")])
            async with asyncio.timeout(20):
                await runtime.make_worker(drain=True).run()
            told = await checking.check(runtime, checking.Limits(max_event_age=0))
            assert (await found(runtime, "e1"))["e1"].attempts == 0, "an outage charges no event"
    assert "The broker is unreachable (1 times in a row); events wait: no answer within 0.2 s" in caplog.text
    assert "Look whether the broker answers" in told.problem
    assert "secret" not in caplog.text + told.problem


async def test_what_was_committed_last_leaves_before_the_process_does(serving):
    broker = ScriptedBroker()
    async with serving(broker) as runtime:
        await runtime.drain()
        await runtime.store.insert_events([event("last")])
    assert broker.ids == ["last"]


async def test_a_draining_worker_publishes_everything_and_returns(shared_settings, opened):
    broker = ScriptedBroker()
    names = [f"{key}{n}" for key in "abc" for n in range(5)]
    async with opened(shared_settings, config=SagaConfig(broker=broker)) as runtime:
        await runtime.store.insert_events([event(name, key=name[0]) for name in names])
        async with asyncio.timeout(20):
            await runtime.make_worker(drain=True).run()
        assert sorted(broker.ids) == names


async def test_a_draining_worker_does_not_wait_for_a_broker_that_is_away(shared_settings, opened):
    broker = ScriptedBroker()
    broker.up = False
    async with opened(shared_settings, config=SagaConfig(broker=broker)) as runtime:
        await runtime.store.insert_events([event("waits")])
        async with asyncio.timeout(20):
            await runtime.make_worker(drain=True).run()
        assert (await found(runtime, "waits"))["waits"].status == "pending"


async def test_several_workers_publish_everything_in_order(shared_settings, opened):
    brokers = [ScriptedBroker() for _ in range(3)]
    order = []
    for broker in brokers:
        broker.taken = order
    names = [f"{key}{n}" for key in "abcdefgh" for n in range(6)]
    async with (
        opened(shared_settings, worker=True, config=SagaConfig(broker=brokers[0])) as runtime,
        opened(shared_settings, worker=True, config=SagaConfig(broker=brokers[1])),
        opened(shared_settings, worker=True, config=SagaConfig(broker=brokers[2])),
    ):
        await runtime.store.insert_events([event(name, key=name[0]) for name in names])
        await all_sent(runtime, *names)
    ids = [message["event_id"] for message in order]
    assert sorted(ids) == names
    for key in "abcdefgh":
        assert [name for name in ids if name[0] == key] == [f"{key}{n}" for n in range(6)]


async def test_a_store_that_is_away_for_a_moment_loses_nothing(serving, monkeypatch):
    broker = ScriptedBroker()
    async with serving(broker) as runtime:
        settle, failures = runtime.store.settle_events, 2

        async def failing(outcomes):
            nonlocal failures
            failures -= 1
            if failures >= 0:
                raise StoreUnavailable("away")
            await settle(outcomes)

        monkeypatch.setattr(runtime.store, "settle_events", failing)
        await runtime.store.insert_events([event("a"), event("b")])
        await all_sent(runtime, "a", "b")
    assert sorted(broker.ids) == ["a", "b"]


async def test_a_relay_survives_what_nobody_expected(serving, monkeypatch):
    broker = ScriptedBroker()
    async with serving(broker) as runtime:
        due, failures = runtime.store.due_events, 1

        async def failing(limit, seconds):
            nonlocal failures
            failures -= 1
            if failures >= 0:
                raise ZeroDivisionError
            return await due(limit, seconds)

        monkeypatch.setattr(runtime.store, "due_events", failing)
        await runtime.store.insert_events([event("a")])
        await all_sent(runtime, "a")


async def test_sent_events_are_kept_for_their_time_and_then_deleted(serving, patient):
    broker = ScriptedBroker()
    async with serving(broker) as runtime:
        await runtime.store.insert_events([event("a"), event("b", topic="poison")])
        await all_sent(runtime, "a", "b")
        await tidied(runtime)
        assert len(await found(runtime, "a", "b")) == 2
        runtime.relay._settings = replace(patient, keep_sent_seconds=0)
        await tidied(runtime)
        assert not await found(runtime, "a", "b")


async def test_a_broker_that_hangs_holds_up_neither_the_end_nor_the_next_connection(serving):
    broker = ScriptedBroker()
    async with serving(broker) as runtime:
        await runtime.store.insert_events([event("a")])
        await all_sent(runtime, "a")
        broker.silent = True
        began = time.monotonic()
    assert time.monotonic() - began < 15


@pytest.mark.parametrize("kind", ["AuthenticationError", "ProbableAuthenticationError", "ValueError", "TypeError"])
async def test_a_broker_that_refuses_its_configuration_is_an_error_and_no_outage(serving, caplog, kind):
    broker = ScriptedBroker()
    broker.refuses = type(kind, (Exception,), {})("wrong username-password pair")
    async with serving(broker) as runtime:
        await runtime.store.insert_events([event("first")])
        await until(lambda: "refuses what is configured" in caplog.text)
        assert (await found(runtime, "first"))["first"].attempts == 0
    [record] = [r for r in caplog.records if "refuses what is configured" in r.getMessage()]
    assert record.levelname == "ERROR"
    assert "wrong username-password pair" in record.getMessage()
    assert "Check user, password, rights and options of SAGAZ_BROKER_URL" in record.getMessage()
    assert "The broker is unreachable" not in caplog.text
