"""Runs that stop going forward when their deadline passes, on every store."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sagaz import Saga, action, compensate

from sagaz_durable.concurrency.clock import now
from sagaz_durable.engine.registry import SagaRegistry
from sagaz_durable.sagas import Sagas
from sagaz_integration_core.context.current_step import current_step
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.errors import DeadlinePassed, SagaDefinitionError, UsageError

pytestmark = pytest.mark.anyio

PAST = datetime(2020, 1, 1, tzinfo=UTC)


class Slow(Saga):
    saga_name = "slow"
    deadline = timedelta(seconds=0.2)
    calls: list = []

    @action("reserve")
    async def reserve(self, ctx):
        self.calls.append("reserve")

    @compensate("reserve")
    async def release(self, ctx):
        self.calls.append("release")

    @action("charge", depends_on=["reserve"])
    async def charge(self, ctx):
        self.calls.append("charge")
        if ctx.get("waits"):
            await current_step().signal("paid")
        await asyncio.Event().wait()

    @compensate("charge")
    async def refund(self, ctx):
        self.calls.append("refund")

    @action("ship", depends_on=["charge"])
    async def ship(self, ctx):
        self.calls.append("ship")


@pytest.fixture(autouse=True)
def calls(monkeypatch):
    calls = []
    monkeypatch.setattr(Slow, "calls", calls)
    return calls


async def test_a_call_under_way_at_the_deadline_is_in_doubt_and_compensated(working, ended, calls):
    saga_id = await Sagas(working).start(Slow, {})
    record = await ended(working, saga_id)
    assert record.status == "rolled_back"
    assert record.error.startswith("The run's deadline has passed.")
    assert calls == ["reserve", "charge", "refund", "release"]
    entries = {step.step: step.status for step in await working.store.load_steps(saga_id) if step.phase == "do"}
    assert entries == {"reserve": "done", "charge": "in_doubt"}


async def test_a_run_that_waits_is_compensated_at_its_deadline(working, ended, calls):
    saga_id = await Sagas(working).start(Slow, {"waits": True})
    record = await ended(working, saga_id)
    assert record.status == "rolled_back"
    assert calls == ["reserve", "charge", "refund", "release"]
    assert await working.store.load_waits(saga_id) == []


async def test_nothing_more_is_called_once_a_deadline_has_passed_while_the_machine_slept(runtime, calls, monkeypatch):
    class Asleep(Slow):
        saga_name = "asleep"

        @action("charge", depends_on=["reserve"])
        async def charge(self, ctx):
            self.calls.append("charge")
            monkeypatch.setattr("sagaz_durable.engine.deadline.now", lambda: now() + 7200)

    with pytest.raises(DeadlinePassed):
        await Sagas(runtime).run(Asleep, {}, deadline=timedelta(hours=1))
    assert calls == ["reserve", "charge", "refund", "release"]


async def test_whoever_runs_it_inline_is_told_of_the_deadline(runtime):
    with pytest.raises(DeadlinePassed):
        await Sagas(runtime).run(Slow, {})


async def test_a_deadline_of_one_run_replaces_that_of_its_class(working, ended, calls):
    saga_id = await Sagas(working).start(Slow, {}, deadline=PAST)
    assert (await ended(working, saga_id)).status == "rolled_back"
    assert calls == []
    saga_id = await Sagas(working).start(Slow, {"waits": True}, deadline=timedelta(hours=1))
    async with asyncio.timeout(20):
        while (await working.store.load(saga_id)).status != "waiting":
            await asyncio.sleep(0.01)
    record = await working.store.load(saga_id)
    assert record.available_at == record.deadline
    assert timedelta(minutes=59) < record.deadline - record.created_at < timedelta(minutes=61)


async def test_a_plain_step_that_is_under_way_is_waited_for(working, ended):
    begun, goes_on = threading.Event(), threading.Event()

    class Plain(Saga):
        saga_name = "plain"

        @action("one")
        def one(self, ctx):
            begun.set()
            assert goes_on.wait(20)
            return {"one": 1}

        @compensate("one")
        def undo(self, ctx):
            return None

        @action("two", depends_on=["one"])
        def two(self, ctx):
            raise AssertionError("called after the deadline")

    saga_id = await Sagas(working).start(Plain, {}, deadline=timedelta(seconds=0.3))
    await asyncio.to_thread(begun.wait, 20)
    async with asyncio.timeout(20):
        while datetime.now(UTC) < (await working.store.load(saga_id)).deadline + timedelta(seconds=1):
            await asyncio.sleep(0.01)
    goes_on.set()
    record = await ended(working, saga_id)
    assert (record.status, record.error) == ("rolled_back", "The run's deadline has passed.")
    entries = {(step.step, step.phase): step.status for step in await working.store.load_steps(saga_id)}
    assert entries == {("one", "do"): "done", ("one", "undo"): "done"}


async def test_behind_a_pivot_the_run_goes_on_after_its_deadline(working, ended):
    class Pivoted(Saga):
        saga_name = "pivoted"

        @action("charge", pivot=True)
        async def charge(self, ctx):
            return None

        @action("ship", depends_on=["charge"])
        async def ship(self, ctx):
            await current_step().signal("packed")
            return {"shipped": True}

    saga_id = await Sagas(working).start(Pivoted, {}, deadline=timedelta(seconds=0.3))
    async with asyncio.timeout(20):
        while (record := await working.store.load(saga_id)).status != "waiting":
            await asyncio.sleep(0.01)
    assert record.available_at is None
    async with asyncio.timeout(20):
        while datetime.now(UTC) < record.deadline:
            await asyncio.sleep(0.01)
    await Sagas(working).send_signal("packed", saga_id=saga_id)
    assert (await ended(working, saga_id)).status == "completed"


async def test_a_run_that_ends_in_time_hears_nothing_of_its_deadline(runtime):
    class Fast(Saga):
        saga_name = "fast"
        deadline = timedelta(hours=1)

        @action("one")
        async def one(self, ctx):
            return {"one": 1}

    assert (await Sagas(runtime).run(Fast, {}))["one"] == 1


@pytest.mark.parametrize("deadline", [timedelta(0), datetime(2030, 1, 1), "1h", 60])
async def test_a_deadline_that_cannot_be_is_refused_at_the_start(runtime, deadline):
    with pytest.raises(UsageError, match="deadline"):
        await Sagas(runtime).start(Slow, {}, deadline=deadline)


@pytest.mark.parametrize("deadline", [timedelta(0), timedelta(days=9_999), datetime(2030, 1, 1), "1h", 60])
def test_a_class_whose_deadline_cannot_be_is_refused_when_it_is_registered(deadline):
    with pytest.raises(SagaDefinitionError, match="Wrong: deadline"):
        SagaRegistry([type("Wrong", (Slow,), {"deadline": deadline, "saga_name": None})])


LATER = datetime.now(UTC) + timedelta(days=3)


async def test_a_deadline_of_so_long_is_counted_from_when_the_run_may_begin(runtime):
    saga_id = await Sagas(runtime).start(Slow, {}, not_before=LATER, deadline=timedelta(hours=1))
    assert (await runtime.store.load(saga_id)).deadline == LATER + timedelta(hours=1)
    started = await Sagas(runtime).start(Slow, {}, not_before=PAST, deadline=timedelta(hours=1))
    assert datetime.now(UTC) < (await runtime.store.load(started)).deadline < LATER


@pytest.mark.parametrize("deadline", [LATER, LATER - timedelta(days=1)])
async def test_a_deadline_before_which_the_run_may_not_begin_is_refused_at_the_start(runtime, deadline):
    with pytest.raises(UsageError, match=r"is not after not_before=.*Give a later deadline, or a timedelta"):
        await Sagas(runtime).start(Slow, {}, not_before=LATER, deadline=deadline)
    assert await runtime.store.find(RunFilter()) == []


async def test_a_run_in_the_background_has_its_deadline_whether_there_is_a_place_for_it_or_not(opened, settings):
    async with opened(replace(settings, background_runs=1, drain_seconds=0.0)) as runtime:
        for _ in range(2):
            saga_id = await Sagas(runtime).run_background(Slow, {}, deadline=timedelta(days=1))
            deadline = (await runtime.store.load(saga_id)).deadline
            assert timedelta(hours=23) < deadline - datetime.now(UTC) <= timedelta(days=1)


@pytest.mark.parametrize("plain", [True, False])
async def test_a_step_that_fails_is_not_tried_again_after_the_deadline(opened, settings, plain):
    calls = []

    class Failing(Saga):
        retry_steps = True

        if plain:

            @action("a", max_retries=5)
            def a(self, ctx):
                calls.append("a")
                raise ValueError("no")
        else:

            @action("a", max_retries=5)
            async def a(self, ctx):
                calls.append("a")
                raise ValueError("no")

    settings = replace(settings, backoff_seconds=60.0, backoff_max_seconds=60.0)
    async with opened(settings) as runtime, asyncio.timeout(20):
        with pytest.raises(DeadlinePassed):
            await Sagas(runtime).run(Failing, {}, deadline=timedelta(seconds=0.1))
    assert calls == ["a"]


async def test_a_step_that_waits_for_a_thread_at_the_deadline_is_not_called_and_not_compensated(
    opened, settings, ended
):
    calls, go, busy = [], threading.Event(), threading.Event()

    class Holding(Saga):
        @action("hold")
        def hold(self, ctx):
            busy.set()
            go.wait(20)

    class Queued(Saga):
        @action("a")
        def a(self, ctx):
            calls.append("a")

        @compensate("a")
        async def undo(self, ctx):
            calls.append("undo")

    async with opened(replace(settings, sync_threads=1), sagas=[Holding, Queued], worker=True) as runtime:
        await Sagas(runtime).start(Holding, {})
        await asyncio.to_thread(busy.wait, 20)
        saga_id = await Sagas(runtime).start(Queued, {}, deadline=timedelta(seconds=0.1))
        async with asyncio.timeout(20):
            while (await runtime.store.load(saga_id)).status != "compensating":
                await asyncio.sleep(0.01)
        go.set()
        record = await ended(runtime, saga_id)
        [entry] = await runtime.store.load_steps(saga_id)
    assert (record.status, record.error, calls) == ("rolled_back", "The run's deadline has passed.", [])
    assert (entry.status, entry.error) == ("failed", "It was not called: the run had turned back.")


async def test_a_step_whose_hook_outlasts_the_deadline_is_not_called(working, ended):
    calls = []

    async def slow(ctx, step):
        await asyncio.sleep(0.3)

    class Hooked(Saga):
        @action("a", on_enter=slow)
        async def a(self, ctx):
            calls.append("a")

        @compensate("a")
        async def undo(self, ctx):
            calls.append("undo")

    saga_id = await Sagas(working).start(Hooked, {}, deadline=timedelta(seconds=0.1))
    assert (await ended(working, saga_id)).status == "rolled_back"
    assert calls == []


async def test_a_step_that_is_tried_again_ends_with_the_failure_of_the_one_beside_it(opened, settings, ended):
    calls, tried = [], asyncio.Event()

    class Beside(Saga):
        retry_steps = True

        @action("a", max_retries=5)
        async def a(self, ctx):
            calls.append("a")
            tried.set()
            raise ValueError("a")

        @action("b", max_retries=0)
        async def b(self, ctx):
            await tried.wait()
            raise ValueError("b")

    settings = replace(settings, backoff_seconds=60.0, backoff_max_seconds=60.0)
    async with opened(settings, sagas=[Beside], worker=True) as runtime:
        record = await ended(runtime, await Sagas(runtime).start(Beside, {}))
        errors = {entry.step: entry.error for entry in await runtime.store.load_steps(record.saga_id)}
    assert errors == {"a": "ValueError: a", "b": "ValueError: b"}
    assert (record.status, record.error, calls) == ("rolled_back", "step 'b': ValueError: b", ["a"])


async def test_a_run_that_was_given_back_is_compensated_at_its_deadline_and_not_after_its_pause(
    opened, settings, ended
):
    calls = []

    class Made(Saga):
        @action("a")
        async def a(self, ctx):
            calls.append("a")

        @action("b", depends_on=["a"])
        async def b(self, ctx):
            calls.append("b")

        @compensate("a")
        async def undo(self, ctx):
            calls.append("undo")

    @contextmanager
    def scope():
        if calls == ["a"] and current_step().step == "b":
            raise OSError("no application context")
        yield

    settings = replace(settings, backoff_seconds=3600.0, backoff_max_seconds=3600.0)
    async with opened(settings, sagas=[Made], worker=True, step_scope=scope) as runtime:
        record = await ended(runtime, await Sagas(runtime).start(Made, {}, deadline=timedelta(seconds=1)))
    assert (record.status, calls) == ("rolled_back", ["a", "undo"])
