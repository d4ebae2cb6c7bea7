"""Runs that are given back before a function of theirs has begun: that is no doubt, and is told once all the same."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest
from sagaz import Saga, SagaListener, action, compensate

from sagaz_durable.sagas import Sagas

pytestmark = pytest.mark.anyio


def ordering(ledger, *, plain=False):
    class Listener(SagaListener):
        async def on_saga_start(self, *told):
            ledger.append("start")

        async def on_step_enter(self, *told):
            ledger.append("enter")

    class Order(Saga):
        listeners = [Listener()]

        if plain:

            @action("charge")
            def charge(self, ctx):
                ledger.append("charge")
                raise ValueError("declined")
        else:

            @action("charge")
            async def charge(self, ctx):
                ledger.append("charge")
                raise ValueError("declined")

        @compensate("charge")
        async def refund(self, ctx):
            ledger.append("refund")

    return Order


def holding(busy, go):
    """Return a saga that tells that it has a thread, and keeps it until it may go."""

    class Holding(Saga):
        @action("hold")
        def hold(self, ctx):
            busy.set()
            go.wait(20)

    return Holding


async def test_a_run_that_a_shutdown_came_before_is_told_of_by_the_next_process_and_not_in_doubt(
    shared_settings, opened, ended, ledger
):
    order = ordering(ledger)
    settings = replace(shared_settings, drain_seconds=0.0)
    async with opened(settings, sagas=[order]) as runtime:
        saga_id = await Sagas(runtime).run_background(order, {})
    assert ledger == []
    async with opened(settings, sagas=[order], worker=True) as runtime:
        [entry] = await runtime.store.load_steps(saga_id) or [None]
        assert (await ended(runtime, saga_id)).status == "rolled_back"
    assert (entry.status, entry.error) in (("failed", "It was not called."), ("failed", "ValueError: declined"))
    assert ledger == ["start", "enter", "charge"], "what failed at its only call has had no effect"


async def test_the_start_that_listeners_were_told_of_before_a_shutdown_is_not_told_again(
    shared_settings, opened, ended, ledger
):
    class Slow(SagaListener):
        async def on_saga_start(self, *told):
            ledger.append("start")
            await asyncio.Event().wait()

    class Order(Saga):
        listeners = [Slow()]

        @action("charge")
        async def charge(self, ctx):
            ledger.append("charge")

    async with opened(replace(shared_settings, drain_seconds=0.0), sagas=[Order], worker=True) as runtime:
        saga_id = await Sagas(runtime).start(Order, {})
        async with asyncio.timeout(20):
            while not ledger:
                await asyncio.sleep(0.01)
    async with opened(shared_settings, sagas=[Order], worker=True) as runtime:
        assert (await ended(runtime, saga_id)).status == "completed"
    assert ledger == ["start", "charge"]


async def test_a_plain_step_that_a_shutdown_came_before_while_it_waited_for_a_thread_is_not_in_doubt(
    shared_settings, opened, ended, ledger
):
    order, go, busy = ordering(ledger, plain=True), threading.Event(), threading.Event()

    Holding = holding(busy, go)
    settings = replace(shared_settings, drain_seconds=0.0, sync_threads=1)
    async with opened(settings, sagas=[order, Holding], worker=True) as runtime:
        await Sagas(runtime).start(Holding, {})
        await asyncio.to_thread(busy.wait, 20)
        saga_id = await Sagas(runtime).start(order, {})
        async with asyncio.timeout(20):
            while "enter" not in ledger:
                await asyncio.sleep(0.01)
    go.set()
    async with opened(settings, sagas=[order], worker=True) as runtime:
        assert (await ended(runtime, saga_id)).status == "rolled_back"
    assert ledger == ["start", "enter", "charge"], "told once"


async def test_a_step_that_was_called_before_the_shutdown_stays_in_doubt(shared_settings, opened, ended, ledger):
    called = asyncio.Event()

    class Slow(Saga):
        @action("charge")
        async def charge(self, ctx):
            ledger.append("charge")
            if len(ledger) == 1:
                called.set()
                await asyncio.Event().wait()
            raise ValueError("declined")

        @compensate("charge")
        async def refund(self, ctx):
            ledger.append("refund")

    settings = replace(shared_settings, drain_seconds=0.0)
    async with opened(settings, sagas=[Slow], worker=True) as runtime:
        saga_id = await Sagas(runtime).start(Slow, {})
        await asyncio.wait_for(called.wait(), 20)
    async with opened(settings, sagas=[Slow], worker=True) as runtime:
        assert (await ended(runtime, saga_id)).status == "rolled_back"
    assert ledger == ["charge", "charge", "refund"]


async def test_a_step_that_was_called_once_stays_in_doubt_although_the_next_process_did_not_come_to_call_it(
    shared_settings, opened, ended, ledger
):
    called, ends, go, busy = threading.Event(), threading.Event(), threading.Event(), threading.Event()

    class Order(Saga):
        @action("charge")
        def charge(self, ctx):
            ledger.append("charge")
            if not called.is_set():
                called.set()
                ends.wait(20)
            raise ValueError("declined")

        @compensate("charge")
        async def refund(self, ctx):
            ledger.append("refund")

    Holding = holding(busy, go)
    settings = replace(shared_settings, drain_seconds=0.0, sync_threads=1)
    async with opened(settings, sagas=[Order], worker=True) as runtime:
        saga_id = await Sagas(runtime).start(Order, {})
        await asyncio.to_thread(called.wait, 20)
    async with opened(settings, sagas=[Holding]) as runtime:
        await Sagas(runtime).start(Holding, {})
        worker = runtime.make_worker()
        worker.start()
        await asyncio.to_thread(busy.wait, 20)
        runtime.registry.add(Order)
        async with asyncio.timeout(20):
            while not ((run := await runtime.store.load(saga_id)).lease_owner and run.attempt == 2):
                await asyncio.sleep(0.01)
        worker.stop()
        await worker.stopped()
    ends.set()
    go.set()
    async with opened(settings, sagas=[Order], worker=True) as runtime:
        assert (await ended(runtime, saga_id)).status == "rolled_back"
    assert ledger == ["charge", "charge", "refund"]
