"""What a run records of its calls: in order, before what follows, as long as the lease lives, and never another's."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from sagaz_durable.engine.journal import writer as journal_writer
from sagaz_durable.engine.journal.entries import Entries
from sagaz_durable.engine.journal.known_entries import Entry
from sagaz_integration_core.contract.events import EventWrite
from sagaz_integration_core.contract.records import ClaimedRun, Release, RunWrite, StepRecord, StepWrite
from sagaz_integration_core.contract.waits import WaitRecord
from sagaz_integration_core.errors import LeaseLost, StoreUnavailable, UnstorableValue, WriteRefused

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Time:
    """Time that passes by sleeping only."""

    def __init__(self) -> None:
        self.now, self.pauses = 100.0, []

    def __getattr__(self, name):
        return getattr(asyncio, name)

    def monotonic(self):
        return self.now

    async def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


class Lease:
    def __init__(self, time) -> None:
        self.time, self.ends_at, self.stopped = time, 130.0, []

    @property
    def remaining(self):
        return self.ends_at - self.time.now

    def stop(self, error):
        self.stopped.append(error)


class Held:
    """Who waits for a further write."""

    def __init__(self) -> None:
        self.holders = []

    def hold(self, holder):
        self.holders.append(holder)

    def release(self, holder):
        self.holders = [one for one in self.holders if one is not holder]


class Store:
    """Answers each write as it is told, and with True when there is nothing left to tell."""

    def __init__(self, *answers) -> None:
        self.writes, self.answers, self.gate = [], list(answers), None

    async def submit(self, write):
        self.writes.append(write)
        if self.gate is not None:
            await self.gate.wait()
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def time(monkeypatch) -> Time:
    time = Time()
    monkeypatch.setattr(journal_writer, "time", time)
    monkeypatch.setattr(journal_writer, "asyncio", time)
    return time


@pytest.fixture
def scene(time):
    """Makes the entries of a run in its third attempt, with all that is around them."""

    def scene(*answers, steps=(), begun=(), waits=(), patience=5.0):
        run = ClaimedRun(
            "run-1", "Order", "executing", "{}", None, None, 3, 0, tuple(steps), tuple(begun), waits=tuple(waits)
        )
        store, lease, held = Store(*answers), Lease(time), Held()
        entries = Entries(run, "w1", lease, patience, store.submit, held)
        return SimpleNamespace(entries=entries, store=store, lease=lease, held=held)

    return scene


def record(step, status, phase="do", attempt=1, **values):
    return StepRecord(
        "run-1", step, phase, status, values.get("result"), values.get("error"), attempt, None, None, True
    )


def waited(step, phase="do", outcome=None, attempt=None):
    return WaitRecord("run-1", step, phase, "paid", 0, None, None, datetime(2020, 1, 1, tzinfo=UTC), outcome, attempt)


def written(*steps, **values):
    return RunWrite("run-1", "w1", 3, steps, **values)


def event(name):
    return EventWrite(name, "topic", "{}", "{}")


# What is known.


async def test_what_was_journaled_is_known_and_what_the_claim_has_begun_was_not_called_yet(scene):
    entries = scene(steps=[record("a", "done", result='{"n":1}')], begun=["b"]).entries
    assert entries.get("a", "do") == Entry("done", '{"n":1}', None, 1, True)
    assert entries.get("b", "do") == Entry("started", None, None, 3, False, begun=True)
    assert entries.get("a", "undo") is None
    assert list(entries.all) == [("a", "do"), ("b", "do")]


async def test_a_step_that_the_claim_has_begun_is_called_without_a_further_write(scene):
    all_ = scene(begun=["a"])
    await all_.entries.started("a", "do", compensated=True)
    assert all_.store.writes == []
    assert all_.entries.get("a", "do") == Entry("started", None, None, 3, True)
    await all_.entries.started("a", "do", compensated=True)
    assert len(all_.store.writes) == 1, "the next call of it is another one"


async def test_a_call_that_the_claim_has_resumed_goes_on_without_a_further_write(scene):
    all_ = scene(steps=[record("a", "started", attempt=3), record("b", "waiting", attempt=3)])
    await all_.entries.started("a", "do", compensated=True)
    assert all_.store.writes == []
    assert all_.entries.get("a", "do") == Entry("started", None, None, 3, True)
    await all_.entries.started("b", "do", compensated=True)
    await all_.entries.started("a", "do", compensated=True)
    assert [write.steps[0].step for write in all_.store.writes] == ["b", "a"], "the next call of it is another one"


async def test_a_call_is_journaled_before_it_begins_and_is_the_last_in_the_order(scene):
    all_ = scene(steps=[record("a", "failed"), record("b", "done")])
    await all_.entries.started("a", "do", compensated=True)
    assert all_.store.writes == [written(StepWrite("a", "do", "started", None, None, True))]
    assert list(all_.entries.all) == [("b", "do"), ("a", "do")]
    assert all_.entries.get("a", "do") == Entry("started", None, None, 3, True)
    await all_.entries.started("c", "do")
    assert all_.entries.get("c", "do").compensated is False


async def test_an_end_keeps_the_attempt_and_the_compensation_of_its_beginning_and_its_place(scene):
    entries = scene(steps=[record("a", "started", attempt=2), record("b", "started", attempt=2)]).entries
    entries.done("a", "do", '{"n":1}')
    assert entries.get("a", "do") == Entry("done", '{"n":1}', None, 2, True)
    assert list(entries.all) == [("a", "do"), ("b", "do")]
    entries.done("new", "undo", None)
    assert entries.get("new", "undo") == Entry("done", None, None, 3, False)


# What is written, and with what.


async def test_the_end_of_a_step_goes_with_the_beginning_of_the_next_one(scene):
    all_ = scene()
    await all_.entries.started("a", "do", compensated=True)
    all_.entries.done("a", "do", '{"n":1}', (event("a done"),))
    assert (len(all_.store.writes), all_.held.holders) == (1, [all_.entries])
    await all_.entries.started("b", "do")
    assert all_.store.writes[1] == written(
        StepWrite("a", "do", "done", '{"n":1}', None, True),
        StepWrite("b", "do", "started", None, None, False),
        events=(event("a done"),),
    )
    assert all_.held.holders == []
    await all_.entries.started("c", "do")
    assert [step.step for step in all_.store.writes[2].steps] == ["c"], "and is written once"
    assert all_.store.writes[2].events == ()
    all_.entries.done("b", "do", None)
    assert all_.entries.get("b", "do").compensated is False


async def test_a_failure_is_recorded_with_its_decision_and_events_behind_what_was_held(scene):
    all_ = scene()
    all_.entries.done("a", "do", None, (event("1"),))
    await all_.entries.failed("b", "do", "why", decision="step b: why", events=(event("2"),))
    assert all_.store.writes == [
        written(
            StepWrite("a", "do", "done"),
            StepWrite("b", "do", "failed", None, "why"),
            events=(event("1"), event("2")),
            status="compensating",
            error="step b: why",
        )
    ]
    assert all_.entries.get("b", "do") == Entry("failed", None, "why", 3, False)
    await all_.entries.failed("c", "undo", "no", in_doubt=True)
    assert all_.store.writes[1] == written(StepWrite("c", "undo", "in_doubt", None, "no"))
    assert all_.entries.get("c", "undo").status == "in_doubt"


async def test_the_end_of_a_run_takes_along_what_was_not_written_yet(scene):
    all_ = scene()
    all_.entries.done("a", "do", None)
    all_.entries.lost("b", "do", "cannot be stored")
    await all_.entries.finish("failed", "why", (event("1"),))
    assert all_.store.writes == [
        written(
            StepWrite("a", "do", "done"),
            StepWrite("b", "do", "in_doubt", None, "cannot be stored"),
            events=(event("1"),),
            status="failed",
            error="why",
        )
    ]


async def test_a_run_that_fails_keeps_what_its_waits_have_brought_and_frees_those_that_are_open(scene):
    over, still_open = waited("a", outcome="signal", attempt=2), waited("b")
    for waits, stops in (([over, still_open], True), ([over], False)):
        all_ = scene(waits=waits)
        await all_.entries.finish("failed", "why")
        assert all_.store.writes == [written(status="failed", error="why", stops_waiting=stops)]


async def test_a_run_that_ends_otherwise_leaves_all_its_waits(scene):
    all_ = scene(waits=[waited("a"), waited("b", "undo", "timeout", 2)])
    await all_.entries.finish("rolled_back", None)
    assert all_.store.writes == [written(status="rolled_back", left_waits=(("a", "do"), ("b", "undo")))]


async def test_a_failure_that_rolls_the_run_back_leaves_the_waits_of_steps_and_any_other_only_its_own(scene):
    waits = [waited("a"), waited("b"), waited("c", "undo")]
    for decision, left in (("because", (("b", "do"), ("a", "do"))), (None, (("b", "do"),))):
        all_ = scene(waits=waits)
        await all_.entries.failed("b", "do", "no", decision=decision)
        assert all_.store.writes[0].left_waits == left


async def test_a_run_is_given_back_with_its_reason(scene):
    all_ = scene()
    await all_.entries.release(Release(1.5, failed=True, detail="d"), "why")
    await all_.entries.release(Release())
    assert all_.store.writes == [
        written(release=Release(1.5, failed=True, detail="d"), error="why"), written(release=Release()),
    ]  # fmt: skip


async def test_only_an_end_that_was_recorded_is_progress(scene):
    all_ = scene(True, False)
    await all_.entries.started("a", "do")
    assert not all_.entries.progressed
    all_.entries.done("a", "do", None)
    with pytest.raises(LeaseLost):
        await all_.entries.started("b", "do")
    assert not all_.entries.progressed
    all_.entries.done("a", "undo", None)
    await all_.entries.started("b", "do")
    assert all_.entries.progressed
    await all_.entries.started("c", "do")
    assert all_.entries.progressed


# Writes of their own accord.


async def test_an_end_that_nothing_follows_is_written_when_its_time_is_over(scene):
    all_ = scene()
    all_.entries.flush()
    assert all_.entries._flushing is None, "nothing is held"
    all_.entries.done("a", "do", None, (event("1"),))
    all_.entries.flush()
    await all_.entries._flushing
    assert all_.store.writes == [written(StepWrite("a", "do", "done"), events=(event("1"),))]
    assert (all_.entries.progressed, all_.entries._flushing) == (True, None)


async def test_what_follows_waits_until_such_a_write_has_ended_and_goes_alone(scene):
    all_ = scene()
    all_.store.gate = asyncio.Event()
    all_.entries.done("a", "do", None)
    all_.entries.flush()
    following = asyncio.create_task(all_.entries.started("b", "do"))
    for _ in range(5):
        await asyncio.sleep(0)
    all_.entries.done("c", "do", None)
    all_.held.holders.clear()
    all_.entries.flush()
    assert all_.held.holders == [all_.entries], "one after the other"
    assert len(all_.store.writes) == 1
    all_.store.gate.set()
    await following
    assert [[step.step for step in write.steps] for write in all_.store.writes] == [["a"], ["c", "b"]]


async def test_a_write_of_its_own_accord_that_fails_stops_the_run(scene):
    refused = WriteRefused("no")
    all_ = scene(refused, patience=0)
    all_.entries.done("a", "do", None)
    all_.entries.flush()
    await all_.entries._flushing
    assert (all_.lease.stopped, all_.entries._flushing) == ([refused], None)
    gone = scene(False)
    gone.entries.done("a", "do", None)
    gone.entries.flush()
    await gone.entries._flushing
    assert [type(error) for error in gone.lease.stopped] == [LeaseLost]


async def test_whoever_waits_for_such_a_write_and_is_cancelled_does_not_cancel_it(scene):
    all_ = scene()
    all_.store.gate = asyncio.Event()
    all_.entries.done("a", "do", None)
    all_.entries.flush()
    following = asyncio.create_task(all_.entries.started("b", "do"))
    await asyncio.sleep(0)
    following.cancel()
    await asyncio.wait([following])
    all_.store.gate.set()
    await all_.entries._flushing
    assert (all_.entries.progressed, all_.lease.stopped) == (True, [])


async def test_nothing_is_written_of_a_run_that_is_not_this_process_any_more(scene):
    all_ = scene()
    all_.entries.done("a", "do", None, (event("1"),))
    all_.entries.close()
    assert all_.held.holders == []
    all_.entries.flush()
    assert all_.entries._flushing is None
    await all_.entries.release(Release())
    assert all_.store.writes == [written(release=Release())]


# What the store says.


async def test_a_write_that_is_fenced_out_means_that_the_run_is_anothers(scene, time):
    all_ = scene(False)
    with pytest.raises(LeaseLost, match=r"Run run-1 \(attempt 3\) is another process's now"):
        await all_.entries.started("a", "do")
    assert (len(all_.store.writes), time.pauses) == (1, [])


async def test_a_locked_row_is_tried_again_at_growing_pauses_while_the_lease_lives(scene, time):
    all_ = scene(*[None] * 6)
    await all_.entries.started("a", "do")
    assert time.pauses == [0.1, 0.2, 0.5, 1.0, 1.0, 1.0]
    assert all_.store.writes == [all_.store.writes[0]] * 7


async def test_a_locked_row_loses_the_lease_when_it_would_end_before_the_next_try(scene, time):
    all_ = scene(*[None] * 20)
    all_.lease.ends_at = time.now + 2.3
    with pytest.raises(LeaseLost, match="its row was locked by another transaction for too long"):
        await all_.entries.started("a", "do")
    assert time.pauses == [0.1, 0.2, 0.5, 1.0]


async def test_a_pause_may_take_all_that_is_left_of_the_lease(scene, time):
    for answer in (None, StoreUnavailable("away")):
        all_ = scene(answer)
        time.now = 0.0
        all_.lease.ends_at = 0.1
        await all_.entries.started("a", "do")
        assert len(all_.store.writes) == 2


async def test_an_unreachable_store_is_asked_again_until_the_lease_ends_however_short_its_patience(scene, time):
    all_ = scene(*[StoreUnavailable("away")] * 100, patience=0)
    with pytest.raises(StoreUnavailable):
        await all_.entries.started("a", "do")
    assert all_.lease.remaining < 1
    assert len(time.pauses) > 20


async def test_a_write_that_is_refused_is_tried_again_for_as_long_as_its_patience_from_the_first_refusal_on(
    scene, time, caplog
):
    answers = [*[StoreUnavailable("away")] * 6, *[WriteRefused("no")] * 20]
    all_ = scene(*answers, patience=5.0)
    with pytest.raises(WriteRefused):
        await all_.entries.started("a", "do")
    assert time.pauses == [0.1, 0.2, 0.5, 1.0, 1.0, 1.0, *[1.0] * 5]
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 5
    assert "Run run-1: its journal was refused, trying again: WriteRefused: no" in warnings[0].getMessage()


async def test_a_refused_write_is_not_tried_beyond_the_end_of_the_lease(scene, time):
    all_ = scene(*[WriteRefused("no")] * 20, patience=60.0)
    all_.lease.ends_at = time.now + 0.5
    with pytest.raises(WriteRefused):
        await all_.entries.started("a", "do")
    assert time.pauses == [0.1, 0.2]


async def test_a_write_that_is_refused_for_a_moment_is_recorded(scene):
    all_ = scene(WriteRefused("no"), RuntimeError("ours"))
    await all_.entries.started("a", "do")
    assert len(all_.store.writes) == 3


async def test_texts_that_the_database_cannot_store_are_written_in_plain_characters_at_once(scene, time):
    all_ = scene(UnstorableValue("no such character"))
    await all_.entries.failed("a", "do", "Zürich", decision="in Zürich")
    assert all_.store.writes[1] == written(
        StepWrite("a", "do", "failed", None, "Z\\xfcrich"), status="compensating", error="in Z\\xfcrich"
    )
    assert (time.pauses, all_.entries.unstorable) == ([], None)


async def test_a_result_that_the_database_can_never_store_is_told_with_its_write(scene):
    error = UnstorableValue("no such character")
    all_ = scene(error, error)
    all_.entries.done("a", "do", '"Zürich"')
    with pytest.raises(UnstorableValue):
        await all_.entries.failed("b", "do", "Zürich")
    assert len(all_.store.writes) == 2, "once more with plain errors, for they may have been to blame"
    assert all_.entries.unstorable == all_.store.writes[1]
    assert all_.entries.unstorable.steps[0].result == '"Zürich"'
