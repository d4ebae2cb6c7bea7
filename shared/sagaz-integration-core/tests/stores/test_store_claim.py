"""Who gets a run, in which order, for how long, and what happens when its holder is gone."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import chain

import pytest
from store_builders import LEASE, SHORT, claim_all, claimed, eventually, load, new, step, write

from sagaz_integration_core.records import Release

pytestmark = pytest.mark.anyio


async def test_a_claim_tells_what_is_needed_to_execute_the_run(store):
    run = new(correlation_id="c-1")
    await store.insert([run], LEASE)
    (claim,) = await store.claim("w1", 10, LEASE)
    assert (claim.saga_id, claim.saga_name, claim.status) == (run.saga_id, "OrderSaga", "executing")
    assert (claim.attempt, claim.failures, claim.error, claim.steps) == (1, 0, None, ())
    assert claim.correlation_id == "c-1"
    record = await load(store, run.saga_id)
    assert (record.status, record.attempt, record.lease_owner) == ("executing", 1, "w1")
    assert record.lease_expires_at is not None
    assert record.available_at == record.lease_expires_at


async def test_the_oldest_due_run_comes_first(store):
    start = datetime.now(UTC) - timedelta(hours=1)
    runs = [new(not_before=start + timedelta(seconds=offset)) for offset in (30, 10, 20, 0)]
    await store.insert(runs, LEASE)
    first = await store.claim("w1", 3, LEASE)
    rest = await store.claim("w1", 3, LEASE)
    assert [c.saga_id for c in first + rest] == [runs[i].saga_id for i in (3, 1, 2, 0)]


async def test_only_the_named_runs_are_claimed(store):
    runs = [new() for _ in range(4)]
    await store.insert(runs, LEASE)
    wanted = [runs[2].saga_id, runs[0].saga_id]
    assert {c.saga_id for c in await store.claim("w1", 10, LEASE, [*wanted, new().saga_id])} == set(wanted)
    assert await store.claim("w1", 10, LEASE, []) == []
    assert len(await store.claim("w1", 1, LEASE, [runs[1].saga_id, runs[3].saga_id])) == 1


async def test_a_limit_of_none_claims_none(store):
    await store.insert([new()], LEASE)
    assert await store.claim("w1", 0, LEASE) == []


async def test_eight_claimers_at_once_never_get_the_same_run(store):
    runs = [new() for _ in range(400)]
    await store.insert(runs, LEASE)

    async def take(owner):
        mine = []
        while got := await store.claim(owner, 7, LEASE):
            mine += [claim.saga_id for claim in got]
            await asyncio.sleep(0)
        return mine

    taken = await asyncio.gather(*(take(f"w{n}") for n in range(8)))
    assert Counter(chain.from_iterable(taken)) == Counter(run.saga_id for run in runs)


async def test_an_ended_lease_is_a_failure_and_fences_the_former_owner_out(store):
    old = await claimed(store, "w1", SHORT)
    assert await store.write([write(old, steps=(step("pay", "started"),))]) == [True]
    (new_claim,) = await eventually(lambda: claim_all(store, "w2"))
    assert (new_claim.attempt, new_claim.failures, new_claim.status) == (2, 1, "executing")
    assert [(s.step, s.status, s.attempt) for s in new_claim.steps] == [("pay", "started", 1)]
    assert await store.write([write(old, "w1", status="completed")]) == [False]
    assert await store.write([write(old, "w2", status="completed")]) == [False]
    assert await store.renew("w1", [(old.saga_id, 1)], LEASE) == set()
    assert (await load(store, old.saga_id)).lease_owner == "w2"
    assert await store.write([write(new_claim, "w2", status="completed")]) == [True]


async def test_the_same_owner_is_fenced_out_of_its_former_attempt(store):
    old = await claimed(store, "w1", SHORT)
    (again,) = await eventually(lambda: claim_all(store, "w1"))
    assert await store.write([write(old)]) == [False]
    assert await store.renew("w1", [(old.saga_id, old.attempt)], LEASE) == set()
    assert await store.renew("w1", [(again.saga_id, again.attempt)], LEASE) == {again.saga_id}


async def test_a_lease_that_ended_is_still_good_while_nobody_has_taken_the_run(store):
    run = await claimed(store, "w1", SHORT)

    async def ended():
        return (await store.stats()).due

    await eventually(ended)
    assert await store.write([write(run, steps=(step("pay", "started"),))]) == [True]
    assert await store.renew("w1", [(run.saga_id, run.attempt)], LEASE) == {run.saga_id}
    assert await claim_all(store, "w2") == []


async def test_renewed_runs_stay_with_their_owner_beyond_the_first_lease(store):
    kept, lost = await claimed(store, "w1", SHORT), await claimed(store, "w1", SHORT)
    pairs = [(kept.saga_id, kept.attempt), (new().saga_id, 1), (lost.saga_id, 7)]
    assert await store.renew("w1", pairs, LEASE) == {kept.saga_id}
    (taken,) = await eventually(lambda: claim_all(store, "w2"))
    assert taken.saga_id == lost.saga_id
    assert await claim_all(store, "w2") == []


async def test_nothing_is_renewed_for_another_owner(store):
    run = await claimed(store, "w1")
    assert await store.renew("w2", [(run.saga_id, run.attempt)], LEASE) == set()
    assert await store.renew("w1", [], LEASE) == set()


async def test_a_compensating_run_is_claimed_as_such_with_its_error_and_journal(store):
    run = await claimed(store)
    entries = (step("a", "started"), step("a", "done", result='{"x": 1}'), step("b", "started"))
    await store.write([write(run, steps=entries)])
    failed = (step("b", "failed", error="declined"),)
    await store.write([write(run, steps=failed, status="compensating", error="declined")])
    await store.write([write(run, release=Release())])
    (again,) = await claim_all(store, "w2")
    assert (again.status, again.error, again.attempt, again.failures) == ("compensating", "declined", 2, 0)
    assert [(s.step, s.status, s.error) for s in again.steps] == [("a", "done", None), ("b", "failed", "declined")]
