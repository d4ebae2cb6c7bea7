"""One process's attempt at a run: what is recorded at its end, what is raised, and what becomes of it otherwise."""

from __future__ import annotations

import asyncio
import json
import logging
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from sagaz import Saga, action, compensate
from sagaz.core.listeners import SagaListener

from sagaz_durable._upstream.instances import prepare
from sagaz_durable.concurrency.held_writes import HeldWrites
from sagaz_durable.engine.environment import StepEnvironment
from sagaz_durable.engine.execution import RunExecution
from sagaz_durable.engine.result import SagaRun
from sagaz_durable.engine.state import RunState
from sagaz_durable.leases.lease import Lease
from sagaz_durable.settings.settings import Settings
from sagaz_durable.settings.wording import NEUTRAL
from sagaz_durable.transactions.step_transactions import NoTransactions
from sagaz_integration_core.context.current_step import current_step
from sagaz_integration_core.contract.listings import AttemptRecord
from sagaz_integration_core.contract.records import ClaimedRun, Release, StepRecord
from sagaz_integration_core.errors import (
    ContextValueError,
    LeaseLost,
    RunFailed,
    RunInterrupted,
    RunWaiting,
    SagaDefinitionError,
    StepError,
    StoreUnavailable,
    UnstorableValue,
    WriteRefused,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


SMALL = {"max_context_bytes": 2000}


class Order(Saga):
    @action("reserve")
    async def reserve(self, ctx):
        return {"reserved": 7}

    @compensate("reserve")
    async def release(self, ctx):
        if ctx.get("fails") == "release":
            raise OSError("away")

    @action("pay", depends_on=["reserve"])
    async def pay(self, ctx):
        if ctx.get("fails"):
            raise ValueError("no money")


class Awaits(Saga):
    @action("ask")
    async def ask(self, ctx):
        await current_step().signal("paid", key="pi_1")


class Store:
    """Accepts what it is given, unless a test has it answer otherwise; tells what a test says."""

    def __init__(self) -> None:
        self.writes, self.answer, self.record, self.attempts = [], lambda write: True, None, []

    async def write(self, write):
        answer = self.answer(write)
        if isinstance(answer, Exception):
            raise answer
        if answer:
            self.writes.append(write)
        return answer

    async def load(self, saga_id):
        return self.record

    async def load_attempts(self, saga_id):
        return self.attempts

    @property
    def last(self):
        return self.writes[-1]


class Mirror:
    def __init__(self) -> None:
        self.told = []

    async def started(self, run):
        self.told.append(("started", run.saga_id))

    async def finished(self, run, status, values):
        self.told.append((status, values))


@pytest.fixture
async def scene():
    """Makes the execution of a run in its second attempt, with all that is around it."""
    pool = ThreadPoolExecutor(1)

    def make(*, saga=Order, context="{}", steps=(), listeners=(), publishes=False, **values):
        options = {"max_failures": 3, "backoff_seconds": 10.0, "lease_seconds": 0.1, "renew_seconds": 0.05}
        settings = Settings(storage_url="memory://", **options | values.pop("settings", {}))
        run = ClaimedRun(
            "run-1", "order", "executing", context, values.pop("error", None), "c-1", 2, values.pop("failures", 0),
            tuple(steps), **values,
        )  # fmt: skip
        store, mirror, drops = Store(), Mirror(), []
        environment = SimpleNamespace(
            settings=settings, owner="w1", store=store, mirror=mirror, listeners=listeners, publishes=publishes,
            write=store.write, held_writes=HeldWrites(asyncio.get_running_loop()),
            leases=SimpleNamespace(drop=lambda lease, calls: drops.append((lease, list(calls)))),
            registry=SimpleNamespace(
                get=lambda name: SimpleNamespace(prepare=lambda listeners: prepare(saga, saga, listeners))
            ),
            steps=StepEnvironment(
                pool, nullcontext, lambda n: 0.0, 10_000, NEUTRAL, None, None, NoTransactions(""), None
            ),
        )  # fmt: skip
        lease = Lease(run, 1e12, 1e12, 0.0)
        execution = RunExecution(environment, run, lease)
        return SimpleNamespace(
            execution=execution, store=store, mirror=mirror, drops=drops, lease=lease, environment=environment
        )

    yield make
    pool.shutdown()


async def execute(one):
    async with asyncio.timeout(20):
        return await one.execution.execute()


def entry(step, status, phase="do", **values):
    return StepRecord("run-1", step, phase, status, values.get("result"), values.get("error"), 1, None, None, True)


def done(step):
    return lambda write: any((one.step, one.status) == (step, "done") for one in write.steps)


def topics(store):
    return [event.topic for write in store.writes for event in write.events]


# A true end.


@pytest.mark.parametrize("before", [None, "the store was unreachable"])
async def test_a_completed_run_returns_its_context_and_forgets_an_error_of_before(scene, caplog, before):
    caplog.set_level(logging.INFO)
    one = scene(context='{"n":1}', error=before, publishes=True)
    result = await execute(one)
    assert dict(result) == {"n": 1, "saga_id": "run-1", "reserved": 7}
    assert (result.saga_id, result.saga_name, result.status.value) == ("run-1", "order", "completed")
    assert (one.store.last.status, one.store.last.error) == ("completed", "" if before else None)
    assert topics(one.store) == ["order.reserve.success", "order.pay.success", "order.completed"]
    assert one.execution.outcome == "completed"
    assert one.mirror.told == [("started", "run-1"), ("completed", dict(result))]
    assert (one.drops, one.lease.on_stop) == ([(one.lease, [])], None)
    [record] = [record for record in caplog.records if "completed" in record.getMessage()]
    assert (record.levelno, record.getMessage()) == (logging.INFO, "Saga 'order', run run-1: completed")


async def test_a_rolled_back_run_raises_what_its_step_raised_and_says_how_it_ended(scene, caplog):
    one = scene(context='{"fails":1}', publishes=True)
    with pytest.raises(ValueError, match="no money") as caught:
        await execute(one)
    assert caught.value.__notes__ == ["Saga 'order', run run-1, ended as rolled_back."]
    assert (one.store.last.status, one.store.last.error) == ("rolled_back", "step 'pay': ValueError: no money")
    assert json.loads(one.store.last.events[-1].payload)["error"] == "no money"
    assert topics(one.store)[-1] == "order.failed"
    assert one.execution.outcome == "rolled_back"
    assert [(record.levelno, record.getMessage()) for record in caplog.records][-1] == (
        logging.WARNING, "Saga 'order', run run-1: rolled_back (step 'pay': ValueError: no money)"
    )  # fmt: skip


async def test_a_run_that_could_not_be_undone_has_failed_and_says_what_is_left(scene, caplog):
    one = scene(context='{"fails":"release"}')
    with pytest.raises(ValueError, match="no money"):
        await execute(one)
    why = "step 'pay': ValueError: no money; compensation of 'reserve': OSError: away"
    assert (one.store.last.status, one.store.last.error) == ("failed", why)
    assert caplog.records[-1].levelno == logging.ERROR


async def test_a_run_that_rolled_back_in_an_earlier_attempt_raises_its_decision(scene):
    one = scene(direction="back", error="cancelled by ann", steps=[entry("reserve", "done", result='{"reserved":7}')])
    with pytest.raises(StepError, match="cancelled by ann"):
        await execute(one)
    assert (one.store.last.status, one.store.last.error) == ("rolled_back", "cancelled by ann")
    silent = scene(direction="back", steps=[entry("reserve", "done")])
    with pytest.raises(StepError, match="The run was rolling back"):
        await execute(silent)


@pytest.mark.parametrize(("fails", "told"), [(None, False), ("pay", False), ("release", True)])
async def test_without_logging_only_what_needs_somebody_is_logged(scene, caplog, fails, told):
    caplog.set_level(logging.INFO)
    one = scene(context=json.dumps({"fails": fails}), settings={"logging": False})
    await asyncio.gather(execute(one), return_exceptions=True)
    assert any("run-1: " in record.getMessage() for record in caplog.records) is told


async def test_listeners_are_told_of_the_end_after_it_was_recorded(scene):
    notes = []

    class Told(SagaListener):
        async def on_saga_complete(self, saga_name, saga_id, ctx):
            notes.append(one.execution.outcome)

        async def on_saga_failed(self, saga_name, saga_id, ctx, error):
            notes.append((one.execution.outcome, str(error)))

    one = scene(listeners=[Told()])
    await execute(one)
    one = scene(listeners=[Told()], context='{"fails":1}')
    with pytest.raises(ValueError, match="no money"):
        await execute(one)
    assert notes == ["completed", ("rolled_back", "no money")]


# An end that the store refuses.


def refusing_ends(write):
    return write.status != "completed"


@pytest.mark.parametrize(
    ("status", "attempt", "ended"), [("completed", 2, True), ("completed", 3, False), ("executing", 2, False)]
)
async def test_an_end_whose_answer_was_lost_is_known_by_the_row(scene, status, attempt, ended):
    one = scene()
    one.store.answer = refusing_ends
    one.store.record = SimpleNamespace(status=status, attempt=attempt)
    if ended:
        assert (await execute(one)).status.value == "completed"
    else:
        with pytest.raises(RunInterrupted, match="another process's now"):
            await execute(one)
    assert one.execution.outcome == ("completed" if ended else None)


async def test_an_end_that_is_refused_of_a_run_that_is_gone_is_none(scene):
    one = scene()
    one.store.answer = refusing_ends
    with pytest.raises(RunInterrupted, match="another process's now"):
        await execute(one)
    assert one.execution.outcome is None


# What stops it.


async def test_a_run_that_is_stopped_is_given_back_at_once_and_charged_nothing(scene):
    entered = asyncio.Event()

    class Waits(Saga):
        @action("a")
        async def a(self, ctx):
            entered.set()
            await asyncio.Event().wait()

    one = scene(saga=Waits)
    task = asyncio.create_task(execute(one))
    await entered.wait()
    reason = RunInterrupted("this process is stopping.")
    one.lease.stop(reason)
    with pytest.raises(
        RunInterrupted, match="Run run-1 of saga 'order' stopped in this process before its end"
    ) as caught:
        await task
    assert caught.value.__cause__ is reason
    release = one.store.last.release
    assert (release.delay, release.failed, release.detail) == (0.0, False, "this process is stopping.")
    assert (one.store.last.error, one.execution.outcome) == (None, None)


async def test_a_run_that_is_another_process_s_is_left_alone(scene):
    one = scene()
    one.store.answer = lambda write: not done("reserve")(write)
    with pytest.raises(RunInterrupted, match="another process's now"):
        await execute(one)
    assert [write.release for write in one.store.writes] == [None]


async def test_a_run_that_is_stopped_before_it_begins_calls_nothing_and_keeps_the_first_reason(scene):
    one = scene()
    one.execution.halt(RunInterrupted("first"))
    one.execution.halt(RunInterrupted("second"))
    with pytest.raises(RunInterrupted, match="first"):
        await execute(one)
    assert [write.steps for write in one.store.writes] == [()]
    assert one.store.last.release.detail == "first"


async def test_a_run_that_cannot_be_given_back_is_resumed_when_its_lease_ends(scene, caplog):
    caplog.set_level(logging.DEBUG)
    one = scene()
    one.execution.halt(RunInterrupted("stopping"))
    one.store.answer = lambda write: False
    with pytest.raises(RunInterrupted, match="stopping"):
        await execute(one)
    assert "Run run-1 was not released" in caplog.text


async def test_a_refused_journal_charges_the_run_and_has_it_wait(scene):
    one = scene(failures=1)
    one.store.answer = lambda write: WriteRefused("no") if write.steps else True
    with pytest.raises(RunInterrupted, match="no"):
        await execute(one)
    release = one.store.last.release
    assert (release.failed, release.detail, one.store.last.error) == (True, "WriteRefused: no", "WriteRefused: no")
    assert 10.0 <= release.delay <= 20.0, "its second failure"


async def test_progress_in_this_attempt_makes_a_failure_the_first_one(scene):
    one = scene(failures=2)
    one.store.answer = lambda write: WriteRefused("no") if done("pay")(write) or write.status else True
    with pytest.raises(RunInterrupted):
        await execute(one)
    assert one.execution._entries.progressed
    assert 5.0 <= one.store.last.release.delay <= 10.0


async def test_a_run_that_fails_once_too_often_is_given_up_and_nothing_is_undone(scene):
    one = scene(failures=2, publishes=True, context='{"n":1}')
    one.store.answer = lambda write: WriteRefused("no") if write.steps else True
    why = "Given up after 3 failures without progress. WriteRefused: no"
    with pytest.raises(RunFailed, match=f"Run run-1 of saga 'order' has failed. {why}"):
        await execute(one)
    assert (one.store.last.status, one.store.last.error, one.store.last.release) == ("failed", why, None)
    assert topics(one.store) == ["order.failed"]
    assert one.mirror.told[-1] == ("failed", {"n": 1})
    assert one.execution.outcome == "failed"


async def test_a_run_is_given_up_although_sagazs_own_storage_is_told_nothing_any_more(scene, caplog):
    one = scene(failures=3)

    async def refuses(run, status, values):
        raise StoreUnavailable("the disk is full")

    one.mirror.finished = refuses
    with pytest.raises(RunFailed, match="Given up after 3 failures"):
        await execute(one)
    assert (one.store.last.status, one.execution.outcome) == ("failed", "failed")
    assert "the disk is full" in caplog.text


async def test_a_run_whose_end_sagazs_own_storage_refuses_is_given_back_and_counted(scene):
    one = scene()

    async def refuses(run, status, values):
        raise StoreUnavailable("the disk is full")

    one.mirror.finished = refuses
    with pytest.raises(RunInterrupted, match="the disk is full"):
        await execute(one)
    assert (one.store.last.status, one.store.last.release.failed) == (None, True)


DEEP = f'{{"n":{"[" * 200_000}{"]" * 200_000}}}'
"""Deeper than Python's parser goes."""


@pytest.mark.parametrize("context", ['{"n":1}', "no JSON", DEEP, b"no text"], ids=["read", "unread", "deep", "bytes"])
async def test_a_run_that_has_failed_too_often_before_is_not_tried_again(scene, context):
    one = scene(failures=3, context=context, error="why it failed")
    with pytest.raises(RunFailed, match=r"Given up after 3 failures without progress\. why it failed"):
        await execute(one)
    assert [write.status for write in one.store.writes] == ["failed"]
    assert one.mirror.told == [("failed", {"n": 1} if context == '{"n":1}' else {})]
    one = scene(failures=3)
    with pytest.raises(RunFailed, match="No attempt has left a reason"):
        await execute(one)


async def test_a_run_whose_direction_is_not_known_calls_and_undoes_nothing(scene):
    one = scene(direction="sideways", steps=(entry("reserve", "done"),))
    with pytest.raises(RunInterrupted, match="direction of the run is 'sideways', which this release does not know"):
        await execute(one)
    assert [write.steps for write in one.store.writes] == [()]
    assert one.store.last.release.failed


async def test_it_tells_how_the_last_attempt_ended(scene):
    one = scene(failures=3, error="older")
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    one.store.attempts = [
        AttemptRecord("run-1", number, f"host-{number}:1", at, at, "died", None, None) for number in (1, 2, 3)
    ]
    with pytest.raises(RunFailed, match="host-3"):
        await execute(one)


async def test_one_failure_less_and_it_is_tried(scene):
    assert (await execute(scene(failures=2))).status.value == "completed"


async def test_a_step_that_this_deployment_has_not_is_named_and_nothing_is_called(scene):
    one = scene(steps=[entry("gone", "done"), entry("also gone", "started")])
    with pytest.raises(RunInterrupted, match="has the steps also gone, gone, which saga 'order' has not") as caught:
        await execute(one)
    assert isinstance(caught.value.__cause__, SagaDefinitionError)
    assert (one.store.last.release.failed, len(one.store.writes)) == (True, 1)


async def test_a_value_that_can_never_be_stored_ends_the_run_and_names_step_and_place(scene):
    class Greets(Saga):
        @action("greet")
        async def greet(self, ctx):
            return {"card": {"text": "ü"}}

    one = scene(saga=Greets, publishes=True, context='{"n":1}')
    one.store.answer = lambda write: (
        UnstorableValue("no such character") if any("ü" in (step.result or "") for step in write.steps) else True
    )
    with pytest.raises(RunFailed, match=r"step 'greet' returned, probably at card\.text") as caught:
        await execute(one)
    assert "The step was called; nothing was compensated." in str(caught.value)
    last = one.store.last
    assert (last.status, [(step.step, step.status) for step in last.steps]) == ("failed", [("greet", "in_doubt")])
    assert (
        "UnstorableValue: no such character It stands in what step 'greet' returned, probably at card.text"
        in last.error
    )
    assert topics(one.store) == ["order.failed"]
    assert one.mirror.told[-1] == ("failed", {"n": 1})


async def test_of_steps_that_share_a_write_only_those_that_returned_something_are_to_blame(scene):
    class Wide(Saga):
        @action("greet")
        async def greet(self, ctx):
            return {"text": "ü"}

        @action("quiet")
        async def quiet(self, ctx): ...

    one = scene(saga=Wide, begun=("greet", "quiet"))
    one.store.answer = lambda write: (
        UnstorableValue("no such character") if any("ü" in (step.result or "") for step in write.steps) else True
    )
    with pytest.raises(RunFailed, match=r"step 'greet' returned, probably at text"):
        await execute(one)
    assert one.store.last.status == "failed"


async def test_nothing_is_written_of_a_run_after_it_was_lost(scene):
    class Wide(Saga):
        @action("a quick")
        async def quick(self, ctx): ...

        @action("b loses")
        async def loses(self, ctx):
            one.lease.stop(LeaseLost("gone"))

    one = scene(saga=Wide, begun=("a quick", "b loses"))
    with pytest.raises(RunInterrupted, match="gone"):
        await execute(one)
    await asyncio.sleep(0.05)  # What is waited for is that nothing happens.
    assert one.store.writes == []


async def test_what_an_event_tells_is_no_longer_than_a_context_may_be(scene):
    class Repeats(Saga):
        @action("a")
        async def a(self, ctx):
            return dict(ctx)

    one = scene(saga=Repeats, publishes=True, context=json.dumps({"text": "x" * 3000}), settings=SMALL)
    with pytest.raises(ContextValueError):
        await execute(one)


async def test_a_state_that_means_nothing_is_no_end(scene):
    class Lost:
        halted, in_threads = None, ()
        course = SimpleNamespace(shorten=lambda seconds: seconds)

        async def run(self):
            return RunState()

        def close(self):
            """Nothing was opened."""

    one = scene()
    one.execution._prepared = Lost
    with pytest.raises(RunInterrupted, match="has nothing left to call, and no end"):
        await execute(one)
    assert one.store.last.release.failed


async def test_what_cannot_be_prepared_is_no_failure_of_the_saga(scene):
    one = scene()

    def get(name):
        raise SagaDefinitionError("no such saga")

    one.environment.registry.get = get
    with pytest.raises(RunInterrupted, match="no such saga"):
        await execute(one)
    assert (one.store.last.release.failed, one.drops) == (True, [(one.lease, [])])


async def test_calls_that_go_on_in_threads_are_told_with_the_lease(scene):
    import threading

    go = threading.Event()

    class Hangs(Saga):
        @action("a", timeout_seconds=0.01)
        def a(self, ctx):
            go.wait(10)

    one = scene(saga=Hangs)
    with pytest.raises(TimeoutError):
        await execute(one)
    [(lease, calls)] = one.drops
    go.set()
    assert (lease, len(calls)) == (one.lease, 1)


# What it waits for.


async def test_it_waits_until_nothing_of_an_earlier_execution_goes_on(scene):
    earlier = Future()
    waiting = asyncio.create_task(scene().execution.wait_for(earlier))
    await asyncio.sleep(0)
    assert not waiting.done()
    await asyncio.to_thread(earlier.set_result, None)
    await asyncio.wait_for(waiting, 10)


async def test_one_that_is_stopped_does_not_wait(scene):
    one, earlier = scene(), Future()
    waiting = asyncio.create_task(one.execution.wait_for(earlier))
    await asyncio.sleep(0)
    one.execution.halt(LeaseLost("now"))
    await asyncio.wait_for(waiting, 10)
    await asyncio.wait_for(one.execution.wait_for(Future()), 10)


def test_the_end_of_an_earlier_execution_is_told_to_nobody_when_the_loop_is_closed():
    earlier = Future()

    async def begin():
        execution = RunExecution.__new__(RunExecution)
        execution._halted = LeaseLost("now")
        await execution.wait_for(earlier)

    asyncio.run(begin())
    earlier.set_result(None)


def test_a_result_has_nothing_of_sagaz_own_and_shows_no_values():
    result = SagaRun({"n": 1, "__sagaz": 2}, saga_id="run-1", saga_name="order", status="completed")
    assert dict(result) == {"n": 1}
    assert repr(result) == "<SagaRun order run-1 completed>"


async def test_a_run_whose_call_waits_is_given_back_to_wait_until_its_deadline_at_most(scene):
    one = scene(saga=Awaits, deadline_in=60.0)
    with pytest.raises(RunWaiting, match=r"run-1.*waits for signal 'paid'") as waiting:
        await execute(one)
    assert (waiting.value.saga_id, one.execution.outcome) == ("run-1", "waiting")
    assert one.store.last.release == Release(waits=True, by_deadline=True)
    assert [(wait.step, wait.name, wait.key) for wait in one.store.last.waits] == [("ask", "paid", "pi_1")]
