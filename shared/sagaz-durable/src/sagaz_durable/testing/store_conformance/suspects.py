"""Who pays for a process that died, and who executes the runs that may have been the cause."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sagaz_durable.testing.store_conformance.builders import (
    AT_ONCE,
    KNOWN,
    LEASE,
    SHORT,
    alone_ones,
    claimed,
    eventually,
    is_due,
    load,
    new,
    outcomes,
    step,
    suspects,
    taken,
    taken_one,
    write,
)
from sagaz_integration_core.contract.records import ClaimedRun, Phase, Release
from sagaz_integration_core.contract.store import SagaStore


class Suspects:
    """A run pays only for itself: suspects are told apart, and executed alone."""

    async def test_a_run_that_a_dead_process_had_alone_is_charged_whoever_else_lives(self, store: SagaStore) -> None:
        await store.heartbeat("neighbour", LEASE)
        run = await claimed(store, "w1", AT_ONCE)
        await store.write([write(run, steps=(step("pay", "started"), step("ship", "started", "undo")))])
        (again,) = await taken(store)
        assert (again.failures, again.suspicions, again.alone, again.after_death) == (1, 0, False, True)
        (attempt,) = await store.load_attempts(run.saga_id)
        assert (attempt.owner, attempt.outcome, attempt.detail) == ("w1", "died", None)
        assert attempt.under_way == "pay, undo of ship"
        assert attempt.began_at < attempt.ended_at <= datetime.now(UTC)

    async def test_a_lease_that_ended_while_its_owner_lives_is_charged_to_nobody(self, store: SagaStore) -> None:
        await store.heartbeat("w1", LEASE)
        run, other = await claimed(store, "w1", AT_ONCE), await claimed(store, "w1", LEASE)
        (again,) = await taken(store)
        assert (again.saga_id, again.failures, again.suspicions, again.after_death) == (run.saga_id, 0, 0, True)
        assert await outcomes(store, run.saga_id) == [(1, "w1", "lost")]
        assert (await load(store, other.saga_id)).lease_owner == "w1"

    async def test_a_run_that_was_given_back_tells_of_no_death_although_one_beside_it_does(
        self, store: SagaStore
    ) -> None:
        given_back, left_behind = await claimed(store, "w1"), await claimed(store, "w2", AT_ONCE)
        await store.write([write(given_back, steps=(step("pay", "started"),), release=Release())])
        await eventually(lambda: is_due(store, 2))
        found = {run.saga_id: run.after_death for run in await store.claim("w3", 100, LEASE, KNOWN)}
        assert found == {given_back.saga_id: False, left_behind.saga_id: True}

    async def test_the_runs_that_a_dead_process_had_together_are_suspects_and_none_is_charged(
        self, store: SagaStore
    ) -> None:
        known = [await claimed(store, "w1", AT_ONCE) for _ in range(3)]
        unknown = await claimed(store, "w1", AT_ONCE, name="Elsewhere")
        leased = await claimed(store, "w1", LEASE)
        await eventually(lambda: is_due(store, 4))
        assert await store.claim("w2", 100, 3600, KNOWN) == []
        for run in (*known, unknown):
            record = await load(store, run.saga_id)
            assert (record.status, record.failures, record.suspicions, record.alone) == ("pending", 0, 1, False)
            assert (record.lease_owner, record.lease_expires_at) == (None, None)
            assert await outcomes(store, run.saga_id) == [(1, "w1", "died")]
        dues = {(await load(store, run.saga_id)).available_at for run in known}
        assert len(dues) == 3, "they come back apart"
        assert (await load(store, leased.saga_id)).suspicions == 0, "its lease has not ended"

    async def test_suspects_come_back_and_tell_that_a_death_was_before_them(self, store: SagaStore) -> None:
        runs = await suspects(store)
        found: dict[str, ClaimedRun] = {}

        async def all_back() -> bool:
            found.update({run.saga_id: run for run in await store.claim("w2", 100, LEASE, KNOWN)})
            return len(found) == 2

        await eventually(all_back)
        assert set(found) == {run.saga_id for run in runs}
        assert {(run.after_death, run.suspicions, run.failures, run.attempt) for run in found.values()} == {
            (True, 1, 0, 2),
        }  # fmt: skip

    async def test_a_suspect_that_compensates_goes_on_compensating(self, store: SagaStore) -> None:
        runs = await suspects(store, status="compensating", error="declined")
        assert {(run.status, run.direction) for run in runs} == {("compensating", "back")}

    async def test_leases_of_a_dead_process_that_end_one_after_another_make_suspects_of_all(
        self, store: SagaStore
    ) -> None:
        first, last = await claimed(store, "w1", AT_ONCE), await claimed(store, "w1", SHORT)

        async def both() -> bool:
            await store.claim("w2", 100, LEASE, KNOWN)
            return (await load(store, last.saga_id)).lease_owner != "w1"

        await eventually(both)
        assert [(await load(store, run.saga_id)).suspicions for run in (first, last)] == [1, 1]
        assert [(await load(store, run.saga_id)).failures for run in (first, last)] == [0, 0]

    async def test_a_claim_that_finds_suspects_first_still_takes_what_is_behind_them(self, store: SagaStore) -> None:
        runs = [await claimed(store, "w1", AT_ONCE) for _ in range(3)]
        await store.insert([behind := new()], LEASE)
        await eventually(lambda: is_due(store, 4))
        assert [run.saga_id for run in await store.claim("w2", 3, 3600, KNOWN)] == [behind.saga_id]
        assert {(await load(store, run.saga_id)).suspicions for run in runs} == {1}

    async def test_a_run_that_was_suspected_twice_is_claimed_only_by_who_asks_for_those_and_one_at_a_time(
        self, store: SagaStore
    ) -> None:
        runs = await alone_ones(store)
        records = [await load(store, run.saga_id) for run in runs]
        assert [(record.alone, record.failures) for record in records] == [(True, 0)] * 2
        ids = [run.saga_id for run in runs]
        assert await store.claim("w2", 100, LEASE, KNOWN) == []
        assert await store.claim("w2", 100, LEASE, KNOWN, saga_ids=ids) == []
        assert await store.claim("w2", 100, LEASE, {"OtherSaga": ()}, alone=True) == []
        (run,) = await taken(store, alone=True)
        assert (run.alone, run.suspicions, run.after_death) == (True, 2, True)
        assert await store.claim("w3", 100, LEASE, KNOWN, alone=True) == [], "one worker is to be left for the rest"

    async def test_half_of_the_workers_that_know_their_saga_may_each_have_one_that_is_executed_alone(
        self, store: SagaStore
    ) -> None:
        await alone_ones(store, 4)
        for n in range(5):
            await store.heartbeat(f"w{n}", LEASE, "worker", ["OrderSaga"])
        await store.heartbeat("other", LEASE, "worker", ["Elsewhere"])
        await store.heartbeat("site", LEASE, "web", ["OrderSaga"])
        first, second = [await taken(store, f"w{n}", alone=True) for n in range(2)]
        assert first[0].saga_id != second[0].saga_id
        await eventually(lambda: is_due(store, 2, "OrderSaga"))
        assert await store.claim("w2", 100, LEASE, KNOWN, alone=True) == []
        done = write(first[0], "w0", status="completed")
        assert await store.write([done]) == [True]
        assert len(await taken(store, "w2", alone=True)) == 1

    async def test_nothing_else_is_claimed_by_who_asks_for_those_that_are_executed_alone(
        self, store: SagaStore
    ) -> None:
        await store.insert([new()], LEASE)
        assert await store.claim("w2", 100, LEASE, KNOWN, alone=True) == []

    async def test_a_run_that_kills_its_process_when_it_is_alone_is_charged(self, store: SagaStore) -> None:
        (saga_id, _) = [run.saga_id for run in await alone_ones(store)]
        await taken_one(store, saga_id, "w2", AT_ONCE, alone=True)
        run = await taken_one(store, saga_id, "w3", alone=True)
        assert (run.failures, run.suspicions, run.alone) == (1, 2, True)

    @pytest.mark.parametrize("phase", ["do", "undo"])
    async def test_a_step_that_is_done_clears_failures_and_suspicions(self, store: SagaStore, phase: Phase) -> None:
        (saga_id, _) = [run.saga_id for run in await alone_ones(store)]
        run = await taken_one(store, saga_id, alone=True)
        await store.write([write(run, "w2", release=Release(failed=True))])
        run = await taken_one(store, saga_id, alone=True)
        for entry in (step("a", "started"), step("b", "failed", error="no"), step("c", "in_doubt")):
            await store.write([write(run, "w2", steps=(entry,))])
        record = await load(store, run.saga_id)
        assert (record.failures, record.suspicions, record.alone) == (1, 2, True), "none of these is progress"
        await store.write([write(run, "w2", steps=(step("a", "done", phase),))])
        record = await load(store, run.saga_id)
        assert (record.failures, record.suspicions, record.alone) == (0, 0, False)

    async def test_a_release_after_progress_counts_as_the_first_failure(self, store: SagaStore) -> None:
        run = await claimed(store)
        await store.write([write(run, release=Release(failed=True))])
        (run,) = await taken(store, "w1")
        await store.write([write(run, steps=(step("a", "done"),), release=Release(failed=True))])
        assert (await load(store, run.saga_id)).failures == 1

    async def test_runs_of_sagas_that_the_claimer_does_not_know_are_left_as_they_are(self, store: SagaStore) -> None:
        run, ended = new(name="Elsewhere"), await claimed(store, "w1", AT_ONCE, name="Elsewhere")
        await store.insert([run], LEASE)
        before = await load(store, ended.saga_id)
        await eventually(lambda: is_due(store, 2))
        assert await store.claim("w2", 100, LEASE, KNOWN) == []
        assert await store.claim("w2", 100, LEASE, KNOWN, saga_ids=[run.saga_id, ended.saga_id]) == []
        assert await store.claim("w2", 100, LEASE, {}) == []
        assert await load(store, ended.saga_id) == before
        assert (await store.stats()).due_by_saga == {"Elsewhere": 2}
        assert [
            one.saga_id for one in await store.claim("w3", 1, LEASE, {"Elsewhere": ()}, saga_ids=[run.saga_id])
        ] == [run.saga_id]

    async def test_the_oldest_come_first_whichever_their_saga(self, store: SagaStore) -> None:
        runs = [new(name=name) for name in ("B", "A", "LateSaga", "OtherSaga", "OrderSaga")]
        for run in runs:
            await store.insert([run], LEASE)
        found = await store.claim("w1", 3, LEASE, KNOWN) + await store.claim("w1", 3, LEASE, KNOWN)
        assert [run.saga_id for run in found] == [run.saga_id for run in runs]
