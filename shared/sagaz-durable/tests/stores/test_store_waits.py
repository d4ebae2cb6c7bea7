"""What a wait or a signal does to the run that it is for, and to no other; what a batch tells of waits."""

from __future__ import annotations

import asyncio
from collections import Counter
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
    new,
    parked,
    signal,
    step,
    wait,
    write,
)
from sagaz_integration_core.contract.records import Release

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
