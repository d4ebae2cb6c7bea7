"""Waits as coroutines where an event loop runs, and as plain calls elsewhere; and steps that get them wrong."""

from __future__ import annotations

import asyncio
import gc
import inspect
from datetime import UTC, datetime, timedelta

import pytest
from sagaz import Saga, action, compensate

from sagaz_durable.runtime.launching import finished_run
from sagaz_durable.runtime.new_run import saga_id_of
from sagaz_durable.sagas import Sagas
from sagaz_durable.settings.settings import Settings
from sagaz_integration_core.context.current_step import current_step
from sagaz_integration_core.errors import RunInProgress, RunWaiting, UsageError

pytestmark = pytest.mark.anyio

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
async def working(opened):
    """A runtime with a worker, in memory: what is shown here does not depend on the store."""
    async with opened(Settings(storage_url="memory://", poll_seconds=0.05), sagas=[]) as runtime:
        worker = runtime.make_worker()
        worker.start()
        yield runtime
        worker.stop()
        await worker.stopped()


def saga_of(step, *, kind=Saga):
    """A saga of one step, which can be compensated; its class tells whether it was."""

    class One(kind):
        saga_name = "one"
        compensated = False

        @compensate("a")
        async def undo(self, ctx):
            One.compensated = True

    One.a = action("a")(step)
    return One


async def waiting(runtime, saga_id):
    async with asyncio.timeout(20):
        while (await runtime.store.load(saga_id)).status != "waiting":
            await asyncio.sleep(0.01)


async def grouped(self, ctx):
    step = current_step()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(step.signal(name)) for name in ("a", "b")]
    return {"got": [task.result()["n"] for task in tasks]}


async def gathered(self, ctx):
    step = current_step()
    return {"got": [one["n"] for one in await asyncio.gather(step.signal("a"), step.signal("b"))]}


async def limited(self, ctx):
    second = current_step().signal("b")
    first = await asyncio.wait_for(current_step().signal("a"), 60)
    return {"got": [first["n"], (await asyncio.wait_for(second, 60))["n"]]}


async def begun_early(self, ctx):
    second = asyncio.create_task(current_step().signal("b"))
    first = await current_step().signal("a")
    return {"got": [first["n"], (await second)["n"]]}


def on_a_loop_of_its_own(self, ctx):
    return asyncio.run(gathered(self, ctx))


def around_an_async_one(self, ctx):
    return gathered(self, ctx)


def in_a_row(self, ctx):
    step = current_step()
    return {"got": [step.signal("a")["n"], step.signal("b")["n"]]}


@pytest.mark.parametrize("order", ["ab", "ba"])
@pytest.mark.parametrize(
    "step", [grouped, gathered, limited, begun_early, on_a_loop_of_its_own, around_an_async_one, in_a_row]
)
async def test_two_signals_may_be_awaited_in_each_way_python_has(working, ended, caplog, step, order):
    saga = saga_of(step)
    saga_id = await Sagas(working).start(saga, {})
    await waiting(working, saga_id)
    for name in order:
        await Sagas(working).send_signal(name, {"n": name}, saga_id=saga_id)
    record = await ended(working, saga_id)
    assert record.status == "completed", record.error
    assert (await finished_run(working, saga_id))["got"] == ["a", "b"]
    gc.collect()
    assert caplog.messages == []


async def test_two_signals_of_one_name_are_told_apart_by_when_they_are_asked_for(working, ended):
    async def backwards(self, ctx):
        first, second = current_step().signal("a"), current_step().signal("a")
        later = await second
        return {"got": [(await first)["n"], later["n"]]}

    saga_id = await Sagas(working).start(saga_of(backwards), {})
    await waiting(working, saga_id)
    for n in (1, 2):
        await Sagas(working).send_signal("a", {"n": n}, saga_id=saga_id, signal_id=str(n))
    assert (await ended(working, saga_id)).status == "completed"
    assert (await finished_run(working, saga_id))["got"] == [1, 2]


