"""Who gets a run, in which order, for how long, and what happens when its holder is gone."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

from sagaz_durable.testing.store_conformance.builders import (
    KNOWN,
    LEASE,
    LONG_AGO,
    SHORT,
    claim_all,
    claimed,
    eventually,
    load,
    new,
    parked,
    step,
    wait,
    write,
)
from sagaz_integration_core.contract.records import FirstStep, FirstSteps, Release, RunWrite, StepRecord
from sagaz_integration_core.contract.store import SagaStore

RESERVE, NOTIFY = FirstStep("reserve", True), FirstStep("notify", False)


FIRST: FirstSteps = {"OrderSaga": (RESERVE, NOTIFY), "OtherSaga": (FirstStep("pay", True),), "LateSaga": ()}


def entries(steps: Iterable[StepRecord]) -> list[tuple[Any, ...]]:
    """Return what tells journal entries apart, but for the times of their beginning."""
    return [(s.step, s.phase, s.status, s.attempt, s.result, s.error, s.finished_at) for s in steps]


class Claims:
    """Nobody else gets a run while its lease lives, and whoever lost it is fenced out."""

    async def test_a_claim_tells_what_is_needed_to_execute_the_run(self, store: SagaStore) -> None:
        run = new(correlation_id="c-1")
        await store.insert([run], LEASE)
        (claim,) = await store.claim("w1", 10, LEASE, KNOWN)
        assert (claim.saga_id, claim.saga_name, claim.status) == (run.saga_id, "OrderSaga", "executing")
        assert (claim.attempt, claim.failures, claim.error, claim.steps) == (1, 0, None, ())
        assert claim.correlation_id == "c-1"
        record = await load(store, run.saga_id)
        assert (record.status, record.attempt, record.lease_owner) == ("executing", 1, "w1")
        assert record.lease_expires_at is not None
        assert record.available_at == record.lease_expires_at

    async def test_runs_that_wake_up_take_half_of_a_claim_and_leave_the_rest_to_others(self, store: SagaStore) -> None:
        slept = {(await parked(store, wait("", until=LONG_AGO))).saga_id for _ in range(9)}
        await store.insert([new() for _ in range(9)], LEASE)
        taken = [run.saga_id for run in await store.claim("w1", 6, LEASE, KNOWN)]
        assert (len(taken), len(slept.intersection(taken))) == (6, 3)

    async def test_where_all_wake_up_at_once_a_claim_leaves_places_for_what_comes_later(self, store: SagaStore) -> None:
        for _ in range(9):
            await parked(store, wait("", until=LONG_AGO))
        assert [len(await store.claim("w1", limit, LEASE, KNOWN)) for limit in (6, 8, 2, 1)] == [3, 4, 1, 1]
        assert await claim_all(store) == []

    async def test_where_there_is_one_place_those_that_wake_up_and_others_take_turns(self, store: SagaStore) -> None:
        for _ in range(30):
            await parked(store, wait("", until=LONG_AGO))
        await store.insert([new() for _ in range(30)], LEASE)
        taken = [run for _ in range(30) for run in await store.claim("w1", 1, LEASE, KNOWN)]
        assert (len(taken), {run.attempt for run in taken}) == (30, {1, 2})

    async def test_the_oldest_due_run_comes_first(self, store: SagaStore) -> None:
        start = datetime.now(UTC) - timedelta(hours=1)
        runs = [new(not_before=start + timedelta(seconds=offset)) for offset in (30, 10, 20, 0)]
        await store.insert(runs, LEASE)
        first = await store.claim("w1", 3, LEASE, KNOWN)
        rest = await store.claim("w1", 3, LEASE, KNOWN)
        assert [c.saga_id for c in first + rest] == [runs[i].saga_id for i in (3, 1, 2, 0)]

    async def test_only_the_named_runs_are_claimed(self, store: SagaStore) -> None:
        runs = [new() for _ in range(4)]
        await store.insert(runs, LEASE)
        wanted = [runs[2].saga_id, runs[0].saga_id]
        assert {c.saga_id for c in await store.claim("w1", 10, LEASE, KNOWN, saga_ids=[*wanted, new().saga_id])} == set(
            wanted
        )
        assert await store.claim("w1", 10, LEASE, KNOWN, saga_ids=[]) == []
        assert len(await store.claim("w1", 1, LEASE, KNOWN, saga_ids=[runs[1].saga_id, runs[3].saga_id])) == 1

    async def test_a_limit_of_none_claims_none(self, store: SagaStore) -> None:
        await store.insert([new()], LEASE)
        assert await store.claim("w1", 0, LEASE, KNOWN) == []

    async def test_eight_claimers_at_once_never_get_the_same_run(self, store: SagaStore) -> None:
        runs = [new() for _ in range(400)]
        await store.insert(runs, LEASE)

        async def take(owner: str) -> list[str]:
            mine = []
            while got := await store.claim(owner, 7, LEASE, KNOWN):
                mine += [claim.saga_id for claim in got]
                await asyncio.sleep(0)
            return mine

        taken = await asyncio.gather(*(take(f"w{n}") for n in range(8)))
        assert Counter(chain.from_iterable(taken)) == Counter(run.saga_id for run in runs)

    async def test_an_ended_lease_is_a_failure_and_fences_the_former_owner_out(self, store: SagaStore) -> None:
        old = await claimed(store, "w1", SHORT)
        assert await store.write([write(old, steps=(step("pay", "started"),))]) == [True]
        (new_claim,) = await eventually(lambda: claim_all(store, "w2"))
        assert (new_claim.attempt, new_claim.failures, new_claim.status) == (2, 1, "executing")
        assert [(s.step, s.status, s.attempt) for s in new_claim.steps] == [("pay", "started", 1)]
        assert await store.write([write(old, "w1", status="completed")]) == [False]
        assert await store.write([write(old, "w2", status="completed")]) == [False]
        assert (await store.renew("w1", [(old.saga_id, 1)], LEASE)).held == set()
        assert (await load(store, old.saga_id)).lease_owner == "w2"
        assert await store.write([write(new_claim, "w2", status="completed")]) == [True]

    async def test_the_same_owner_is_fenced_out_of_its_former_attempt(self, store: SagaStore) -> None:
        old = await claimed(store, "w1", SHORT)
        (again,) = await eventually(lambda: claim_all(store, "w1"))
        assert await store.write([write(old)]) == [False]
        assert (await store.renew("w1", [(old.saga_id, old.attempt)], LEASE)).held == set()
        assert (await store.renew("w1", [(again.saga_id, again.attempt)], LEASE)).held == {again.saga_id}

    async def test_a_lease_that_ended_is_still_good_while_nobody_has_taken_the_run(self, store: SagaStore) -> None:
        run = await claimed(store, "w1", SHORT)

        async def ended() -> bool:
            return (await store.stats()).due > 0

        await eventually(ended)
        assert await store.write([write(run, steps=(step("pay", "started"),))]) == [True]
        assert (await store.renew("w1", [(run.saga_id, run.attempt)], LEASE)).held == {run.saga_id}
        assert await claim_all(store, "w2") == []

    async def test_renewed_runs_stay_with_their_owner_beyond_the_first_lease(self, store: SagaStore) -> None:
        await store.heartbeat("w1", LEASE)
        kept, lost = await claimed(store, "w1", SHORT), await claimed(store, "w1", SHORT)
        pairs = [(kept.saga_id, kept.attempt), (new().saga_id, 1), (lost.saga_id, 7)]
        assert (await store.renew("w1", pairs, LEASE)).held == {kept.saga_id}
        (taken,) = await eventually(lambda: claim_all(store, "w2"))
        assert taken.saga_id == lost.saga_id
        assert await claim_all(store, "w2") == []

    async def test_nothing_is_renewed_for_another_owner(self, store: SagaStore) -> None:
        run = await claimed(store, "w1")
        assert (await store.renew("w2", [(run.saga_id, run.attempt)], LEASE)).held == set()
        assert (await store.renew("w1", [], LEASE)).held == set()

    async def test_a_compensating_run_is_claimed_as_such_with_its_error_and_journal(self, store: SagaStore) -> None:
        run = await claimed(store)
        entries = (step("a", "started"), step("a", "done", result='{"x": 1}'), step("b", "started"))
        await store.write([write(run, steps=entries)])
        failed = (step("b", "failed", error="declined"),)
        await store.write([write(run, steps=failed, status="compensating", error="declined")])
        await store.write([write(run, release=Release())])
        (again,) = await claim_all(store, "w2")
        assert (again.status, again.error, again.attempt, again.failures) == ("compensating", "declined", 2, 0)
        assert [(s.step, s.status, s.error) for s in again.steps] == [("a", "done", None), ("b", "failed", "declined")]

    async def test_the_first_claim_of_a_run_journals_the_first_steps_of_its_saga_and_tells_so(
        self, store: SagaStore
    ) -> None:
        known, unknown = new(), new(name="LateSaga")
        await store.insert([known, unknown], LEASE)
        claims = {claim.saga_id: claim for claim in await store.claim("w1", 10, LEASE, FIRST)}
        assert (claims[known.saga_id].begun, claims[known.saga_id].steps) == (("reserve", "notify"), ())
        assert (claims[unknown.saga_id].begun, claims[unknown.saga_id].steps) == ((), ())
        begun = await store.load_steps(known.saga_id)
        assert entries(begun) == [
            ("reserve", "do", "started", 1, None, None, None), ("notify", "do", "started", 1, None, None, None),
        ]  # fmt: skip
        assert all(entry.started_at is not None for entry in begun)
        assert await store.load_steps(unknown.saga_id) == []
        done = write(claims[known.saga_id], steps=(step("reserve", "done", result='{"x": 1}'),))
        assert await store.write([done]) == [True]
        assert [(s.step, s.status, s.started_at) for s in await store.load_steps(known.saga_id)] == [
            ("reserve", "done", begun[0].started_at), ("notify", "started", begun[1].started_at),
        ]  # fmt: skip

    async def test_a_later_claim_journals_nothing_and_finds_what_the_first_one_did(self, store: SagaStore) -> None:
        run = new()
        await store.insert([run], LEASE)
        (first,) = await store.claim("w1", 10, LEASE, FIRST, saga_ids=[run.saga_id])
        await store.write([write(first, steps=(step("notify", "done"),), release=Release())])
        (again,) = await store.claim("w2", 10, LEASE, FIRST, saga_ids=[run.saga_id])
        assert (again.attempt, again.begun) == (2, ())
        assert [(s.step, s.status, s.attempt) for s in again.steps] == [
            ("reserve", "started", 1),
            ("notify", "done", 1),
        ]

    async def test_a_run_that_is_inserted_under_a_lease_has_its_first_steps_journaled_with_it(
        self, store: SagaStore
    ) -> None:
        run, waiting = new(lease_owner="w1", first_steps=(RESERVE, NOTIFY)), new(first_steps=(RESERVE,))
        await store.insert([run, waiting, new(lease_owner="w1")], LEASE)
        begun = entries(await store.load_steps(run.saga_id))
        assert [entry[:4] for entry in begun] == [("reserve", "do", "started", 1), ("notify", "do", "started", 1)]
        assert await store.load_steps(waiting.saga_id) == []
        await store.write([RunWrite(run.saga_id, "w1", 1, (step("reserve", "done"),))])
        (answer,) = await store.insert(
            [new(run.saga_id, lease_owner="w2", first_steps=(RESERVE, FirstStep("more", False)))], LEASE
        )
        assert not answer.created
        assert [(s.step, s.status) for s in await store.load_steps(run.saga_id)] == [
            ("reserve", "done"), ("notify", "started"),
        ]  # fmt: skip

    async def test_an_insert_or_claim_that_takes_a_hundred_runs_journals_the_first_steps_of_each(
        self, store: SagaStore
    ) -> None:
        leased = [new(lease_owner="w1", first_steps=(RESERVE,)) for _ in range(50)]
        pending = [new() for _ in range(50)]
        await store.insert(leased + pending, LEASE)
        assert len(await store.claim("w1", 100, LEASE, FIRST)) == 50
        for run, expected in [(leased[-1], ["reserve"]), (pending[-1], ["reserve", "notify"])]:
            assert [s.step for s in await store.load_steps(run.saga_id)] == expected
