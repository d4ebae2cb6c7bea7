"""Steps and compensations that wait for signals and times, on every store."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sagaz import Saga, SagaListener, action, compensate

from sagaz_durable.cli.render_health import health_json, health_text
from sagaz_durable.operations.checking import Limits, check
from sagaz_durable.problem_types import WAITS_LOST
from sagaz_durable.runtime.launching import finished_run
from sagaz_durable.sagas import Sagas
from sagaz_integration_core.context.current_step import current_step
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.contract.waits import SignalFilter
from sagaz_integration_core.errors import (
    DeadlinePassed,
    InvalidInput,
    RunFailed,
    RunInProgress,
    RunNotFound,
    RunWaiting,
    SignalConflict,
    SignalRefused,
    SignalTimeout,
    UsageError,
)

pytestmark = pytest.mark.anyio

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def calls(monkeypatch):
    """What was called, in order."""
    calls = []
    for saga in (Order, PlainOrder, Refunding, Parallel):
        monkeypatch.setattr(saga, "calls", calls)
    return calls


class Order(Saga):
    saga_name = "order"
    calls: list = []

    @action("charge")
    async def charge(self, ctx):
        self.calls.append("charge")
        paid = await current_step().signal("paid", key=ctx.get("key"), timeout=ctx.get("timeout"))
        return {"paid": dict(paid)}

    @compensate("charge")
    async def refund(self, ctx):
        self.calls.append("refund")

    @action("ship", depends_on=["charge"])
    async def ship(self, ctx):
        self.calls.append("ship")
        if ctx.get("until"):
            await current_step().sleep_until(datetime.fromisoformat(ctx["until"]))
        return {"shipped": True}


class PlainOrder(Saga):
    saga_name = "plain"
    calls: list = []

    @action("charge")
    def charge(self, ctx):
        self.calls.append("charge")
        return {"paid": dict(current_step().signal("paid"))}

    @action("ship", depends_on=["charge"])
    def ship(self, ctx):
        self.calls.append("ship")
        current_step().sleep(0)
        current_step().sleep_until(LONG_AGO)
        return {"shipped": True}


class Refunding(Saga):
    saga_name = "refunding"
    calls: list = []

    @action("charge")
    async def charge(self, ctx):
        return {"charged": 1}

    @compensate("charge")
    async def refund(self, ctx):
        self.calls.append("refund")
        confirmed = await current_step().signal("refunded")
        self.calls.append(confirmed["by"])

    @action("ship", depends_on=["charge"])
    async def ship(self, ctx):
        raise ValueError("no parcel")


class Parallel(Saga):
    saga_name = "parallel"
    calls: list = []

    @action("approve")
    async def approve(self, ctx):
        self.calls.append("approve")
        await current_step().signal("approved")

    @compensate("approve")
    async def withdraw(self, ctx):
        self.calls.append("withdraw")

    @action("pack")
    async def pack(self, ctx):
        self.calls.append("pack")
        if ctx.get("fails"):
            raise ValueError("broken")

    @action("ship", depends_on=["approve", "pack"])
    async def ship(self, ctx):
        self.calls.append("ship")


async def waiting(runtime, saga_id):
    async with asyncio.timeout(20):
        while (await runtime.store.load(saga_id)).status != "waiting":
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("saga", [Order, PlainOrder])
async def test_a_step_goes_on_with_what_the_signal_brings(working, ended, calls, saga):
    saga_id = await Sagas(working).start(saga, {})
    await waiting(working, saga_id)
    assert await Sagas(working).send_signal("paid", {"amount": 7}, saga_id=saga_id)
    record = await ended(working, saga_id)
    assert record.status == "completed"
    assert {"paid": {"amount": 7}, "shipped": True}.items() <= (await finished_run(working, saga_id)).items()
    assert calls[:2] == ["charge", "charge"]


async def test_a_signal_reaches_the_run_that_waits_under_its_key(working, ended):
    first = await Sagas(working).start(Order, {"key": "pi_1"})
    other = await Sagas(working).start(Order, {"key": "pi_2"})
    await waiting(working, first)
    await Sagas(working).send_signal("paid", key="pi_1")
    assert (await ended(working, first)).status == "completed"
    await waiting(working, other)


async def test_a_signal_that_comes_before_anybody_waits_is_kept(working, ended):
    await Sagas(working).send_signal("paid", {"early": True}, key="pi_1")
    saga_id = await Sagas(working).start(Order, {"key": "pi_1"})
    assert (await ended(working, saga_id)).status == "completed"
    assert (await finished_run(working, saga_id))["paid"] == {"early": True}


async def test_a_repeated_signal_changes_nothing_and_another_payload_is_refused(working, ended):
    saga_id = await Sagas(working).start(Order, {})
    assert await Sagas(working).send_signal("paid", {"n": 1}, saga_id=saga_id)
    assert not await Sagas(working).send_signal("paid", {"n": 1}, saga_id=saga_id)
    with pytest.raises(SignalConflict, match="another payload"):
        await Sagas(working).send_signal("paid", {"n": 2}, saga_id=saga_id)
    await ended(working, saga_id)
    assert not await Sagas(working).send_signal("paid", {"n": 1}, saga_id=saga_id)
    with pytest.raises(SignalRefused, match="has ended"):
        await Sagas(working).send_signal("paid", {"n": 1}, saga_id=saga_id, signal_id="second")


async def test_a_signal_that_does_not_come_in_time_fails_the_step_in_doubt(working, ended, calls):
    saga_id = await Sagas(working).start(Order, {"timeout": 0})
    record = await ended(working, saga_id)
    assert record.status == "rolled_back"
    assert "SignalTimeout: Signal 'paid' did not come in time." in record.error
    # What stands before the wait may have had its effect.
    assert calls == ["charge", "charge", "refund"]


async def test_a_timeout_may_be_caught_and_the_step_goes_on(working, ended):
    class Patient(Saga):
        saga_name = "patient"

        @action("ask")
        async def ask(self, ctx):
            asked = 0
            while asked < 2:
                try:
                    return dict(await current_step().signal("answer", timeout=0))
                except SignalTimeout:
                    await current_step().sleep(0)
                asked += 1
            return {"asked": asked}

    saga_id = await Sagas(working).start(Patient, {})
    assert (await ended(working, saga_id)).status == "completed"
    assert (await finished_run(working, saga_id))["asked"] == 2


async def test_a_sleeping_step_is_called_again_when_its_time_has_come(working, ended, calls):
    soon = datetime.now(UTC) + timedelta(seconds=0.3)
    saga_id = await Sagas(working).start(Order, {"key": "k", "until": soon.isoformat()})
    await Sagas(working).send_signal("paid", key="k")
    record = await ended(working, saga_id)
    assert record.status == "completed"
    assert record.finished_at >= soon
    assert calls.count("ship") == 2


async def test_a_compensation_may_wait_too(working, ended, calls):
    saga_id = await Sagas(working).start(Refunding, {})
    await waiting(working, saga_id)
    await Sagas(working).send_signal("refunded", {"by": "bank"}, saga_id=saga_id)
    assert (await ended(working, saga_id)).status == "rolled_back"
    assert calls == ["refund", "refund", "bank"]


@pytest.mark.parametrize(("saga", "step"), [(Order, "executing"), (Refunding, "compensating")])
async def test_a_run_that_waits_is_looked_up_through_sagazs_storage_interface(working, saga, step):
    saga_id = await Sagas(working).start(saga, {"n": 1})
    await waiting(working, saga_id)
    state = await working.config.storage.load_saga_state(saga_id)
    assert (state["status"], state["context"]["n"]) == ("waiting", 1)
    assert step in [one["status"] for one in state["steps"]]


async def test_branches_go_on_while_another_one_waits(working, ended, calls):
    saga_id = await Sagas(working).start(Parallel, {})
    await waiting(working, saga_id)
    assert sorted(calls) == ["approve", "pack"]
    await Sagas(working).send_signal("approved", saga_id=saga_id)
    assert (await ended(working, saga_id)).status == "completed"
    assert sorted(calls) == ["approve", "approve", "pack", "ship"]


async def test_a_step_that_waits_when_the_run_rolls_back_is_compensated(working, ended, calls):
    saga_id = await Sagas(working).start(Parallel, {"fails": True})
    assert (await ended(working, saga_id)).status == "rolled_back"
    assert calls.count("withdraw") == 1
    assert await working.store.load_waits(saga_id) == []


async def test_an_inline_run_that_waits_says_for_what(working, ended):
    with pytest.raises(RunWaiting, match="waits for signal 'paid'") as raised:
        await Sagas(working).run(Order, {"key": "pi_1"})
    assert raised.value.waits_for == ("signal 'paid'",)
    await Sagas(working).send_signal("paid", key="pi_1")
    assert (await ended(working, raised.value.saga_id)).status == "completed"


async def test_two_awaited_together_are_both_registered(working, ended):
    class Both(Saga):
        saga_name = "both"

        @action("gather")
        async def gather(self, ctx):
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(wait(name)) for name in ("a", "b")]
            return {"got": sorted(task.result()["n"] for task in tasks)}

    async def wait(name):
        return await current_step().signal(name)

    saga_id = await Sagas(working).start(Both, {})
    await waiting(working, saga_id)
    assert {one.name for one in await working.store.load_waits(saga_id)} == {"a", "b"}
    for n, name in enumerate("ba"):
        await Sagas(working).send_signal(name, {"n": n}, saga_id=saga_id)
    assert (await ended(working, saga_id)).status == "completed"
    assert (await finished_run(working, saga_id))["got"] == [0, 1]


async def test_a_key_that_another_run_waits_for_fails_the_step_and_names_that_run(working, ended):
    first = await Sagas(working).start(Order, {"key": "pi_1"})
    await waiting(working, first)
    second = await Sagas(working).start(Order, {"key": "pi_1"})
    record = await ended(working, second)
    assert record.status == "rolled_back"
    assert "AlreadyAwaited" in record.error
    assert first in record.error


async def test_a_step_that_swallows_its_wait_fails_and_is_told_why(working, ended):
    class Swallowing(Saga):
        saga_name = "swallowing"

        @action("a")
        def a(self, ctx):
            try:
                current_step().signal("paid")
            except BaseException:
                return {"paid": False}

    saga_id = await Sagas(working).start(Swallowing, {})
    record = await ended(working, saga_id)
    assert record.status == "rolled_back"
    assert "went on after its wait for signal 'paid'" in record.error


async def test_code_around_a_wait_runs_and_may_raise_what_it_likes(working, ended):
    cleaned = []

    class Tidy(Saga):
        saga_name = "tidy"

        @action("a")
        async def a(self, ctx):
            try:
                await current_step().signal("paid")
            except Exception as error:
                raise AssertionError("no Exception") from error
            finally:
                cleaned.append(1)
                if len(cleaned) == 1:
                    raise KeyError("replaced")

    saga_id = await Sagas(working).start(Tidy, {})
    await waiting(working, saga_id)
    await Sagas(working).send_signal("paid", saga_id=saga_id)
    assert (await ended(working, saga_id)).status == "completed"


async def test_hooks_and_listeners_are_told_once_of_a_step_that_waits(working, ended):
    told = []

    def enter(ctx, step):
        told.append("enter")

    def success(ctx, step, result):
        told.append("success")

    class Told(Saga):
        saga_name = "told"

        @action("a", on_enter=enter, on_success=success)
        async def a(self, ctx):
            await current_step().signal("paid")

    saga_id = await Sagas(working).start(Told, {})
    await waiting(working, saga_id)
    await Sagas(working).send_signal("paid", saga_id=saga_id)
    await ended(working, saga_id)
    assert told == ["enter", "success"]


async def test_nothing_can_wait_in_a_hook(working, ended):
    refused = []

    def waits(ctx, step, result):
        with pytest.raises(UsageError, match="Nothing can wait here"):
            current_step().signal("paid")
        refused.append(step)

    class Hooked(Saga):
        saga_name = "hooked"

        @action("a", on_success=waits)
        async def a(self, ctx):
            return None

    saga_id = await Sagas(working).start(Hooked, {})
    assert (await ended(working, saga_id)).status == "completed"
    assert refused == ["a"]


async def test_a_signal_in_a_transaction_is_there_if_it_commits(opened, postgres_url, ended):
    from sagaz_durable.settings.settings import Settings

    settings = Settings(storage_url=postgres_url, migrate=True, poll_seconds=0.05)
    async with opened(settings, sagas=[Order]) as runtime:
        worker = runtime.make_worker()
        worker.start()
        saga_id = await Sagas(runtime).start(Order, {})
        await waiting(runtime, saga_id)
        async with await psycopg.AsyncConnection.connect(postgres_url) as connection:
            await Sagas(runtime).send_signal("paid", saga_id=saga_id, session=connection)
            await connection.rollback()
            assert await runtime.store.count_untaken() == 0
            await Sagas(runtime).send_signal("paid", saga_id=saga_id, session=connection)
            assert not await Sagas(runtime).send_signal("paid", saga_id=saga_id, session=connection)
        assert (await ended(runtime, saga_id)).status == "completed"


async def test_a_signal_from_a_thread_reaches_its_run(working, ended):
    saga_id = await Sagas(working).start(Order, {})
    assert await asyncio.to_thread(Sagas(working).send_signal_sync, "paid", saga_id=saga_id)
    assert (await ended(working, saga_id)).status == "completed"


@pytest.mark.parametrize(
    ("error", "values"),
    [
        (UsageError, {}),
        (UsageError, {"saga_id": "a", "key": "b"}),
        (InvalidInput, {"key": ""}),
        (InvalidInput, {"saga_id": "a\n"}),
        (InvalidInput, {"key": "k", "signal_id": 7}),
        (InvalidInput, {"key": "k", "payload": {"a": object()}}),
        (InvalidInput, {"key": "k", "payload": [1]}),
    ],
)
async def test_what_cannot_be_a_signal_is_refused_at_the_edge(runtime, error, values):
    with pytest.raises(error):
        await Sagas(runtime).send_signal("paid", **values)
    assert await runtime.store.find_signals(SignalFilter(state=None)) == []


@pytest.mark.parametrize(
    ("wait", "error"),
    [
        (lambda: current_step().sleep(-1), UsageError),
        (lambda: current_step().sleep("1"), UsageError),
        (lambda: current_step().sleep_until(datetime(2030, 1, 1)), UsageError),
        (lambda: current_step().signal("a", timeout=True), UsageError),
        (lambda: current_step().sleep(10**5000), UsageError),
        (lambda: current_step().sleep(float("nan")), UsageError),
        (lambda: current_step().signal("a", timeout=-(10**400)), UsageError),
        (lambda: current_step().signal(""), UsageError),
        (lambda: current_step().signal("a", key=""), UsageError),
        (lambda: current_step().signal("a", key=7), UsageError),
    ],
)
async def test_a_wait_that_cannot_be_is_the_steps_failure(runtime, wait, error):
    class Wrong(Saga):
        saga_name = "wrong"

        @action("a")
        def a(self, ctx):
            wait()

    with pytest.raises(error):
        await Sagas(runtime).run(Wrong, {})


async def test_a_run_with_a_key_that_waits_is_in_progress(working):
    with pytest.raises(RunWaiting):
        await Sagas(working).run(Order, {}, idempotency_key="k")
    with pytest.raises(Exception, match=r"waits|not ended"):
        await Sagas(working).run(Order, {}, idempotency_key="k")


async def test_whoever_waits_gets_the_result_of_a_run_that_another_process_executes(opened, shared_settings):
    async with opened(shared_settings, sagas=[Order]) as here, opened(shared_settings, sagas=[Order]) as there:
        worker = there.make_worker()
        worker.start()
        saga_id = await Sagas(here).start(Order, {})
        waiters = [asyncio.create_task(Sagas(here).wait(saga_id, 20)) for _ in range(20)]
        await waiting(here, saga_id)
        await Sagas(here).send_signal("paid", saga_id=saga_id)
        assert {result["shipped"] for result in await asyncio.gather(*waiters)} == {True}
        worker.stop()
        await worker.stopped()


async def test_many_that_wait_ask_the_store_as_often_as_one(working, monkeypatch):
    saga_id = await Sagas(working).start(Order, {})
    await waiting(working, saga_id)
    asked, statuses = [], working.store.statuses

    async def counted(saga_ids):
        asked.append(sorted(saga_ids))
        return await statuses(saga_ids)

    monkeypatch.setattr(working.store, "statuses", counted)
    waiters = [asyncio.create_task(Sagas(working).wait(saga_id, 20)) for _ in range(50)]
    await Sagas(working).send_signal("paid", saga_id=saga_id)
    await asyncio.gather(*waiters)
    assert {tuple(one) for one in asked} == {(saga_id,)}
    assert len(asked) < 50


async def test_whoever_waits_in_vain_is_told_how_far_the_run_is(working):
    saga_id = await Sagas(working).start(Order, {})
    await waiting(working, saga_id)
    with pytest.raises(RunWaiting, match="waits for signal 'paid'"):
        await Sagas(working).wait(saga_id, 0.01)


async def test_whoever_waits_for_a_run_that_is_under_way_in_vain_is_told_so(runtime):
    saga_id = await Sagas(runtime).start(Order, {}, not_before=datetime.now(UTC) + timedelta(hours=1))
    with pytest.raises(RunInProgress):
        await Sagas(runtime).wait(saga_id, 0.01)


@pytest.mark.parametrize("saga_id", ["nobody", "", None, "a\0b", "\ud800"], ids=repr)
async def test_whoever_waits_for_no_run_is_told_at_once(runtime, saga_id):
    async with asyncio.timeout(20):
        for seconds in (0, 3600):
            with pytest.raises(RunNotFound, match="There is no run"):
                await Sagas(runtime).wait(saga_id, seconds)


WRONG_SECONDS = ["2", None, True, timedelta(seconds=2), -1, 86_401, float("nan"), float("inf"), 10**400]


@pytest.mark.parametrize("seconds", WRONG_SECONDS, ids=repr)
async def test_what_is_no_number_of_seconds_is_refused_and_nothing_recorded(runtime, calls, seconds):
    with pytest.raises(UsageError, match=r"wait=.* expected a number of seconds, 0 to 86400"):
        await Sagas(runtime).run(Order, {}, wait=seconds)
    assert (calls, await runtime.store.find(RunFilter())) == ([], [])
    with pytest.raises(UsageError, match=r"seconds=.* expected a number of seconds, 0 to 86400"):
        await Sagas(runtime).wait("nobody", seconds)


WHY = "Invalid isoformat string: 'soon'"


async def test_a_run_that_fails_here_after_its_wait_raises_the_steps_exception(working):
    running = asyncio.create_task(Sagas(working).run(Order, {"key": "pi_1", "until": "soon"}, wait=20))
    await Sagas(working).send_signal("paid", key="pi_1")
    with pytest.raises(ValueError, match=WHY) as raised:
        await running
    [note] = raised.value.__notes__
    assert note.startswith("Saga 'order', run ")
    assert note.endswith("ended as rolled_back.")


async def test_each_of_many_that_wait_gets_the_exception_of_the_step(working):
    saga_id = await Sagas(working).start(Order, {"until": "soon"})
    await waiting(working, saga_id)
    waiters = [asyncio.create_task(Sagas(working).wait(saga_id, 20)) for _ in range(20)]
    await Sagas(working).send_signal("paid", saga_id=saga_id)
    errors = await asyncio.gather(*waiters, return_exceptions=True)
    assert {(type(error), str(error)) for error in errors} == {(ValueError, WHY)}
    with pytest.raises(RunFailed, match=f"ended as rolled_back: step 'ship': ValueError: {WHY}"):
        await Sagas(working).wait(saga_id, 20)


async def test_the_steps_exception_is_raised_however_long_the_end_is_told_to_listeners(working, monkeypatch):
    asked_again, statuses = asyncio.Event(), working.store.statuses

    async def asked(saga_ids):
        found = await statuses(saga_ids)
        if "rolled_back" in found.values():
            asyncio.get_running_loop().call_soon(asked_again.set)
        return found

    class Listener(SagaListener):
        async def on_saga_failed(self, saga_name, saga_id, ctx, error):
            await asked_again.wait()

    class Listened(Order):
        saga_name = "listened"
        listeners = [Listener()]

    monkeypatch.setattr(working.store, "statuses", asked)
    running = asyncio.create_task(Sagas(working).run(Listened, {"key": "pi_1", "until": "soon"}, wait=20))
    await Sagas(working).send_signal("paid", key="pi_1")
    with pytest.raises(ValueError, match=WHY):
        await running


async def test_a_run_that_fails_in_another_process_is_told_as_run_failed(opened, shared_settings):
    async with opened(shared_settings, sagas=[Order]) as here, opened(shared_settings, sagas=[Order]) as there:
        worker = there.make_worker()
        worker.start()
        running = asyncio.create_task(Sagas(here).run(Order, {"key": "pi_1", "until": "soon"}, wait=20))
        await Sagas(there).send_signal("paid", key="pi_1")
        with pytest.raises(RunFailed, match=f"ended as rolled_back: step 'ship': ValueError: {WHY}"):
            await running
        worker.stop()
        await worker.stopped()


async def test_a_run_that_failed_before_its_compensation_waited_is_told_as_run_failed(working):
    saga_id = await Sagas(working).start(Refunding, {})
    await waiting(working, saga_id)
    waiter = asyncio.create_task(Sagas(working).wait(saga_id, 20))
    await Sagas(working).send_signal("refunded", {"by": "bank"}, saga_id=saga_id)
    with pytest.raises(RunFailed, match="ended as rolled_back: step 'ship': ValueError: no parcel"):
        await waiter


async def test_a_run_whose_deadline_passes_in_its_wait_is_told_as_such_to_all(working):
    for _ in range(2):
        with pytest.raises(DeadlinePassed, match="deadline has passed"):
            await Sagas(working).run(Order, {}, idempotency_key="k", deadline=timedelta(seconds=0.3), wait=20)
    assert issubclass(DeadlinePassed, RunFailed)


async def test_an_inline_run_may_wait_for_its_signal(working):
    running = asyncio.create_task(Sagas(working).run(Order, {"key": "pi_1"}, wait=20))
    await Sagas(working).send_signal("paid", {"n": 1}, key="pi_1")
    assert (await running)["paid"] == {"n": 1}


async def test_a_thread_may_wait_and_the_eleventh_is_answered_at_once(working):
    saga_id = await Sagas(working).start(Order, {})
    await waiting(working, saga_id)
    sync = Sagas(working).wait_sync
    loop, threads = asyncio.get_running_loop(), ThreadPoolExecutor(11)
    ten = [loop.run_in_executor(threads, sync, saga_id, 20) for _ in range(10)]
    async with asyncio.timeout(20):
        while len(working.runs.ends._awaited.get(saga_id, ())) < 10:
            await asyncio.sleep(0.01)
    with pytest.raises(RunWaiting):
        await loop.run_in_executor(threads, sync, saga_id, 20)
    with pytest.raises(UsageError, match="seconds=-1: expected a number of seconds"):
        await loop.run_in_executor(threads, sync, saga_id, -1)
    await Sagas(working).send_signal("paid", saga_id=saga_id)
    assert len(await asyncio.gather(*ten)) == 10
    threads.shutdown()


async def test_what_sleeps_goes_on_when_somebody_says_so(working, ended):
    class Sleeping(Saga):
        saga_name = "sleeping"

        @action("a")
        async def a(self, ctx):
            await current_step().sleep(timedelta(days=3))

    saga_id = await Sagas(working).start(Sleeping, {})
    await waiting(working, saga_id)
    outcome = await Sagas(working).run_now(saga_id, by="anna", reason="no need to wait")
    assert outcome.done
    assert (await ended(working, saga_id)).status == "completed"
    [note] = await working.store.load_audit(saga_id)
    assert (note.action, note.actor, note.reason) == ("run-now", "anna", "no need to wait")


async def test_what_is_started_for_later_goes_on_when_somebody_says_so(working, ended):
    later = datetime.now(UTC) + timedelta(days=1)
    saga_id = await Sagas(working).start(Order, {"key": "k"}, not_before=later)
    await Sagas(working).send_signal("paid", key="k")
    assert (await Sagas(working).run_now(saga_id, by="anna")).done
    assert (await ended(working, saga_id)).status == "completed"


async def test_a_compensation_that_was_given_back_goes_on_when_somebody_says_so(opened, settings, ended, calls):
    @contextmanager
    def scope():
        if current_step().phase == "undo" and len(calls) < 2:
            calls.append("given back")
            raise OSError("no application context")
        yield

    class Refunded(Refunding):
        @compensate("charge")
        async def refund(self, ctx):
            self.calls.append("refund")

    settings = replace(settings, backoff_seconds=3600.0, backoff_max_seconds=3600.0)
    async with opened(settings, sagas=[Refunded], worker=True, step_scope=scope) as runtime:
        saga_id = await Sagas(runtime).start(Refunded, {})
        for _ in range(2):
            async with asyncio.timeout(20):
                while (run := await runtime.store.load(saga_id)).lease_owner or run.status != "compensating":
                    await asyncio.sleep(0.01)
            outcome = await Sagas(runtime).run_now(saga_id, by="anna")
            assert (outcome.done, outcome.message) == (True, "Its compensation goes on now.")
            async with asyncio.timeout(20):
                while (now := await runtime.store.load(saga_id)).status == "compensating" and (
                    now.attempt == run.attempt + 1 or now.lease_owner
                ):
                    await asyncio.sleep(0.01)
        assert (await ended(runtime, saga_id)).status == "rolled_back"
    assert calls == ["given back", "given back", "refund"]


async def test_a_compensation_that_is_under_way_is_not_brought_forward(opened, settings, ended):
    called, go = asyncio.Event(), asyncio.Event()

    class Refunded(Refunding):
        @compensate("charge")
        async def refund(self, ctx):
            called.set()
            await go.wait()

    async with opened(settings, sagas=[Refunded], worker=True) as runtime:
        saga_id = await Sagas(runtime).start(Refunded, {})
        await called.wait()
        outcome = await Sagas(runtime).run_now(saga_id, by="anna")
        assert (outcome.done, "is compensating: only what is delayed" in outcome.message) == (False, True)
        go.set()
        assert (await ended(runtime, saga_id)).status == "rolled_back"


async def test_a_signal_is_not_brought_forward(working):
    saga_id = await Sagas(working).start(Order, {})
    await waiting(working, saga_id)
    outcome = await Sagas(working).run_now(saga_id, by="anna")
    assert not outcome.done
    assert "waits for the signal 'paid'" in outcome.message


async def test_a_run_that_waits_can_be_cancelled_and_takes_no_signal_any_more(working, ended, calls):
    saga_id = await Sagas(working).start(Order, {})
    await waiting(working, saga_id)
    assert (await Sagas(working).cancel(saga_id, by="anna")).done
    assert (await ended(working, saga_id)).status == "rolled_back"
    assert calls == ["charge", "refund"]
    with pytest.raises(SignalRefused):
        await Sagas(working).send_signal("paid", saga_id=saga_id)


class Renamed(Saga):
    """What a deployment made of `Order`."""

    saga_name = "order"

    @action("pay")
    async def pay(self, ctx):
        return None


@pytest.fixture
async def left_waiting(opened, shared_settings):
    """A run of `Order` that waits in ``charge``, and that nobody executes."""
    async with opened(shared_settings, sagas=[Order]) as before:
        saga_id = await Sagas(before).start(Order, {})
        worker = before.make_worker()
        worker.start()
        await waiting(before, saga_id)
        worker.stop()
        await worker.stopped()
    return saga_id


async def test_check_tells_of_runs_that_wait_in_a_step_which_a_deployment_has_lost(
    opened, shared_settings, left_waiting
):
    async with opened(shared_settings, sagas=[Order]) as before:
        assert (await check(before)).lost_waits == {}
    async with opened(shared_settings, sagas=[Renamed]) as after:
        health = await check(after)
        assert "Runs wait in a step that their saga has not in this deployment: 1 in 'charge' of 'order'. Deploy" in (
            health.problem or ""
        )
        assert f"problem    {health.problem}" in health_text(health)
        assert [finding.kind for finding in health.findings] == [WAITS_LOST]
        found = json.loads(health_json(health))
        assert (found["healthy"], found["lost_waits"]) == (False, {"order": {"charge": 1}})
        allowed = await check(after, Limits(max_lost_waits=1))
        assert (allowed.problem, allowed.lost_waits) == (None, {"order": {"charge": 1}})


async def test_check_tells_of_no_lost_waits_where_the_class_does_not_tell_its_steps(
    opened, shared_settings, left_waiting
):
    async with opened(shared_settings, sagas=[(Renamed, lambda: Renamed())]) as after:
        health = await check(after)
        assert (health.problem, health.lost_waits) == (None, {})


@asynccontextmanager
async def with_worker(opened, settings, saga):
    """A process of a deployment that has this saga."""
    async with opened(settings, sagas=[saga]) as runtime:
        worker = runtime.make_worker()
        worker.start()
        yield runtime
        worker.stop()
        await worker.stopped()


async def test_a_run_that_waits_in_a_step_which_a_deployment_has_lost_fails_at_once(
    opened, shared_settings, left_waiting, ended
):
    saga_id = left_waiting
    async with with_worker(opened, shared_settings, Renamed) as after:
        record = await ended(after, saga_id)
        assert (record.status, record.failures, record.attempt) == ("failed", 0, 2)
        assert "has the steps charge, which saga 'order' has not in this deployment. Deploy a version" in record.error
    async with with_worker(opened, shared_settings, Order) as before:
        assert (await Sagas(before).retry(saga_id, by="anna")).done
        await waiting(before, saga_id)
        await Sagas(before).send_signal("paid", saga_id=saga_id)
        assert (await ended(before, saga_id)).status == "completed"


async def test_a_run_whose_signal_has_come_to_a_lost_step_fails_at_once_and_keeps_it_for_a_retry(
    opened, shared_settings, left_waiting, ended
):
    saga_id = left_waiting
    async with opened(shared_settings, sagas=[Order]) as before:
        await Sagas(before).send_signal("paid", {"n": 1}, saga_id=saga_id)
    async with with_worker(opened, shared_settings, Renamed) as after:
        record = await ended(after, saga_id)
        assert (record.status, record.failures) == ("failed", 0)
    async with with_worker(opened, shared_settings, Order) as before:
        assert (await Sagas(before).retry(saga_id, by="anna")).done
        assert (await ended(before, saga_id)).status == "completed"
        assert (await finished_run(before, saga_id))["paid"] == {"n": 1}


async def test_a_run_whose_lost_step_another_live_process_may_have_is_left_to_that_one(
    opened, shared_settings, left_waiting, ended
):
    saga_id = left_waiting
    async with with_worker(opened, shared_settings, Renamed) as after:
        await after.store.heartbeat("of the other version", 60, "worker", ["order"])
        async with asyncio.timeout(20):
            while not await after.store.load_attempts(saga_id):
                await asyncio.sleep(0.01)
    async with with_worker(opened, shared_settings, Order) as before:
        await Sagas(before).send_signal("paid", saga_id=saga_id)
        assert (await ended(before, saga_id)).status == "completed"


async def test_a_run_whose_lost_step_no_live_process_has_fails_at_once_however_many_there_are(
    opened, shared_settings, left_waiting, ended
):
    async with opened(shared_settings, sagas=[Renamed]) as other:
        await other.store.heartbeat("of the same version", 60, "worker", other.registry.announced)
        async with with_worker(opened, shared_settings, Renamed) as after:
            record = await ended(after, left_waiting)
        assert (record.status, record.failures, record.attempt) == ("failed", 0, 2)


async def test_a_step_that_waits_for_another_signal_since_a_deployment_is_called_when_the_first_one_comes(
    opened, shared_settings, left_waiting, ended
):
    class Captured(Saga):
        saga_name = "order"

        @action("charge")
        async def charge(self, ctx):
            return {"captured": dict(await current_step().signal("captured"))}

        @action("ship", depends_on=["charge"])
        async def ship(self, ctx):
            return None

    async with with_worker(opened, shared_settings, Captured) as after:
        await Sagas(after).send_signal("captured", {"n": 2}, saga_id=left_waiting)
        await Sagas(after).send_signal("paid", {"n": 1}, saga_id=left_waiting)
        assert (await ended(after, left_waiting)).status == "completed"
        assert (await finished_run(after, left_waiting))["captured"] == {"n": 2}