async def returned(self, ctx):
    payload = await current_step().signal("paid")
    ctx["assigned"] = payload
    return {"nested": [payload], "kind": type(payload).__name__}


def plainly_returned(self, ctx):
    payload = ctx["assigned"] = current_step().signal("paid")
    return {"nested": [payload], "kind": type(payload).__name__}


@pytest.mark.parametrize("step", [returned, plainly_returned])
async def test_a_signals_payload_is_a_plain_dict_that_the_context_takes(working, ended, step):
    saga_id = await Sagas(working).start(saga_of(step), {})
    await Sagas(working).send_signal("paid", {"amount": 7}, saga_id=saga_id)
    record = await ended(working, saga_id)
    assert record.status == "completed", record.error
    result, paid = await finished_run(working, saga_id), {"amount": 7}
    assert {"assigned": paid, "nested": [paid], "kind": "dict"}.items() <= result.items()


def slept(self, ctx):
    return {"slept": [current_step().sleep(0), current_step().sleep_until(LONG_AGO)]}


async def slept_on_the_loop(self, ctx):
    naps = current_step().sleep(0), current_step().sleep_until(LONG_AGO)
    assert all(map(inspect.iscoroutine, naps))
    return {"slept": [await nap for nap in naps]}


@pytest.mark.parametrize("step", [slept, slept_on_the_loop])
async def test_a_sleep_gives_nothing_back(working, ended, step):
    saga_id = await Sagas(working).start(saga_of(step), {})
    assert (await ended(working, saga_id)).status == "completed"
    assert (await finished_run(working, saga_id))["slept"] == [None, None]


async def forgotten(self, ctx):
    current_step().signal("paid")


async def taken_for_its_payload(self, ctx):
    return {"amount": current_step().signal("paid")["amount"]}


async def asked_like_a_dict(self, ctx):
    return {"amount": current_step().signal("paid").get("amount")}


async def kept(self, ctx):
    ctx["paid"] = current_step().signal("paid")


async def given_back(self, ctx):
    return current_step().signal("paid")


async def left_in_a_task(self, ctx):
    ctx["task"] = asyncio.create_task(current_step().signal("paid"))


async def forgotten_after_another(self, ctx):
    await current_step().sleep(0)
    current_step().signal("paid")


def helper(ctx):
    return current_step().signal("paid")["amount"]


async def in_a_plain_helper(self, ctx):
    return {"amount": helper(ctx)}


async def awaited_at_first_only(self, ctx):
    wait = current_step().signal("paid")
    if current_step().attempt == 1:
        await wait


@pytest.mark.parametrize(
    "step",
    [forgotten, forgotten_after_another, awaited_at_first_only, taken_for_its_payload, asked_like_a_dict, kept,
     given_back, left_in_a_task, in_a_plain_helper],
)  # fmt: skip
async def test_a_wait_that_is_not_awaited_fails_the_step_which_is_compensated(working, ended, recwarn, caplog, step):
    saga = saga_of(step)
    await Sagas(working).send_signal("paid", {"amount": 7}, saga_id=saga_id_of(saga, "k"))
    saga_id = await Sagas(working).start(saga, {}, idempotency_key="k")
    record = await ended(working, saga_id)
    assert record.status == "rolled_back"
    assert "did not await its wait for signal 'paid'" in record.error
    assert "`await current_step().signal(…)`" in record.error
    assert saga.compensated
    gc.collect()
    assert [str(one.message) for one in recwarn] == []
    assert [one for one in caplog.messages if "never retrieved" in one] == []


async def test_a_step_that_fails_before_it_awaits_what_it_asked_for_keeps_its_error(working, recwarn):
    async def declined(self, ctx):
        paid = current_step().signal("paid")
        raise ValueError("declined")
        await paid

    with pytest.raises(ValueError, match="declined"):
        await Sagas(working).run(saga_of(declined), {})
    gc.collect()
    assert [str(one.message) for one in recwarn] == []


