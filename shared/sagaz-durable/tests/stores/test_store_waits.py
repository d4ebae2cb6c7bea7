"""Waits and signals, on every store."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import NAMESPACE_OID, uuid5

import pytest
from store_builders import KNOWN, LEASE, claim_all, claimed, load, new, new_id, step, write

from sagaz_integration_core.contract.decisions import Intervention
from sagaz_integration_core.contract.records import Release
from sagaz_integration_core.contract.waits import NewSignal, Sent, SignalFilter, WaitWrite

pytestmark = pytest.mark.anyio

PARK = Release(waits=True)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
SOON = datetime.now(UTC) + timedelta(days=1)


def wait(name="paid", step="a", phase="do", n=0, **values):
    return WaitWrite(step, phase, name, n, **values)


def signal(name="paid", saga_id=None, key=None, signal_id="", payload='{"n": 1}', fingerprint="f"):
    its_id = str(uuid5(NAMESPACE_OID, f"{name}/{saga_id}/{key}/{signal_id}"))
    return NewSignal(its_id, name, saga_id, key, signal_id, payload, fingerprint)


async def parked(store, *waits, owner="w1", **values):
    """Insert a run, claim it, and have it wait."""
    run = await claimed(store, owner, **values)
    await park(store, run, *waits, owner=owner)
    return run


async def park(store, run, *waits, owner="w1", **values):
    steps = tuple(step(one.step, "waiting", one.phase) for one in waits)
    assert await store.write([write(run, owner, steps=steps, waits=waits, release=PARK, **values)]) == [True]


async def waits_of(store, run):
    return {(one.step, one.name, one.n): one for one in await store.load_waits(run.saga_id)}


async def test_a_run_that_waits_has_no_lease_and_is_not_claimed(store):
    run = await parked(store, wait())
    record = await load(store, run.saga_id)
    assert (record.status, record.lease_owner, record.available_at) == ("waiting", None, None)
    assert await claim_all(store) == []
    assert await store.load_attempts(run.saga_id) == []
    [entry] = await store.load_steps(run.saga_id)
    assert entry.status == "waiting"


async def test_a_signal_to_its_saga_id_makes_a_run_due_and_is_taken_by_the_claim(store):
    run = await parked(store, wait())
    assert await store.send([signal(saga_id=run.saga_id)]) == [Sent(True, "f")]
    [again] = await claim_all(store)
    assert (again.saga_id, again.status, again.attempt) == (run.saga_id, "executing", 2)
    [taken] = again.waits
    assert (taken.outcome, taken.attempt, taken.payload) == ("signal", 2, '{"n": 1}')
    assert await store.count_untaken() == 0
    [kept] = await store.find_signals(SignalFilter(state="taken"))
    assert (kept.taken_by, kept.payload) == (run.saga_id, None)


async def test_a_signal_to_a_key_makes_the_run_due_that_waits_for_it(store):
    run, _ = await parked(store, wait(key="pi_1")), await parked(store, wait(key="pi_2"))
    await store.send([signal(key="pi_1")])
    assert [one.saga_id for one in await claim_all(store)] == [run.saga_id]


async def test_a_signal_that_came_early_makes_the_run_due_when_it_begins_to_wait(store):
    run = await claimed(store)
    await store.send([signal(saga_id=run.saga_id)])
    await park(store, run, wait())
    [again] = await claim_all(store)
    assert again.waits[0].outcome == "signal"


async def test_signals_are_taken_oldest_first_and_one_for_each_wait(store):
    run = await claimed(store)
    for n in range(3):
        await store.send([signal(saga_id=run.saga_id, signal_id=str(n), payload=f'{{"n": {n}}}')])
    await park(store, run, wait(), wait(n=1))
    [again] = await claim_all(store)
    assert [one.payload for one in again.waits] == ['{"n": 0}', None]
    await park(store, again)
    [third] = await claim_all(store)
    assert [one.payload for one in third.waits] == ['{"n": 0}', '{"n": 1}']
    assert [one.attempt for one in third.waits] == [2, 3]
    assert await store.count_untaken() == 1


async def test_a_signal_of_another_name_or_run_wakes_nobody(store):
    run = await parked(store, wait())
    await store.send([signal("shipped", saga_id=run.saga_id), signal(saga_id=new_id()), signal(key="paid")])
    assert await claim_all(store) == []
    assert await store.count_untaken() == 3


async def test_a_repeated_signal_is_recognised_and_left_as_it_is(store):
    run = await parked(store, wait())
    await store.send([signal(saga_id=run.saga_id)])
    assert await store.send([signal(saga_id=run.saga_id, fingerprint="g")]) == [Sent(False, "f")]
    await claim_all(store)
    assert await store.send([signal(saga_id=run.saga_id, fingerprint="g")]) == [Sent(False, "f")]
    assert await store.count_untaken() == 0


async def test_a_signal_to_a_run_that_has_ended_is_refused_but_a_repeated_one_is_recognised(store):
    run = await parked(store, wait())
    await store.send([signal(saga_id=run.saga_id)])
    [again] = await claim_all(store)
    await store.write([write(again, status="completed", left_waits=(("a", "do"),))])
    assert await store.send([signal(saga_id=run.saga_id), signal("late", saga_id=run.saga_id)]) == [
        Sent(False, "f"),
        Sent(False, None),
    ]
    assert await store.count_untaken() == 0
    assert await store.load_waits(run.saga_id) == []


async def test_a_wait_is_over_when_its_time_is(store):
    run = await parked(store, wait(until=LONG_AGO), wait("", n=0, seconds=0), wait("later", seconds=1000))
    [again] = await claim_all(store)
    assert again.saga_id == run.saga_id
    assert [one.outcome for one in again.waits] == ["timeout", "timeout", None]


async def test_a_run_that_waits_is_due_when_the_first_of_its_times_comes(store):
    run = await parked(store, wait(until=SOON + timedelta(hours=1)), wait("", until=SOON), wait("other"))
    assert abs((await load(store, run.saga_id)).available_at - SOON) < timedelta(milliseconds=1)


async def test_a_signal_that_is_there_wins_over_a_time_that_is_over(store):
    run = await claimed(store)
    await store.send([signal(saga_id=run.saga_id)])
    await park(store, run, wait(until=LONG_AGO))
    [again] = await claim_all(store)
    assert again.waits[0].outcome == "signal"


async def test_the_time_of_a_wait_is_fixed_when_it_is_registered(store):
    run = await parked(store, wait(until=SOON), wait("x", until=LONG_AGO))
    [again] = await claim_all(store)
    await park(store, again, wait(until=SOON + timedelta(days=9)))
    assert (await waits_of(store, run))["a", "paid", 0].until == SOON


async def test_a_second_wait_for_a_key_is_refused_and_told_who_waits(store):
    first = await parked(store, wait(key="pi_1"))
    second = await parked(store, wait(key="pi_1"))
    [again] = await claim_all(store)
    assert again.saga_id == second.saga_id
    [refused] = again.waits
    assert (refused.outcome, refused.key, first.saga_id in refused.payload) == ("refused", None, True)
    await park(store, again)
    assert await claim_all(store) == []


async def test_a_key_is_free_again_when_its_wait_is_over(store):
    first = await parked(store, wait(key="pi_1"))
    await store.send([signal(key="pi_1")])
    await claim_all(store)
    second = await parked(store, wait(key="pi_1"), owner="w2")
    assert (await waits_of(store, second))["a", "paid", 0].outcome is None
    assert (await waits_of(store, first))["a", "paid", 0].key is None


async def test_the_same_wait_registered_twice_stays_as_it_is(store):
    run = await claimed(store)
    entry = (step("a", "waiting"),)
    for _ in range(2):
        assert await store.write([write(run, steps=entry, waits=(wait(key="pi_1"),))]) == [True]
    [one] = await store.load_waits(run.saga_id)
    assert (one.outcome, one.key) == (None, "pi_1")


async def test_waits_that_are_left_wake_nobody(store):
    run = await claimed(store)
    await store.write([write(run, steps=(step("a", "waiting"),), waits=(wait(key="pi_1"),))])
    await store.send([signal(key="pi_1")])
    await park(store, run, wait("refunded", step="b"), left_waits=(("a", "do"),))
    assert await claim_all(store) == []
    assert [one.step for one in await store.load_waits(run.saga_id)] == ["b"]


async def test_a_claim_ends_waits_of_a_run_whose_process_died_too(store):
    run = await claimed(store, lease=0.0)
    await store.write([write(run, steps=(step("a", "waiting"),), waits=(wait(),))])
    await store.send([signal(saga_id=run.saga_id)])
    [again] = await claim_all(store, "w2")
    assert (again.after_death, again.waits[0].outcome, again.waits[0].attempt) == (True, "signal", 2)


async def test_a_write_that_is_fenced_out_registers_no_wait(store):
    run = await claimed(store)
    assert await store.write([write(run, "w2", waits=(wait(),), release=PARK)]) == [False]
    assert await store.load_waits(run.saga_id) == []


async def test_a_run_that_waits_in_its_compensation_goes_on_compensating(store):
    run = await claimed(store)
    await store.write([write(run, status="compensating")])
    await park(store, run, wait("refunded", phase="undo"))
    assert (await load(store, run.saga_id)).direction == "back"
    await store.send([signal("refunded", saga_id=run.saga_id)])
    [again] = await claim_all(store)
    assert (again.status, again.direction) == ("compensating", "back")


async def test_a_wait_clears_failures(store):
    run = await claimed(store)
    await store.write([write(run, release=Release(failed=True))])
    [again] = await claim_all(store)
    assert again.failures == 1
    await park(store, again, wait())
    assert (await load(store, run.saga_id)).failures == 0


async def test_only_who_knows_the_saga_claims_a_run_that_was_sent_a_signal(store):
    run = await parked(store, wait())
    await store.send([signal(saga_id=run.saga_id)])
    assert await store.claim("w2", 10, LEASE, {"B": ()}) == []
    assert len(await store.claim("w1", 10, LEASE, KNOWN)) == 1


async def test_a_signal_that_was_seen_before_anybody_waited_is_taken_later(store):
    run = await claimed(store)
    await store.send([signal(saga_id=run.saga_id)])
    await claim_all(store)
    await store.heartbeat("w1", LEASE)
    await park(store, run, wait())
    assert len(await claim_all(store)) == 1


@pytest.mark.parametrize(("status", "left"), [("compensating", 0), ("failed", 0), ("waiting", 2)])
async def test_a_decision_ends_the_waits_or_lets_sleeps_be_over(store, status, left):
    run = await parked(store, wait("", seconds=1000), wait(seconds=1000))
    assert await store.intervene(Intervention(run.saga_id, 1, "waiting", status, "cancel", "me", "why"))
    assert len(await store.load_waits(run.saga_id)) == left
    if status == "waiting":
        [again] = await claim_all(store)
        assert [one.outcome for one in again.waits] == ["timeout", None]


async def test_signals_are_listed_newest_first_by_name_run_and_state(store):
    run = await parked(store, wait())
    for name in ("paid", "b", "c"):
        await store.send([signal(name, saga_id=run.saga_id)])
    await claim_all(store)
    assert [one.name for one in await store.find_signals(SignalFilter())] == ["c", "b"]
    assert [one.name for one in await store.find_signals(SignalFilter(state=None))] == ["c", "b", "paid"]
    assert [one.name for one in await store.find_signals(SignalFilter(name="b"))] == ["b"]
    assert await store.find_signals(SignalFilter(saga_id=new_id())) == []
    [first] = await store.find_signals(SignalFilter(limit=1))
    assert [one.name for one in await store.find_signals(SignalFilter(before=(first.created_at, first.id)))] == ["b"]


async def test_old_signals_are_pruned_taken_and_untaken_each_by_its_own_time(store):
    run = await parked(store, wait())
    await store.send([signal(saga_id=run.saga_id), signal("never", key="k")])
    await claim_all(store)
    now = datetime.now(UTC) + timedelta(minutes=1)
    assert await store.prune_signals(LONG_AGO, LONG_AGO, 10) == 0
    assert await store.prune_signals(now, LONG_AGO, 10) == 1
    assert await store.count_untaken() == 1
    assert await store.prune_signals(now, now, 10) == 1
    assert await store.count_untaken() == 0


async def test_a_persons_signal_to_a_run_is_noted_in_its_audit(store):
    run = await parked(store, wait())
    by = {"actor": "anna", "reason": "called the bank"}
    for _ in range(2):
        await store.send([replace(signal(saga_id=run.saga_id), **by)])
    [note] = await store.load_audit(run.saga_id)
    assert (note.action, note.actor, note.reason, note.found) == ("signal", "anna", "called the bank", "waiting")
    assert len(await claim_all(store)) == 1


async def test_untaken_signals_and_runs_past_their_deadline_are_counted(store):
    await store.insert([replace(new(), deadline=LONG_AGO), replace(new(), deadline=1000.0)], LEASE)
    await store.send([signal(key="k")])
    stats = await store.stats()
    assert (stats.untaken_signals, stats.overdue) == (1, 1)


async def test_a_claim_tells_how_long_a_run_has_until_its_deadline(store):
    await store.insert([replace(new(), deadline=100.0)], LEASE)
    [run] = await claim_all(store)
    assert 90 < run.deadline_in <= 100
    await park(store, run, wait())
    assert (await load(store, run.saga_id)).available_at is None


async def test_a_run_that_waits_is_due_at_its_deadline_if_that_is_asked_for(store):
    await store.insert([replace(new(), deadline=SOON)], LEASE)
    [run] = await claim_all(store)
    entry = (step("a", "waiting"),)
    release = Release(waits=True, by_deadline=True)
    waits = (wait(until=SOON + timedelta(days=1)),)
    assert await store.write([write(run, steps=entry, waits=waits, release=release)]) == [True]
    assert abs((await load(store, run.saga_id)).available_at - SOON) < timedelta(milliseconds=1)


async def test_a_retry_removes_the_deadline(store):
    await store.insert([replace(new(), deadline=SOON)], LEASE)
    [run] = await claim_all(store)
    await store.write([write(run, status="failed")])
    assert await store.intervene(Intervention(run.saga_id, 1, "failed", "pending", "retry", "me", "why"))
    assert (await load(store, run.saga_id)).deadline is None


async def test_a_deleted_run_leaves_no_waits(store):
    run = await parked(store, wait(key="pi_1"))
    assert await store.intervene(Intervention(run.saga_id, 1, "waiting", "failed", "resolve", "me", "why"))
    assert await store.delete(run.saga_id)
    second = await parked(store, wait(key="pi_1"))
    assert (await waits_of(store, second))["a", "paid", 0].outcome is None
