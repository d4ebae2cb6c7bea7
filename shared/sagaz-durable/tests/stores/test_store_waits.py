"""What a wait or a signal does to the run that it is for, and to no other; what a batch tells of waits."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain

import pytest

from sagaz_durable.testing.store_conformance.builders import (
    KNOWN,
    LEASE,
    LONG_AGO,
    SOON,
    claim_all,
    claimed,
    load,
    new,
    new_id,
    park,
    parked,
    signal,
    step,
    wait,
    write,
)
from sagaz_integration_core.contract.decisions import Intervention
from sagaz_integration_core.contract.records import Release
from sagaz_integration_core.contract.waits import Sent

pytestmark = pytest.mark.anyio


async def test_waits_that_are_left_in_the_batch_that_registers_them_are_gone(store):
    run = await claimed(store)
    begins = write(run, steps=(step("a", "waiting"), step("b", "waiting")), waits=(wait(), wait(step="b")))
    goes_on = write(run, steps=(step("a", "done"),), left_waits=(("a", "do"),))
    assert await store.write([begins, goes_on, write(run, release=Release(waits=True))]) == [True, True, True]
    assert [one.step for one in await store.load_waits(run.saga_id)] == ["b"]
    await store.send([signal(saga_id=run.saga_id)])
    [again] = await claim_all(store)
    assert [(one.step, one.outcome) for one in again.waits] == [("b", "signal")]


async def test_a_run_that_is_due_and_was_sent_a_signal_takes_one_place_of_a_claim(store):
    run = await parked(store, wait(until=LONG_AGO))
    await store.send([signal(saga_id=run.saga_id)])
    await store.insert([new() for _ in range(9)], LEASE)
    taken = await store.claim("w1", 6, LEASE, KNOWN)
    assert len({one.saga_id for one in taken}) == len(taken) == 6
    assert run.saga_id in [one.saga_id for one in taken]


async def test_where_all_sleep_on_a_claim_takes_the_oldest_of_those_that_are_due(store):
    await parked(store, wait("", until=SOON), name="A")
    start = datetime.now(UTC) - timedelta(hours=1)
    runs = [new(not_before=start + timedelta(seconds=n)) for n in range(9)]
    await store.insert(runs, LEASE)
    assert [one.saga_id for one in await store.claim("w1", 4, LEASE, KNOWN)] == [run.saga_id for run in runs[:4]]


async def test_beside_those_that_wake_up_the_youngest_of_all_sagas_have_half_of_a_claim(store):
    """In memory, where a look at all that are due costs nothing, the oldest of the others."""
    slept = {(await parked(store, wait("", until=LONG_AGO), name="A")).saga_id for _ in range(4)}
    now = datetime.now(UTC)
    old = [new(name="A", not_before=now - timedelta(hours=1, seconds=n)) for n in range(3)]
    young = [new(name="B", not_before=now - timedelta(minutes=1, seconds=n)) for n in range(3)]
    await store.insert(old + young, LEASE)
    taken = {one.saga_id for one in await store.claim("w1", 4, LEASE, KNOWN)}
    beside = old[1:] if store.embedded else young[:2]
    assert (len(taken & slept), taken - slept) == (2, {run.saga_id for run in beside})


async def test_eight_claimers_at_once_never_get_the_same_of_those_that_come_beside_what_wakes_up(store):
    slept = [(await parked(store, wait("", until=LONG_AGO))).saga_id for _ in range(40)]
    runs = [new() for _ in range(400)]
    await store.insert(runs, LEASE)

    async def take(owner: str) -> list[str]:
        mine = []
        while got := await store.claim(owner, 6, LEASE, KNOWN):
            mine += [claim.saga_id for claim in got]
        return mine

    taken = await asyncio.gather(*(take(f"w{n}") for n in range(8)))
    assert Counter(chain.from_iterable(taken)) == Counter([*slept, *(run.saga_id for run in runs)])


async def test_a_refused_wait_tells_who_waits_for_this_key_among_many(store):
    others = [await parked(store, wait(key=key)) for key in ("pi_1", "pi_2", "pi_3")]
    await parked(store, wait(key="pi_2"))
    [again] = await claim_all(store)
    assert json.loads(again.waits[0].payload) == {"saga_id": others[1].saga_id}


async def test_a_wait_that_is_refused_in_the_batch_that_registers_the_first_tells_who_waits(store):
    runs = [await claimed(store) for _ in range(3)]
    waits = (wait(key="pi_1"), wait(key="pi_2", step="b"), wait(key="pi_2", step="c"))
    begin = [
        write(run, waits=own, release=Release(waits=True))
        for run, own in zip(runs, (waits, *2 * [waits[:1]]), strict=True)
    ]
    assert await store.write(begin) == [True] * 3
    waiting = await store.load_waits(*(run.saga_id for run in runs))
    waits_for_pi_1 = [one for one in waiting if one.step == "a"]
    [first] = [one.saga_id for one in waits_for_pi_1 if one.outcome is None]
    told = [json.loads(one.payload) for one in waits_for_pi_1 if one.outcome == "refused"]
    assert told == [{"saga_id": first}] * 2
    of_itself = [json.loads(one.payload) for one in waiting if one.step != "a" and one.outcome == "refused"]
    assert of_itself == [{"saga_id": runs[0].saga_id}]


async def test_runs_that_begin_to_wait_in_one_batch_are_due_each_at_its_own_time(store):
    runs = [await claimed(store) for _ in range(3)]
    times = [SOON, SOON + timedelta(hours=1), None]
    writes = [
        write(run, steps=(step("a", "waiting"),), waits=(wait(until=until),), release=Release(waits=True))
        for run, until in zip(runs, times, strict=True)
    ]
    assert await store.write(writes) == [True] * 3
    due = [(await load(store, run.saga_id)).available_at for run in runs]
    assert (due[1] - due[0], due[2]) == (timedelta(hours=1), None)


async def test_a_compensation_that_was_under_way_is_not_taken_for_its_step_that_was_left_at_a_wait(store):
    run = await claimed(store, lease=0.0)
    await store.write([write(run, steps=(step("a", "waiting"),), status="compensating")])
    steps = (step("a", "started", "undo"), step("b", "waiting", "undo"))
    waits = (wait(phase="undo", until=LONG_AGO), wait(step="b", phase="undo"))
    await store.write([write(run, steps=steps, waits=waits)])
    [again] = await claim_all(store, "w2")
    assert [one.outcome for one in again.waits] == ["timeout", None]
    assert {(e.step, e.phase, e.status, e.attempt) for e in again.steps} == {
        ("a", "do", "waiting", 1),
        ("a", "undo", "started", 1),
        ("b", "undo", "waiting", 1),
    }


async def test_signals_to_others_that_were_there_before_make_no_run_due(store):
    await store.send([signal(saga_id=new_id()), signal(key="pi_1"), signal("shipped", key="pi_2")])
    run = await parked(store, wait(key="pi_2"))
    assert (await load(store, run.saga_id)).available_at is None
    assert await claim_all(store) == []


async def test_a_call_that_ends_leaves_the_waits_of_its_own_run_only(store):
    run, other = await claimed(store), await parked(store, wait(), wait(step="b"))
    await store.write([write(run, steps=(step("a", "waiting"),), waits=(wait(), wait(step="b")))])
    assert await store.write([write(run, steps=(step("a", "done"),), left_waits=(("a", "do"),))]) == [True]
    assert [one.step for one in await store.load_waits(run.saga_id)] == ["b"]
    assert [one.step for one in await store.load_waits(other.saga_id)] == ["a", "b"]


async def test_of_signals_that_are_sent_together_only_a_persons_is_noted(store):
    run, other = await parked(store, wait()), await parked(store, wait())
    by_person = replace(signal(saga_id=run.saga_id), actor="anna", reason="called the bank")
    assert [sent.created for sent in await store.send([by_person, signal(saga_id=other.saga_id)])] == [True, True]
    assert [note.actor for note in await store.load_audit(run.saga_id)] == ["anna"]
    assert await store.load_audit(other.saga_id) == []


@pytest.mark.parametrize("status", ["completed", "rolled_back", "failed"])
async def test_a_signal_to_a_run_that_has_ended_is_pruned_however_it_ended(store, status):
    run = await claimed(store)
    await store.send([signal(saga_id=run.saga_id)])
    now = datetime.now(UTC) + timedelta(minutes=1)
    assert await store.prune_signals(now, now, 10) == 0
    assert await store.write([write(run, status=status)]) == [True]
    assert await store.send([signal("late", saga_id=run.saga_id)]) == [Sent(False, None)]
    assert await store.prune_signals(now, now, 10) == 1


async def test_a_decision_ends_the_waits_of_its_own_run_only(store):
    run, other = await parked(store, wait(), wait("over")), await parked(store, wait())
    await store.send([signal("over", saga_id=run.saga_id)])
    [again] = await claim_all(store)
    await park(store, again)
    assert await store.intervene(Intervention(run.saga_id, 2, "waiting", "compensating", "cancel", "ann", "why"))
    assert await store.load_waits(run.saga_id) == []
    assert [one.outcome for one in await store.load_waits(other.saga_id)] == [None]


async def test_a_decision_that_wakes_a_run_ends_its_open_sleeps_only(store):
    run, other = [await parked(store, wait("", until=SOON), wait(until=SOON)) for _ in range(2)]
    assert await store.intervene(Intervention(run.saga_id, 1, "waiting", "waiting", "retry", "ann", "why"))
    now = datetime.now(UTC) + timedelta(minutes=1)
    assert [one.until <= now for one in await store.load_waits(run.saga_id)] == [True, False]
    assert [one.until for one in await store.load_waits(other.saga_id)] == [SOON, SOON]


async def test_a_call_that_ends_leaves_its_own_waits_and_not_those_of_its_compensation(store):
    run = await claimed(store)
    await store.write([write(run, steps=(step("a", "waiting", "undo"),), waits=(wait(), wait(phase="undo")))])
    assert await store.write([write(run, left_waits=(("a", "do"),))]) == [True]
    assert [one.phase for one in await store.load_waits(run.saga_id)] == ["undo"]


async def test_a_run_that_stops_waiting_keeps_what_its_waits_have_brought_and_others_keep_theirs(store):
    run, other = await parked(store, wait(), wait("b")), await parked(store, wait())
    await store.send([signal(saga_id=run.saga_id)])
    [again] = await claim_all(store)
    assert await store.write([write(again, stops_waiting=True)]) == [True]
    assert [(one.name, one.outcome) for one in await store.load_waits(run.saga_id)] == [("paid", "signal")]
    assert len(await store.load_waits(other.saga_id)) == 1


async def test_a_wait_takes_no_signal_of_another_name_that_was_sent_to_its_run(store):
    run = await claimed(store)
    await store.send([signal("shipped", saga_id=run.saga_id)])
    await park(store, run, wait(), wait("", until=LONG_AGO))
    [again] = await claim_all(store)
    assert [one.outcome for one in again.waits] == [None, "timeout"]
    assert await store.count_untaken() == 1


async def test_a_persons_signal_to_a_key_is_noted_for_who_waits_for_its_name(store):
    other, run = await parked(store, wait("shipped", key="pi_1")), await parked(store, wait(key="pi_1"))
    await store.send([replace(signal(key="pi_1"), actor="anna", reason="called the bank")])
    assert [note.actor for note in await store.load_audit(run.saga_id)] == ["anna"]
    assert await store.load_audit(other.saga_id) == []
