"""One run in one process: what stops it, what its steps, hooks and compensations are given, and what it tells."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from sagaz import Saga, action, compensate
from sagaz.core.listeners import SagaListener

from sagaz_durable._upstream.instances import prepare
from sagaz_durable.calls import interpreter_exit
from sagaz_durable.concurrency.held_writes import HeldWrites
from sagaz_durable.engine import call_tasks
from sagaz_durable.engine.environment import StepEnvironment
from sagaz_durable.engine.executor import Executor
from sagaz_durable.engine.journal.entries import Entries
from sagaz_durable.outbox.run_events import EventLog
from sagaz_durable.settings.wording import NEUTRAL
from sagaz_durable.transactions.step_transactions import NoTransactions
from sagaz_integration_core.context.current_step import current_step
from sagaz_integration_core.contract.records import ClaimedRun, StepRecord
from sagaz_integration_core.contract.waits import WaitRecord
from sagaz_integration_core.errors import LeaseLost, RunInterrupted

pytestmark = pytest.mark.anyio

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Lease:
    saga_id, remaining = "run-1", 60.0

    def stop(self, error):
        raise error


class Journal:
    """Accepts every write; waits before one when a test says so."""

    def __init__(self) -> None:
        self.entries, self.gate, self.writing = [], None, asyncio.Event()
        self.events, self.decisions, self.compensated = [], [], []

    async def submit(self, write):
        self.writing.set()
        if self.gate is not None:
            await self.gate.wait()
        self.entries += [(step.step, step.phase, step.status) for step in write.steps]
        self.compensated += [step.step for step in write.steps if step.status == "started" and step.compensated]
        self.events += [(event.topic, json.loads(event.payload)) for event in write.events]
        self.decisions += [(write.status, write.error)] if write.error else []
        return True


def entry(step, status, phase="do", attempt=1, **values):
    return StepRecord(
        "run-1", step, phase, status, values.get("result"), values.get("error"), attempt, None, None, True
    )


@pytest.fixture
async def scene():
    """Makes the executor of a run, with all that is around it."""
    pool = ThreadPoolExecutor(2)

    def make(saga, *, steps=(), listeners=(), publishes=False, **values):
        run = ClaimedRun(
            "run-1", saga.__name__, "executing", values.pop("context", '{"given":1}'), values.pop("error", None), None,
            values.pop("attempt", 1), 0, tuple(steps), **values,
        )  # fmt: skip
        pauses, journal, lease = [], Journal(), Lease()
        environment = StepEnvironment(
            pool,
            nullcontext,
            lambda n: pauses.append(n) or 0.0,
            10_000,
            NEUTRAL,
            "app",
            "state",
            NoTransactions(""),
            None,
        )
        held = HeldWrites(asyncio.get_running_loop())
        entries = Entries(run, "w1", lease, 0.0, journal.submit, held)
        events = EventLog("run-1", saga.__name__, None, run.attempt, enabled=publishes)
        made = Executor(run, prepare(saga, saga, listeners), environment, lease, entries, events)
        return SimpleNamespace(executor=made, journal=journal, lease=lease, pauses=pauses, entries=entries)

    yield make
    pool.shutdown()


async def run(one):
    """Execute a run, and journal what is held at its end."""
    async with asyncio.timeout(10):
        state = await one.executor.run()
        one.entries.flush()
        while one.entries._flushing is not None:
            await one.entries._flushing
    return state


def order(ledger, *, fails=None):
    """Reserve, then pay; each noted with its task, context and try."""

    def note(step):
        here = current_step()
        ledger.append((here.step, here.phase, here.retry, asyncio.current_task().get_name()))
        if fails == step:
            raise ValueError("no")

    class Order(Saga):
        @action("reserve")
        async def reserve(self, ctx):
            note("reserve")
            return {"reserved": 7}

        @compensate("reserve")
        async def release(self, ctx):
            ledger.append(dict(ctx))
            note("release")

        @action("pay", depends_on=["reserve"])
        async def pay(self, ctx):
            ledger.append(dict(ctx))
            note("pay")

    return Order


# What is called.


async def test_each_call_is_a_task_of_its_name_and_sees_what_it_depends_on(scene):
    ledger = []
    one = scene(order(ledger, fails="pay"))
    state = await run(one)
    assert (state.end, state.left) == ("rolled_back", ())
    assert ledger == [
        ("reserve", "do", 0, "sagaz:run-1:reserve"),
        {"given": 1, "saga_id": "run-1", "reserved": 7},
        ("pay", "do", 0, "sagaz:run-1:pay"),
        {"given": 1, "saga_id": "run-1", "reserved": 7},
        ("reserve", "undo", 0, "sagaz:run-1:reserve:undo"),
    ]
    assert one.journal.entries == [
        ("reserve", "do", "started"), ("reserve", "do", "done"), ("pay", "do", "started"), ("pay", "do", "failed"),
        ("reserve", "undo", "started"), ("reserve", "undo", "done"),
    ]  # fmt: skip
    assert one.journal.compensated == ["reserve"], "it had one when it was called"
    assert one.journal.decisions == [("compensating", "step 'pay': ValueError: no")]
    assert (one.executor.course.decision, one.executor.course.message) == ("step 'pay': ValueError: no", "no")
    assert isinstance(one.executor.course.error, ValueError)
    assert one.executor.values == {"given": 1, "saga_id": "run-1", "reserved": 7}


async def test_events_tell_of_each_step_and_compensation(scene):
    one = scene(order([], fails="pay"), publishes=True)
    await run(one)
    assert [topic for topic, _ in one.journal.events] == [
        "Order.reserve.success", "Order.pay.failed", "Order.reserve.compensated"
    ]  # fmt: skip


async def test_a_run_that_rolled_back_before_goes_on_so_and_keeps_its_decision_and_message(scene):
    ledger = []
    steps = [entry("reserve", "done", result='{"reserved":7}'), entry("pay", "failed", error="ValueError: no money")]
    one = scene(order(ledger), steps=steps, direction="back", attempt=2, error="step 'pay': ValueError: no money")
    assert one.executor.course.decision == "step 'pay': ValueError: no money"
    assert one.executor.course.message == "no money"
    assert (await run(one)).end == "rolled_back"
    assert ledger[1:] == [("reserve", "undo", 0, "sagaz:run-1:reserve:undo")]


async def test_what_a_compensation_said_is_not_why_the_run_rolls_back(scene):
    steps = [entry("reserve", "done"), entry("reserve", "failed", "undo", error="OSError: away")]
    one = scene(order([]), steps=steps, direction="back", attempt=2, error="cancelled by ann")
    assert one.executor.course.message == "cancelled by ann"
    silent = scene(order([]), direction="back", attempt=2)
    assert (silent.executor.course.decision, silent.executor.course.message) == (None, "")


async def test_an_error_of_an_earlier_attempt_is_no_decision_of_a_run_that_goes_forward(scene):
    one = scene(order([]), error="the store was unreachable", attempt=2)
    assert one.executor.course.decision is None


# Once per call.


class Told(SagaListener):
    def __init__(self, notes):
        self.notes = notes

    async def on_saga_start(self, saga_name, saga_id, ctx):
        self.notes.append(("start", dict(ctx)))

    async def on_step_enter(self, saga_name, step, ctx):
        self.notes.append(("enter", step, dict(ctx)))

    async def on_step_success(self, saga_name, step, ctx, result):
        self.notes.append(("success", step, dict(ctx)))

    async def on_step_failure(self, saga_name, step, ctx, error):
        self.notes.append(("failure", step, dict(ctx), str(error)))

    async def on_compensation_complete(self, saga_name, step, ctx):
        self.notes.append(("undone", step, dict(ctx)))

    async def on_compensation_start(self, saga_name, step, ctx):
        self.notes.append(("undo", step, dict(ctx)))

    async def on_saga_complete(self, saga_name, saga_id, ctx):
        self.notes.append(("complete", dict(ctx)))

    async def on_saga_failed(self, saga_name, saga_id, ctx, error):
        self.notes.append(("failed", str(error)))


BASE = {"given": 1, "saga_id": "run-1"}


async def test_listeners_see_the_context_before_and_after_each_step(scene):
    notes = []
    one = scene(order([]), listeners=[Told(notes)])
    await run(one)
    await one.executor.tell_end(None)
    await one.executor.tell_end(ValueError("no"))
    whole = {**BASE, "reserved": 7}
    assert notes == [
        ("start", BASE), ("enter", "reserve", BASE), ("success", "reserve", whole),
        ("enter", "pay", whole), ("success", "pay", whole), ("complete", whole), ("failed", "no"),
    ]  # fmt: skip


async def test_listeners_see_the_context_of_a_failure_and_of_a_compensation(scene):
    notes, whole = [], {**BASE, "reserved": 7}
    await run(scene(order([], fails="pay"), listeners=[Told(notes)]))
    assert notes[-3:] == [("failure", "pay", whole, "no"), ("undo", "reserve", whole), ("undone", "reserve", whole)]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"attempt": 1}, True),
        ({"attempt": 1, "steps": [entry("reserve", "started")]}, True),
        ({"attempt": 2}, True),  # Nobody has called a step, so nobody has told of it.
        ({"attempt": 2, "steps": [entry("reserve", "done")]}, False),
        ({"attempt": 1, "begun": ("reserve",)}, True),
    ],
)
async def test_the_start_is_told_by_whoever_calls_the_first_step(scene, values, told):
    notes = []
    await run(scene(order([]), listeners=[Told(notes)], **values))
    assert any(note[0] == "start" for note in notes) is told


@pytest.mark.parametrize(
    ("status", "began", "after_death", "told"),
    [
        ("started", 2, True, True),
        ("started", 2, False, False),
        ("started", 1, True, False),
        ("failed", 2, False, True),
        ("in_doubt", 1, False, True),
    ],
)
async def test_a_call_that_is_made_again_is_told_again_unless_it_surely_was(scene, status, began, after_death, told):
    notes, steps = [], [entry("reserve", status, attempt=began)]
    await run(scene(order([]), listeners=[Told(notes)], attempt=3, steps=steps, after_death=after_death))
    assert any(note[:2] == ("enter", "reserve") for note in notes) is told


@pytest.mark.parametrize(
    ("status", "becomes"), [("started", "in_doubt"), ("in_doubt", "in_doubt"), ("failed", "failed")]
)
async def test_a_failure_is_in_doubt_when_an_earlier_attempt_does_not_know_its_end(scene, status, becomes):
    one = scene(order([], fails="reserve"), attempt=2, steps=[entry("reserve", status)])
    await run(one)
    assert one.journal.entries[1] == ("reserve", "do", becomes)


async def test_a_step_that_the_claim_has_begun_was_not_called_before(scene):
    one = scene(order([], fails="reserve"), begun=("reserve",))
    await run(one)
    assert one.journal.entries == [("reserve", "do", "failed")]


# Hooks.


async def test_hooks_are_given_a_copy_of_the_context_and_nobody_else_is(scene):
    seen = []

    class Hooked(Saga):
        @action("a", on_enter=lambda ctx, step: seen.append((step, dict(ctx))) or ctx.update(given="changed"))
        async def a(self, ctx):
            seen.append(dict(ctx))
            return {"a": [1]}

        @compensate("a", on_compensate=lambda ctx, step: seen.append(("undo", dict(ctx))) or ctx.clear())
        async def undo(self, ctx):
            seen.append(dict(ctx))

        @action("b", depends_on=["a"], on_failure=lambda ctx, step, error: seen.append((step, dict(ctx), str(error))))
        async def b(self, ctx):
            raise ValueError("no")

    await run(scene(Hooked))
    whole = {**BASE, "a": [1]}
    assert seen == [("a", BASE), BASE, ("b", whole, "no"), ("undo", whole), whole]


async def test_success_is_told_with_what_was_added(scene):
    seen = []

    class Hooked(Saga):
        @action("a", on_success=lambda ctx, step, result: seen.append((dict(ctx), result)))
        async def a(self, ctx):
            ctx["assigned"] = 1
            return {"a": 2}

    await run(scene(Hooked))
    assert seen == [({**BASE, "assigned": 1, "a": 2}, {"a": 2})]


# Further tries.


async def test_a_call_that_went_well_is_not_made_again(scene):
    calls = []

    class Retried(Saga):
        retry_steps = True

        @action("a", max_retries=3)
        async def a(self, ctx):
            calls.append("a")

        @compensate("a")
        async def undo(self, ctx):
            calls.append("undo")

        @action("b", depends_on=["a"])
        async def b(self, ctx):
            raise ValueError("no")

    await run(scene(Retried))
    assert calls == ["a", "undo"]


async def test_further_tries_are_counted_paused_and_logged(scene, caplog):
    tries = []

    class Retried(Saga):
        retry_steps = True

        @action("a", max_retries=2)
        async def a(self, ctx):
            tries.append(current_step().retry)
            raise ValueError("no")

    one = scene(Retried)
    await run(one)
    assert (tries, one.pauses) == ([0, 1, 2], [1, 2])
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        f"Step 'a' failed, try {n} of 3: ValueError: no" for n in (1, 2)
    ]
    assert one.journal.entries[-1] == ("a", "do", "failed")


@pytest.mark.parametrize("first", [TimeoutError("no answer"), None])
async def test_a_try_without_a_known_end_leaves_the_step_in_doubt_whatever_comes_after(scene, first):
    class Retried(Saga):
        retry_steps = True

        @action("a", max_retries=1)
        async def a(self, ctx):
            if current_step().retry == 0:
                if first is None:
                    asyncio.current_task().cancel()
                    return
                raise first
            raise ValueError("no")

    one = scene(Retried)
    await run(one)
    assert one.journal.entries[-1] == ("a", "do", "in_doubt")


# What stops it.


async def test_a_lease_that_has_ended_stops_the_run_before_anything_is_called_or_told(scene):
    ledger, notes = [], []
    one = scene(order(ledger), steps=[entry("reserve", "done")], attempt=2, listeners=[Told(notes)])
    one.lease.remaining = 0
    state = await run(one)
    assert (state.end, state.begin, ledger, notes) == (None, (), [], [])
    assert isinstance(one.executor.halted, LeaseLost)
    assert "its lease ended before step 'pay' was called" in str(one.executor.halted)


async def test_a_lease_is_good_to_its_end(scene):
    one = scene(order([]))
    one.lease.remaining = 0.001
    assert (await run(one)).end == "completed"


def resumed(step, phase="do"):
    """Return the entry and the wait of a call that the claim of the second attempt has journaled as going on."""
    wait = WaitRecord("run-1", step, phase, "", 0, None, LONG_AGO, LONG_AGO, "timeout", 2)
    return {"attempt": 2, "steps": [entry(step, "started", phase, attempt=2)], "waits": (wait,)}


def sleeping(ledger, *, fails=False):
    class Sleeping(Saga):
        @action("a")
        async def a(self, ctx):
            await current_step().sleep(9)
            ledger.append("slept")
            if fails:
                raise ValueError("no")

        @compensate("a")
        async def undo(self, ctx):
            ledger.append("undo")

    return Sleeping


async def test_a_call_that_goes_on_after_its_wait_is_not_journaled_once_more_and_no_hook_is_told(scene):
    ledger = []
    told = SimpleNamespace(on_step_enter=lambda *given: ledger.append("entered"))
    one = scene(sleeping(ledger), listeners=[told], **resumed("a"))
    assert (await run(one)).end == "completed"
    assert (ledger, one.journal.entries) == (["slept"], [("a", "do", "done")])


async def test_a_call_that_goes_on_and_fails_is_in_doubt_for_what_stands_before_its_wait(scene):
    ledger = []
    one = scene(sleeping(ledger, fails=True), **resumed("a"))
    assert (await run(one)).end == "rolled_back"
    assert ledger == ["slept", "undo"]
    assert one.journal.entries[0] == ("a", "do", "in_doubt")


async def test_a_call_that_goes_on_is_journaled_again_if_its_compensation_is_new(scene):
    given = resumed("a")
    given["steps"] = [replace(given["steps"][0], compensated=False)]
    one = scene(sleeping([]), **given)
    assert (await run(one)).end == "completed"
    assert (one.journal.entries[0], one.journal.compensated) == (("a", "do", "started"), ["a"])


@pytest.mark.parametrize(
    ("status", "compensated", "noted"),
    [("started", True, True), ("in_doubt", True, True), ("failed", True, False), ("started", False, False)],
)
async def test_a_step_that_is_called_again_owes_the_compensation_that_an_earlier_call_may_need(
    scene, status, compensated, noted
):
    before = [entry("reserve", "done"), replace(entry("pay", status), compensated=compensated)]
    one = scene(order([]), attempt=2, steps=before)
    assert (await run(one)).end == "completed"
    assert ("pay" in one.journal.compensated) is noted, "this deployment has no compensation of it"


async def test_a_call_whose_wait_ends_after_the_deadline_is_not_called_but_compensated(scene):
    ledger = []
    one = scene(sleeping(ledger), deadline_in=-1.0, **resumed("a"))
    assert (await run(one)).end == "rolled_back"
    assert (ledger, one.journal.entries[0]) == (["undo"], ("a", "do", "in_doubt"))
    assert one.entries.all["a", "do"].error.startswith("The run's deadline has passed.")


async def test_a_call_whose_wait_ends_is_not_called_in_a_run_that_rolls_back(scene):
    ledger = []
    one = scene(sleeping(ledger), direction="back", **resumed("a"))
    assert (await run(one)).end == "rolled_back"
    assert ledger == ["undo"]


def waiting(ledger, entered):
    class Waits(Saga):
        @action("a")
        async def a(self, ctx):
            entered.set()
            try:
                await asyncio.Event().wait()
            finally:
                ledger.append("stopped")

        @compensate("a")
        async def undo(self, ctx):
            ledger.append("undo")

        @action("b", depends_on=["a"])
        async def b(self, ctx):
            ledger.append("b")

    return Waits


async def test_a_run_that_is_stopped_calls_and_undoes_nothing_more_and_keeps_the_first_reason(scene, monkeypatch):
    # The first cancellation is the one that is heeded.
    monkeypatch.setattr(call_tasks, "_AGAIN_SECONDS", 60.0)
    ledger, entered = [], asyncio.Event()
    one = scene(waiting(ledger, entered))
    task = asyncio.create_task(run(one))
    await entered.wait()
    reasons = RunInterrupted("first"), LeaseLost("second")
    for reason in reasons:
        one.executor.halt(reason)
    state = await task
    assert (state.end, state.begin, ledger) == (None, (), ["stopped"])
    assert one.executor.halted is reasons[0]
    assert one.journal.entries == [("a", "do", "started")]


async def test_a_run_that_is_stopped_before_it_begins_calls_nothing(scene):
    ledger = []
    one = scene(order(ledger))
    one.executor.halt(RunInterrupted("before"))
    state = await run(one)
    assert (state.end, state.begin, ledger) == (None, (), [])


async def test_whoever_executes_a_run_and_is_cancelled_stops_it_and_waits_for_its_steps(scene):
    ledger, entered = [], asyncio.Event()
    one = scene(waiting(ledger, entered))
    task = asyncio.create_task(one.executor.run())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ledger == ["stopped"]
    assert isinstance(one.executor.halted, RunInterrupted)
    assert "the task that executes it was cancelled" in str(one.executor.halted)


async def test_a_step_that_does_not_heed_its_cancellation_is_cancelled_again(scene, monkeypatch):
    monkeypatch.setattr(call_tasks, "_AGAIN_SECONDS", 0.01)
    entered, cancelled = asyncio.Event(), []

    class Stubborn(Saga):
        @action("a")
        async def a(self, ctx):
            entered.set()
            while len(cancelled) < 3:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    cancelled.append(1)

    one = scene(Stubborn)
    task = asyncio.create_task(run(one))
    await entered.wait()
    one.executor.halt(RunInterrupted("now"))
    await task
    assert len(cancelled) == 3


async def test_a_task_that_somebody_else_cancels_outside_of_its_step_halts_the_run(scene):
    ledger = []
    one = scene(order(ledger))
    one.journal.gate = asyncio.Event()
    task = asyncio.create_task(one.executor.run())
    await one.journal.writing.wait()
    [call] = [each for each in asyncio.all_tasks() if each.get_name() == "sagaz:run-1:reserve"]
    call.cancel()
    await task
    assert ledger == []
    assert "The task of step 'reserve' was cancelled by somebody else" in str(one.executor.halted)


async def test_a_task_that_somebody_else_cancels_before_it_has_begun_is_begun_again(scene):
    ledger = []
    one = scene(order(ledger))
    # Who makes tasks in another way, and Python 3.11, have them begin at the loop's next turn.
    asyncio.get_running_loop().set_task_factory(lambda loop, work, **options: asyncio.Task(work, loop=loop, **options))
    task = asyncio.create_task(one.executor.run())
    await asyncio.sleep(0)
    [call] = [each for each in asyncio.all_tasks() if each.get_name() == "sagaz:run-1:reserve"]
    call.cancel()
    state = await task
    assert (state.end, call.cancelled(), one.executor.halted) == ("completed", True, None)
    assert [entry[0] for entry in ledger if type(entry) is tuple] == ["reserve", "pay"]


async def test_a_run_that_is_stopped_in_the_first_turn_of_a_step_cancels_that_step_at_once(scene, monkeypatch):
    monkeypatch.setattr(call_tasks, "_AGAIN_SECONDS", 60.0)
    ledger = []

    class Stops(Saga):
        @action("a")
        async def a(self, ctx):
            one.executor.halt(LeaseLost("gone"))
            try:
                await asyncio.Event().wait()
            finally:
                ledger.append("cancelled")

        @action("b", on_enter=lambda *_: ledger.append("b is entered"))
        async def b(self, ctx):
            ledger.append("b")

    one = scene(Stops)
    async with asyncio.timeout(20):
        state = await run(one)
    assert (state.end, ledger) == (None, ["cancelled"])


async def test_what_follows_a_step_is_called_once_each_although_one_of_it_ends_in_its_first_turn(scene):
    ledger = []

    class Fan(Saga):
        @action("a")
        async def a(self, ctx):
            await asyncio.sleep(0)
            ledger.append("a")

        @action("b", depends_on=["a"])
        async def b(self, ctx):
            ledger.append("b")

        @action("c", depends_on=["a"])
        async def c(self, ctx):
            ledger.append("c")

        @action("d", depends_on=["b"])
        async def d(self, ctx):
            ledger.append("d")

    one = scene(Fan)
    state = await run(one)
    assert (state.end, sorted(ledger)) == ("completed", ["a", "b", "c", "d"])
    assert ledger[:3] == ["a", "b", "c"]


async def test_what_a_step_sets_in_its_context_variables_the_next_one_does_not_see(scene):
    variable, seen = contextvars.ContextVar("variable", default="before"), []

    class Setting(Saga):
        @action("a")
        async def a(self, ctx):
            seen.append(variable.get())
            variable.set("a's")

        @action("b", depends_on=["a"])
        async def b(self, ctx):
            seen.append(variable.get())

    variable.set("the caller's")
    one = scene(Setting)
    await run(one)
    assert seen == ["the caller's", "the caller's"]


async def test_a_journal_that_cannot_be_written_halts_the_run_and_no_step_has_failed(scene):
    ledger = []
    one = scene(order(ledger))
    error = RuntimeError("ours")

    async def refuse(write):
        raise error

    one.entries._writer._submit = refuse
    state = await one.executor.run()
    assert (state.end, ledger, one.executor.halted) == (None, [], error)
    assert one.executor.course.error is None


async def test_nothing_is_journaled_of_a_step_that_ends_after_the_run_was_stopped(scene):
    one = None

    class Stops(Saga):
        @action("a")
        async def a(self, ctx):
            one.executor.halt(RunInterrupted("now"))
            return {"a": 1}

    one = scene(Stops)
    await run(one)
    assert one.journal.entries == [("a", "do", "started")]


async def test_a_hook_that_has_the_run_stopped_keeps_its_step_from_being_called(scene):
    one, ledger = None, []

    class Stops(Saga):
        @action("a", on_enter=lambda ctx, step: one.executor.halt(RunInterrupted("now")))
        async def a(self, ctx):
            ledger.append("a")

    one = scene(Stops)
    await run(one)
    gc.collect()
    assert (ledger, one.journal.entries) == ([], [])


async def test_a_step_whose_task_has_not_begun_is_not_called_when_the_run_is_stopped(scene, caplog):
    one, ledger = None, []

    class Wide(Saga):
        @action("a")
        async def a(self, ctx):
            one.executor.halt(RunInterrupted("now"))

        @action("b")
        async def b(self, ctx):
            ledger.append("b")

    one = scene(Wide, begun=("a", "b"))
    await run(one)
    assert (ledger, caplog.records) == ([], [])


async def test_what_stops_the_process_stops_the_run_and_goes_on(scene):
    one = scene(order([]))

    async def exits(step, phase):
        raise SystemExit(3)

    one.executor._calls.make = exits
    call = ("reserve", "do")
    # Raised out of a task, it would end the loop of this test.
    one.executor._tasks.begin(call, asyncio.sleep(60))
    [task] = one.executor._tasks._tasks.values()
    with pytest.raises(SystemExit):
        await one.executor._call(*call)
    assert "this process is stopping" in str(one.executor.halted)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_call_whose_loop_is_gone_is_closed_without_a_word(scene):
    one = scene(order([]))

    async def waits(step, phase):
        await asyncio.sleep(60)

    one.executor._calls.make = waits
    call = one.executor._call("reserve", "do")
    call.send(None)
    call.close()
    assert one.executor.halted is None


@pytest.mark.parametrize("exits", [True, False])
async def test_a_step_that_gets_no_thread_has_not_failed_if_it_is_this_process_that_exits(scene, monkeypatch, exits):
    if exits:
        # As at an exit: a pool refuses what it is given.
        monkeypatch.setattr(interpreter_exit, "ThreadPoolExecutor", Refusing)

    class Exits(Saga):
        retry_steps = True

        @action("a", max_retries=3)
        async def a(self, ctx):
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    one = scene(Exits)
    await run(one)
    if exits:
        assert "this process is exiting" in str(one.executor.halted)
        assert (one.pauses, one.journal.entries) == ([], [("a", "do", "started")])
    else:
        # Another one has said so, whose error came here.
        assert (one.executor.halted, one.pauses) == (None, [1, 2, 3])
        assert ("a", "do", "failed") in one.journal.entries


class Refusing(ThreadPoolExecutor):
    def submit(self, *given):
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")


async def test_a_failure_stops_what_depends_on_it_and_waits_for_what_runs_beside_it(scene):
    ledger, runs, failed = [], asyncio.Event(), asyncio.Event()

    class Wide(Saga):
        @action("bad")
        async def bad(self, ctx):
            await runs.wait()
            failed.set()
            raise ValueError("no")

        @action("beside")
        async def beside(self, ctx):
            runs.set()
            await failed.wait()
            ledger.append("beside")

        @compensate("beside")
        async def undo(self, ctx):
            ledger.append("undo beside")

        @action("behind", depends_on=["beside"])
        async def behind(self, ctx):
            ledger.append("behind")

    one = scene(Wide)
    assert (await run(one)).end == "rolled_back"
    assert ledger == ["beside", "undo beside"]


async def test_a_compensation_that_returns_a_coroutine_or_raises_has_failed(scene):
    async def nothing():
        """Awaited by nobody."""

    class Sad(Saga):
        @action("a")
        async def a(self, ctx): ...

        @compensate("a")
        async def undo_a(self, ctx):
            return nothing()

        @action("b", depends_on=["a"])
        async def b(self, ctx): ...

        @compensate("b")
        async def undo_b(self, ctx):
            raise OSError("away")

        @action("c", depends_on=["b"])
        async def c(self, ctx):
            raise ValueError("no")

    state = await run(scene(Sad))
    assert state.end == "failed"
    assert state.left[0].startswith("compensation of 'a': StepError: The compensation of step 'a' returned a coroutine")
    assert state.left[1] == "compensation of 'b': OSError: away"


async def test_an_instance_that_has_run_refers_to_itself_no_more(scene):
    class Made(Saga):
        def __init__(self):
            super().__init__()

        @action("a")
        async def a(self, ctx): ...

        @compensate("a")
        async def undo(self, ctx): ...

    one = scene(Made)
    await run(one)
    [step] = one.executor._prepared.saga._steps
    assert step.forward_fn is not None
    one.executor.close()
    assert (step.forward_fn, step.compensation_fn) == (None, None)
