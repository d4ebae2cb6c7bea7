"""Signals that came in time, or were taken once, are not lost: whatever fails then, and whenever a claim comes."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime, timedelta

import pytest
from sagaz import RecoveryAction, Saga, action, compensate, forward_recovery

from sagaz_durable.sagas import Sagas
from sagaz_integration_core.context.current_step import current_step
from sagaz_integration_core.errors import SignalTimeout

pytestmark = pytest.mark.anyio

LATER = datetime.now(UTC) + timedelta(days=1)


async def waiting(runtime, saga_id):
    async with asyncio.timeout(20):
        while (await runtime.store.load(saga_id)).status != "waiting":
            await asyncio.sleep(0.01)


async def note_of(runtime):
    """Return the store's time, as it stamps a run that is started."""
    return (await runtime.store.load(await Sagas(runtime).start(Vote, {}, not_before=LATER))).created_at


async def taken(runtime, saga_id):
    """Return what waits of the run have come to, by name."""
    return {wait.name: wait.outcome for wait in await runtime.store.load_waits(saga_id)}


class Vote(Saga):
    @action("ask")
    async def ask(self, ctx):
        async with asyncio.TaskGroup() as group:
            for key in "ab":
                group.create_task(current_step().signal("vote", key=key, timeout=0.1))


async def test_two_votes_that_came_in_time_are_counted_although_no_worker_looked_until_later(runtime, ended):
    worker = runtime.make_worker()
    worker.start()
    saga_id = await Sagas(runtime).start(Vote, {})
    await waiting(runtime, saga_id)
    worker.stop()
    await worker.stopped()
    for n, key in enumerate("ab"):
        await Sagas(runtime).send_signal("vote", {"n": n}, key=key)
    over = max(wait.until for wait in await runtime.store.load_waits(saga_id))
    async with asyncio.timeout(20):
        # The store's clock: it stamps what is written.
        while (await note_of(runtime)) <= over:
            await asyncio.sleep(0.01)
    again = runtime.make_worker()
    again.start()
    record = await ended(runtime, saga_id)
    again.stop()
    await again.stopped()
    assert (record.status, record.error) == ("completed", None)


def refunding(fails):
    class Refunding(Saga):
        @action("pay")
        async def pay(self, ctx): ...

        @compensate("pay")
        async def refund(self, ctx):
            said = await current_step().signal("refunded", key="pi_1")
            if next(fails) == 0:
                raise ConnectionError("no database")
            assert said == {"n": 1}

        @action("ship", depends_on=["pay"])
        async def ship(self, ctx):
            raise ValueError("no truck")

    return Refunding


async def test_a_compensation_that_took_its_signal_and_failed_has_it_when_an_operator_retries(working, ended):
    saga_id = await Sagas(working).start(refunding(itertools.count()), {})
    await waiting(working, saga_id)
    assert await Sagas(working).send_signal("refunded", {"n": 1}, key="pi_1", signal_id="evt_1")
    assert (await ended(working, saga_id)).status == "failed"
    assert (await Sagas(working).retry(saga_id, by="ann")).done
    assert (await ended(working, saga_id)).status == "rolled_back"
    assert not await Sagas(working).send_signal("refunded", {"n": 1}, key="pi_1", signal_id="evt_1")
    assert await taken(working, saga_id) == {}


def delivering(calls, *, handler=None):
    class Delivering(Saga):
        @action("pay", pivot=True)
        async def pay(self, ctx): ...

        @action("pack", depends_on=["pay"])
        async def pack(self, ctx):
            if "beside" in ctx:
                calls.append(("packed", (await current_step().signal("packed"))["n"]))
                await current_step().signal("checked")

        @action("deliver", depends_on=["pay"])
        async def deliver(self, ctx):
            calls.append(("delivered", (await current_step().signal("delivered"))["n"]))
            if len(calls) == ctx["fails"]:
                raise ConnectionError("no printer")

        if handler is not None:
            again = forward_recovery("deliver")(handler)

    return Delivering


async def test_a_step_behind_a_pivot_that_took_its_signal_and_failed_has_it_when_an_operator_retries(working, ended):
    calls = []
    saga_id = await Sagas(working).start(delivering(calls), {"fails": 1})
    await waiting(working, saga_id)
    await Sagas(working).send_signal("delivered", {"n": 7}, saga_id=saga_id)
    assert (await ended(working, saga_id)).status == "failed"
    assert await taken(working, saga_id) == {"delivered": "signal"}
    assert (await Sagas(working).retry(saga_id, by="ann")).done
    assert (await ended(working, saga_id)).status == "completed"
    assert calls == [("delivered", 7), ("delivered", 7)]


