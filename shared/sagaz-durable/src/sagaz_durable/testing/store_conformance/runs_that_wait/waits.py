"""What runs wait for, and their deadlines."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sagaz_durable.testing.store_conformance.builders import (
    AT_ONCE,
    LEASE,
    LONG_AGO,
    SOON,
    claim_all,
    claimed,
    load,
    new,
    park,
    parked,
    signal,
    step,
    taken_one,
    wait,
    waits_of,
    write,
)
from sagaz_integration_core.contract.decisions import Intervention
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.contract.records import ClaimedRun, Release, RunStatus
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.contract.waits import WaitWrite, decision_signal


async def due_at(store: SagaStore, run: ClaimedRun, moment: datetime) -> None:
    """Check when a run that waits is due; databases keep microseconds."""
    due = (await load(store, run.saga_id)).available_at
    assert due is not None
    assert abs(due - moment) < timedelta(milliseconds=1)


class Waits:
    """A run that waits holds nothing, and is due when the first of its waits is over."""

    async def test_a_run_that_waits_has_no_lease_and_is_not_claimed(self, store: SagaStore) -> None:
        run = await parked(store, wait())
        record = await load(store, run.saga_id)
        assert (record.status, record.lease_owner, record.available_at) == ("waiting", None, None)
        assert await claim_all(store) == []
        assert await store.load_attempts(run.saga_id) == []
        [entry] = await store.load_steps(run.saga_id)
        assert entry.status == "waiting"

    async def test_a_wait_is_over_when_its_time_is(self, store: SagaStore) -> None:
        run = await parked(store, wait(until=LONG_AGO), wait("", n=0, seconds=0), wait("later", seconds=1000))
        [again] = await claim_all(store)
        assert again.saga_id == run.saga_id
        assert [one.outcome for one in again.waits] == ["timeout", "timeout", None]

    async def test_a_run_that_waits_is_due_when_the_first_of_its_times_comes(self, store: SagaStore) -> None:
        run = await parked(store, wait(until=SOON + timedelta(hours=1)), wait("", until=SOON), wait("other"))
        await due_at(store, run, SOON)

    async def test_the_time_of_a_wait_is_fixed_when_it_is_registered(self, store: SagaStore) -> None:
        run = await parked(store, wait(until=SOON), wait("x", until=LONG_AGO))
        [again] = await claim_all(store)
        await park(store, again, wait(until=SOON + timedelta(days=9)))
        assert (await waits_of(store, run))["a", "paid", 0].until == SOON

    async def test_a_second_wait_for_a_key_is_refused_and_told_who_waits(self, store: SagaStore) -> None:
        first = await parked(store, wait(key="pi_1"))
        second = await parked(store, wait(key="pi_1"))
        [again] = await claim_all(store)
        assert again.saga_id == second.saga_id
        [refused] = again.waits
        assert (refused.outcome, refused.key) == ("refused", None)
        assert first.saga_id in (refused.payload or "")
        await park(store, again)
        assert await claim_all(store) == []

    async def test_a_key_is_free_again_when_its_wait_is_over(self, store: SagaStore) -> None:
        first = await parked(store, wait(key="pi_1"))
        await store.send([signal(key="pi_1")])
        await claim_all(store)
        second = await parked(store, wait(key="pi_1"), owner="w2")
        assert (await waits_of(store, second))["a", "paid", 0].outcome is None
        assert (await waits_of(store, first))["a", "paid", 0].key is None

    async def test_the_same_wait_registered_twice_stays_as_it_is(self, store: SagaStore) -> None:
        run = await claimed(store)
        entry = (step("a", "waiting"),)
        for _ in range(2):
            assert await store.write([write(run, steps=entry, waits=(wait(key="pi_1"),))]) == [True]
        [one] = await store.load_waits(run.saga_id)
        assert (one.outcome, one.key) == (None, "pi_1")

    async def test_waits_that_are_left_wake_nobody(self, store: SagaStore) -> None:
        run = await claimed(store)
        await store.write([write(run, steps=(step("a", "waiting"),), waits=(wait(key="pi_1"),))])
        await store.send([signal(key="pi_1")])
        await park(store, run, wait("refunded", step="b"), left_waits=(("a", "do"),))
        assert await claim_all(store) == []
        assert [one.step for one in await store.load_waits(run.saga_id)] == ["b"]

    async def test_a_claim_ends_waits_of_a_run_whose_process_died_too(self, store: SagaStore) -> None:
        run = await claimed(store, lease=0.0)
        await store.write([write(run, steps=(step("a", "waiting"),), waits=(wait(),))])
        await store.send([signal(saga_id=run.saga_id)])
        [again] = await claim_all(store, "w2")
        assert (again.after_death, again.waits[0].outcome, again.waits[0].attempt) == (True, "signal", 2)

    async def test_a_claim_journals_that_the_call_whose_wait_it_ends_goes_on(self, store: SagaStore) -> None:
        run = await claimed(store)
        await store.write([write(run, steps=(step("a", "started", compensated=True), step("b", "started")))])
        await park(store, run, wait(), wait("", until=SOON), wait("late", step="b"))
        await store.send([signal(saga_id=run.saga_id)])
        [again] = await claim_all(store)
        assert [(e.step, e.status, e.attempt, e.compensated) for e in again.steps] == [
            ("b", "waiting", 1, False),
            ("a", "started", 2, True),
        ]
        assert [entry.finished_at is None for entry in again.steps] == [False, True]
        assert await store.load_steps(run.saga_id) == list(again.steps)

    @pytest.mark.parametrize("over", [wait(until=LONG_AGO), wait("", seconds=0), wait(key="pi_1")])
    async def test_a_call_goes_on_by_its_time_and_if_it_is_refused_too(self, store: SagaStore, over: WaitWrite) -> None:
        await parked(store, wait(key="pi_1"))
        await parked(store, over, wait("other"))
        [again] = await claim_all(store)
        assert [(entry.step, entry.status, entry.attempt) for entry in again.steps] == [("a", "started", 2)]

    async def test_only_what_the_run_still_wants_goes_on(self, store: SagaStore) -> None:
        run = await claimed(store)
        await store.write([write(run, status="compensating")])
        await park(store, run, wait(until=LONG_AGO), wait("", phase="undo", until=LONG_AGO))
        [again] = await claim_all(store)
        assert {(entry.phase, entry.status, entry.attempt) for entry in again.steps} == {
            ("do", "waiting", 1),
            ("undo", "started", 2),
        }

    async def test_a_call_that_was_not_left_at_its_wait_is_journaled_as_it_was(self, store: SagaStore) -> None:
        run = await claimed(store, lease=0.0)
        await store.write([write(run, steps=(step("a", "started"),), waits=(wait(until=LONG_AGO),))])
        [again] = await claim_all(store, "w2")
        assert [(entry.status, entry.attempt) for entry in again.steps] == [("started", 1)]
        assert again.waits[0].outcome == "timeout"

    async def test_a_call_that_goes_on_is_under_way_when_its_process_dies(self, store: SagaStore) -> None:
        run = await parked(store, wait(until=LONG_AGO))
        await claim_all(store, lease=AT_ONCE)
        again = await taken_one(store, run.saga_id)
        [died] = await store.load_attempts(run.saga_id)
        assert (died.attempt, died.outcome, died.under_way) == (2, "died", "a")
        assert [(entry.status, entry.attempt) for entry in again.steps] == [("started", 2)]

    async def test_a_write_that_is_fenced_out_registers_no_wait(self, store: SagaStore) -> None:
        run = await claimed(store)
        assert await store.write([write(run, "w2", waits=(wait(),), release=Release(waits=True))]) == [False]
        assert await store.load_waits(run.saga_id) == []

    async def test_a_run_that_waits_in_its_compensation_goes_on_compensating(self, store: SagaStore) -> None:
        run = await claimed(store)
        await store.write([write(run, status="compensating")])
        await park(store, run, wait("refunded", phase="undo"))
        assert (await load(store, run.saga_id)).direction == "back"
        await store.send([signal("refunded", saga_id=run.saga_id)])
        [again] = await claim_all(store)
        assert (again.status, again.direction) == ("compensating", "back")

    async def test_a_wait_clears_failures(self, store: SagaStore) -> None:
        run = await claimed(store)
        await store.write([write(run, release=Release(failed=True))])
        [again] = await claim_all(store)
        assert again.failures == 1
        await park(store, again, wait())
        assert (await load(store, run.saga_id)).failures == 0

    @pytest.mark.parametrize(("status", "left"), [("compensating", 0), ("completed", 0), ("waiting", 2)])
    async def test_a_decision_ends_the_waits_or_lets_sleeps_be_over(
        self, store: SagaStore, status: RunStatus, left: int
    ) -> None:
        run = await parked(store, wait("", seconds=1000), wait(seconds=1000))
        assert await store.intervene(Intervention(run.saga_id, 1, "waiting", status, "cancel", "me", "why"))
        assert len(await store.load_waits(run.saga_id)) == left
        if status == "waiting":
            [again] = await claim_all(store)
            assert [one.outcome for one in again.waits] == ["timeout", None]

    async def test_a_claim_tells_how_long_a_run_has_until_its_deadline(self, store: SagaStore) -> None:
        await store.insert([replace(new(), deadline=100.0)], LEASE)
        [run] = await claim_all(store)
        assert 90 < (run.deadline_in or 0) <= 100
        await park(store, run, wait())
        assert (await load(store, run.saga_id)).available_at is None

    async def test_a_run_that_waits_is_due_at_its_deadline_if_that_is_asked_for(self, store: SagaStore) -> None:
        await store.insert([replace(new(), deadline=SOON)], LEASE)
        [run] = await claim_all(store)
        entry = (step("a", "waiting"),)
        release = Release(waits=True, by_deadline=True)
        waits = (wait(until=SOON + timedelta(days=1)),)
        assert await store.write([write(run, steps=entry, waits=waits, release=release)]) == [True]
        await due_at(store, run, SOON)

    async def test_a_deleted_run_leaves_no_waits(self, store: SagaStore) -> None:
        run = await parked(store, wait(key="pi_1"))
        assert await store.intervene(Intervention(run.saga_id, 1, "waiting", "failed", "resolve", "me", "why"))
        assert await store.delete(run.saga_id)
        second = await parked(store, wait(key="pi_1"))
        assert (await waits_of(store, second))["a", "paid", 0].outcome is None

    async def test_a_run_that_waits_in_a_step_that_is_gone_is_made_due(self, store: SagaStore) -> None:
        lost, kept = await parked(store, wait(step="gone")), await parked(store, wait(step="a"))
        await parked(store, wait(step="gone"), name="OtherSaga")
        assert await store.rouse_lost({"OrderSaga": ["a", "b"], "A": ["a"]}) == 1
        assert [run.saga_id for run in await claim_all(store)] == [lost.saga_id]
        assert (await load(store, kept.saga_id)).available_at is None

    @pytest.mark.parametrize("moment", [datetime(1970, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(days=3653)])
    async def test_the_first_and_the_last_time_that_may_be_given_are_kept(
        self, store: SagaStore, moment: datetime
    ) -> None:
        later, limited = new(not_before=moment), new(deadline=moment)
        await store.insert([later, limited], LEASE)
        record = await load(store, later.saga_id)
        assert record.available_at is not None
        assert abs(record.available_at - moment) < timedelta(milliseconds=1)
        ends = (await load(store, limited.saga_id)).deadline
        assert ends is not None
        assert abs(ends - moment) < timedelta(milliseconds=1)
        [kept] = await store.load_waits((await parked(store, wait("", until=moment))).saga_id)
        assert kept.until is not None
        assert abs(kept.until - moment) < timedelta(milliseconds=1)
        longest = new(deadline=timedelta(days=3653).total_seconds())
        await store.insert([longest], LEASE)
        assert len(await store.find(RunFilter())) == 4

    async def test_runs_that_wait_in_a_step_that_is_gone_are_counted(self, store: SagaStore) -> None:
        run = await parked(store, wait(step="gone"), wait("", step="gone", until=SOON), wait(step="lost", phase="undo"))
        await parked(store, wait(step="gone"), wait(step="a"))
        for name in ("A", "OtherSaga"):
            await parked(store, wait(step="gone"), name=name)
        steps = {"OrderSaga": ["a", "b"], "A": ["a", "b"]}
        found = {("OrderSaga", "gone"): 2, ("OrderSaga", "lost"): 1, ("A", "gone"): 1}
        assert await store.count_lost(steps) == found
        assert await store.count_lost({"OrderSaga": ["a", "gone", "lost"]}) == {}
        assert (await load(store, run.saga_id)).available_at is not None, "it is due when its time is over, as before"
        assert await claim_all(store) == []

    async def test_only_open_waits_of_runs_that_wait_are_counted_as_lost(self, store: SagaStore) -> None:
        run = await parked(store, wait(step="gone"))
        busy = await parked(store, wait(step="gone"), wait("open", step="gone"))
        await store.send([signal(saga_id=run.saga_id), signal(saga_id=busy.saga_id)])
        again = {one.saga_id: one for one in await claim_all(store)}
        assert await store.count_lost({"OrderSaga": ["a"]}) == {}
        await park(store, again[run.saga_id], wait(step="a"))
        assert await store.count_lost({"OrderSaga": ["a"]}) == {}

    async def test_runs_that_wait_for_a_person_are_counted(self, store: SagaStore) -> None:
        asked = [decision_signal(step, "undo", 1) for step in "ab"]
        both = await parked(store, *(wait(name, step, "undo") for name, step in zip(asked, "ab", strict=True)))
        await parked(store, wait(decision_signal("a", "redo", 1), phase="redo"), wait(step="b"))
        await parked(store, wait("SAGAZ:undo:a:1"), wait("sagaz"), wait(""))
        assert (await store.stats()).asking == 2
        await store.send([signal(name, both.saga_id) for name in asked])
        await claim_all(store)
        assert (await store.stats()).asking == 1

    async def test_the_waits_of_several_runs_come_at_once(self, store: SagaStore) -> None:
        first, second = await parked(store, wait(), wait("x")), await parked(store, wait("", seconds=1000))
        await parked(store, wait())
        found = await store.load_waits(second.saga_id, first.saga_id, "nowhere")
        assert [one.name for one in found if one.saga_id == first.saga_id] == ["paid", "x"]
        assert [one.name for one in found if one.saga_id == second.saga_id] == [""]
        assert len(found) == 3
        assert await store.load_waits() == []