async def test_a_step_out_of_time_says_so_whatever_it_had_not_awaited(working, recwarn):
    class Slow(Saga):
        saga_name = "slow"

        @action("a", timeout_seconds=0.05)
        async def a(self, ctx):
            paid = current_step().signal("paid")
            await asyncio.Event().wait()
            await paid

    with pytest.raises(TimeoutError, match="timed out after"):
        await Sagas(working).run(Slow, {})
    gc.collect()
    assert [str(one.message) for one in recwarn] == []


async def test_a_compensation_that_does_not_await_its_wait_has_failed(working, ended):
    class Refunding(Saga):
        saga_name = "refunding"

        @action("a")
        async def a(self, ctx):
            return None

        @compensate("a")
        async def undo(self, ctx):
            current_step().signal("refunded")

        @action("b", depends_on=["a"])
        async def b(self, ctx):
            raise ValueError("no parcel")

    saga_id = await Sagas(working).start(Refunding, {})
    record = await ended(working, saga_id)
    assert record.status == "failed"
    [undo] = [one for one in await working.store.load_steps(saga_id) if one.phase == "undo"]
    assert "did not await its wait for signal 'refunded'" in undo.error


async def test_two_signals_may_be_gathered_in_a_compensation(working, ended):
    got = []

    class Refunding(Saga):
        saga_name = "refunding"

        @action("a")
        async def a(self, ctx):
            return None

        @compensate("a")
        async def undo(self, ctx):
            got.extend((await gathered(self, ctx))["got"])

        @action("b", depends_on=["a"])
        async def b(self, ctx):
            raise ValueError("no parcel")

    saga_id = await Sagas(working).start(Refunding, {})
    await waiting(working, saga_id)
    for name in "ba":
        await Sagas(working).send_signal(name, {"n": name}, saga_id=saga_id)
    assert (await ended(working, saga_id)).status == "rolled_back"
    assert got == ["a", "b"]


async def test_nothing_can_wait_by_a_step_that_has_ended(working):
    steps = []

    async def a(self, ctx):
        steps.append(current_step())

    await Sagas(working).run(saga_of(a), {})
    for wait in (steps[0].signal, steps[0].sleep_until):
        with pytest.raises(UsageError, match="Nothing can wait here"):
            wait("paid" if wait == steps[0].signal else LONG_AGO)


async def test_a_key_that_another_step_of_the_run_waits_for_is_refused_with_that_reason(working, ended):
    class Twice(Saga):
        saga_name = "twice"

        @action("a")
        async def a(self, ctx):
            await current_step().signal("paid", key="pi_1")

        @action("b")
        async def b(self, ctx):
            await current_step().signal("paid", key="pi_1")

    saga_id = await Sagas(working).start(Twice, {})
    record = await ended(working, saga_id)
    assert record.status == "rolled_back"
    assert "awaited already, by another wait of this same run" in record.error
    assert saga_id not in record.error


class Inner(Saga):
    saga_name = "inner"

    @action("a")
    async def a(self, ctx):
        await current_step().signal("paid")


@pytest.mark.parametrize("again", [False, True])
async def test_a_step_whose_inner_saga_goes_on_is_compensated(working, again):
    async def outer(self, ctx):
        if again:
            await Sagas(working).start(
                Inner, {}, idempotency_key="k", not_before=datetime.now(UTC) + timedelta(days=3000)
            )
        await Sagas(working).run(Inner, {}, idempotency_key="k")

    saga = saga_of(outer)
    with pytest.raises(RunInProgress if again else RunWaiting):
        await Sagas(working).run(saga, {})
    assert saga.compensated


async def test_a_step_may_wait_for_the_saga_it_runs(working):
    async def outer(self, ctx):
        running = asyncio.create_task(Sagas(working).run(Inner, {}, idempotency_key="k", wait=20))
        await Sagas(working).send_signal("paid", saga_id=saga_id_of(Inner, "k"))
        return {"inner": (await running).saga_id}

    assert (await Sagas(working).run(saga_of(outer), {}))["inner"]