async def test_so_has_a_step_that_waited_beside_it_and_what_it_still_waited_for_is_waited_for_anew(working, ended):
    calls = []
    saga_id = await Sagas(working).start(delivering(calls), {"fails": 2, "beside": True})
    await waiting(working, saga_id)
    await Sagas(working).send_signal("packed", {"n": 1}, saga_id=saga_id)
    async with asyncio.timeout(20):
        while (await taken(working, saga_id)).get("checked", "unknown") is not None:
            await asyncio.sleep(0.01)
    await Sagas(working).send_signal("delivered", {"n": 7}, saga_id=saga_id)
    assert (await ended(working, saga_id)).status == "failed"
    assert await taken(working, saga_id) == {"delivered": "signal", "packed": "signal"}
    assert (await Sagas(working).retry(saga_id, by="ann")).done
    await waiting(working, saga_id)
    await Sagas(working).send_signal("checked", saga_id=saga_id)
    assert (await ended(working, saga_id)).status == "completed"
    assert set(calls) == {("packed", 1), ("delivered", 7)}


async def test_so_has_a_step_beside_it_that_comes_to_its_next_wait_only_then(working, ended):
    calls, packed, failed = [], asyncio.Event(), asyncio.Event()

    class Packing(Saga):
        @action("pay", pivot=True)
        async def pay(self, ctx): ...

        @action("pack", depends_on=["pay"])
        async def pack(self, ctx):
            calls.append((await current_step().signal("packed"))["n"])
            packed.set()
            await failed.wait()
            await current_step().signal("checked", timeout=0)

        @action("deliver", depends_on=["pay"])
        async def deliver(self, ctx):
            await current_step().signal("delivered")
            await packed.wait()
            asyncio.get_running_loop().call_later(0.05, failed.set)
            raise ConnectionError("no printer")

        @compensate("pack")
        async def unpack(self, ctx): ...

    saga_id = await Sagas(working).start(Packing, {})
    for name in ("packed", "delivered"):
        await Sagas(working).send_signal(name, {"n": 7}, saga_id=saga_id)
    assert (await ended(working, saga_id)).status == "failed"
    assert await taken(working, saga_id) == {"packed": "signal", "delivered": "signal"}


async def test_so_has_one_that_a_person_gave_up_before_somebody_retried_it(working, ended):
    async def handler(self, ctx, error):
        return RecoveryAction.MANUAL_INTERVENTION

    calls = []
    saga_id = await Sagas(working).start(delivering(calls, handler=handler), {"fails": 1})
    await waiting(working, saga_id)
    await Sagas(working).send_signal("delivered", {"n": 7}, saga_id=saga_id)
    async with asyncio.timeout(20):
        while not (asked := [name for name in await taken(working, saga_id) if name.startswith("sagaz:")]):
            await asyncio.sleep(0.01)
    await Sagas(working).send_signal(asked[0], {"action": "give_up"}, saga_id=saga_id)
    assert (await ended(working, saga_id)).status == "failed"
    assert (await Sagas(working).retry(saga_id, by="ann")).done
    assert (await ended(working, saga_id)).status == "completed"
    assert calls == [("delivered", 7), ("delivered", 7)]


async def test_a_step_that_is_called_again_has_its_signal_although_another_one_did_not_come_in_time(working, ended):
    calls = []

    class Picking(Saga):
        @action("pay", pivot=True)
        async def pay(self, ctx): ...

        @action("pick", depends_on=["pay"])
        async def pick(self, ctx):
            calls.append((await current_step().signal("picked"))["n"])
            try:
                calls.append((await current_step().signal("note", timeout=0.05))["n"])
            except SignalTimeout:
                calls.append("no note")
            if calls.count("no note") == 1:
                raise ConnectionError("no printer")

        @forward_recovery("pick")
        async def again(self, ctx, error):
            return RecoveryAction.RETRY

    saga_id = await Sagas(working).start(Picking, {})
    await waiting(working, saga_id)
    await Sagas(working).send_signal("picked", {"n": 7}, saga_id=saga_id)
    assert (await ended(working, saga_id)).status == "completed"
    # What did not come in time is waited for anew, and may come then.
    assert set(calls) == {7, "no note"}
    assert calls.count("no note") == 2
