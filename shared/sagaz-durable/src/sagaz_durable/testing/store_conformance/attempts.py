"""What is told of attempts that did not end well, and what else a run's row keeps of its past."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sagaz_durable.testing.store_conformance.builders import (
    AT_ONCE,
    LEASE,
    alone_ones,
    claim_all,
    claimed,
    eventually,
    load,
    new,
    record_end,
    step,
    taken,
    write,
)
from sagaz_integration_core.contract.decisions import Intervention
from sagaz_integration_core.contract.listings import AttemptRecord
from sagaz_integration_core.contract.records import ClaimedRun, FirstStep, Release, RunStatus
from sagaz_integration_core.contract.store import SagaStore


def decide(run: ClaimedRun, status: RunStatus) -> Intervention:
    """Return a decision about a run that is executing."""
    return Intervention(run.saga_id, run.attempt, "executing", status, "cancel", "ann", "she called")


class Attempts:
    """Each attempt's end is told; direction, version and journal keep what came before."""

    async def test_each_attempt_that_did_not_end_the_run_well_is_told_with_its_owner_times_and_reason(
        self, store: SagaStore
    ) -> None:
        run = await claimed(store, "w1")
        entries = (step("pay", "started"), step("log", "started"), step("log", "done"))
        await store.write([write(run, steps=entries)])
        release = Release(failed=True, detail="ConnectionError: away")
        await store.write([write(run, steps=(step("ship", "started"),), release=release)])
        (run,) = await taken(store, "w2")
        await store.write([write(run, "w2", steps=(step("pay", "done"), step("ship", "done")), release=Release())])
        (run,) = await taken(store, "w3")
        await store.write([write(run, "w3", status="failed", error="Given up.")])
        first, second, third = await store.load_attempts(run.saga_id)
        assert (first.attempt, first.owner, first.outcome) == (1, "w1", "halted")
        assert (first.detail, first.under_way) == ("ConnectionError: away", "pay, ship")
        assert (second.owner, second.outcome, second.detail, second.under_way) == ("w2", "released", None, None)
        assert (third.owner, third.outcome, third.detail) == ("w3", "failed", "Given up.")
        moments = [moment for attempt in (first, second, third) for moment in (attempt.began_at, attempt.ended_at)]
        assert moments == sorted(moments)
        assert moments[-1] == (await load(store, run.saga_id)).finished_at

    async def test_a_failed_end_without_a_text_of_its_own_has_the_runs_error(self, store: SagaStore) -> None:
        run = await claimed(store)
        await store.write([write(run, status="compensating", error="declined")])
        await store.write([write(run, status="failed")])
        assert [attempt.detail for attempt in await store.load_attempts(run.saga_id)] == ["declined"]

    @pytest.mark.parametrize("status", ["completed", "rolled_back"])
    async def test_a_good_end_is_no_attempt_to_tell_of(self, store: SagaStore, status: RunStatus) -> None:
        assert await store.load_attempts(await record_end(store, status)) == []

    async def test_a_refused_write_tells_of_no_attempt(self, store: SagaStore) -> None:
        run = await claimed(store)
        assert (
            await store.write([write(run, "w2", status="failed"), write(run, "w2", release=Release())]) == [False] * 2
        )
        assert await store.load_attempts(run.saga_id) == []

    async def test_attempts_go_with_their_run(self, store: SagaStore) -> None:
        saga_id = await record_end(store, "failed")
        other = await record_end(store, "failed")
        assert len(await store.load_attempts(saga_id)) == 1
        assert await store.delete(saga_id)
        assert await store.load_attempts(saga_id) == []
        assert await store.prune(datetime.now(UTC), ["failed"], 10) == 1
        assert await store.load_attempts(other) == []

    async def test_a_decision_ends_an_attempt_and_clears_failures_and_suspicions(self, store: SagaStore) -> None:
        await alone_ones(store)
        (run,) = await taken(store, "w2", alone=True)
        await store.write([write(run, "w2", steps=(step("pay", "started"),))])
        before = await load(store, run.saga_id)
        assert await store.intervene(decide(run, "compensating"))
        record = await load(store, run.saga_id)
        assert (record.failures, record.suspicions, record.alone) == (0, 0, False)
        assert (record.direction, record.version) == ("back", before.version + 1)
        assert before.leased_at is not None
        last = (await store.load_attempts(run.saga_id))[-1]
        assert last == AttemptRecord(
            run.saga_id, run.attempt, "w2", before.leased_at, last.ended_at, "decided", "cancel by ann", "pay"
        )
        assert last.ended_at == record.updated_at

    async def test_a_decision_about_a_run_that_nobody_has_ends_no_attempt(self, store: SagaStore) -> None:
        run = new()
        await store.insert([run], LEASE)
        assert await store.intervene(Intervention(run.saga_id, 0, "pending", "compensating", "cancel", "ann", ""))
        assert await store.load_attempts(run.saga_id) == []

    async def test_the_direction_turns_with_the_status_and_stays_at_the_end(self, store: SagaStore) -> None:
        run = await claimed(store)
        assert run.direction == "forward"
        await store.write([write(run, status="compensating"), write(run, release=Release())])
        (run,) = await taken(store, "w1")
        assert (run.status, run.direction) == ("compensating", "back")
        await store.write([write(run, status="failed")])
        record = await load(store, run.saga_id)
        assert (record.status, record.direction) == ("failed", "back")
        assert await store.intervene(Intervention(run.saga_id, run.attempt, "failed", "pending", "retry", "ann", ""))
        assert (await load(store, run.saga_id)).direction == "forward"

    async def test_a_run_that_rolls_back_within_one_batch_has_turned(self, store: SagaStore) -> None:
        run = await claimed(store)
        await store.write([write(run, status="compensating"), write(run, status="rolled_back")])
        assert (await load(store, run.saga_id)).direction == "back"

    async def test_the_version_grows_by_every_change_but_a_renewal(self, store: SagaStore) -> None:
        seen: list[int] = []

        async def look() -> None:
            seen.append((await load(store, saga_id)).version)

        saga_id = new().saga_id
        await store.insert([new(saga_id)], LEASE)
        await look()
        (run,) = await claim_all(store)
        seen.append(run.version)
        await look()
        await store.renew("w1", [(saga_id, 1)], LEASE)
        await look()
        await store.write([write(run, steps=(step("a", "started"),)), write(run, steps=(step("a", "done"),))])
        await look()
        await store.write([write(run, release=Release())])
        await look()
        await store.insert([new(saga_id)], LEASE)
        await store.write([write(run, status="failed")])
        await look()
        assert seen == [1, 2, 2, 2, 4, 5, 5]

    async def test_what_a_run_was_leased_at_is_kept_after_its_lease(self, store: SagaStore) -> None:
        run = new(lease_owner="w1")
        await store.insert([run, waiting := new()], LEASE)
        record = await load(store, run.saga_id)
        assert record.leased_at == record.created_at
        assert (await load(store, waiting.saga_id)).leased_at is None
        (claim,) = await claim_all(store)
        leased_at = (await load(store, waiting.saga_id)).leased_at
        await store.write([write(claim, status="completed")])
        assert (await load(store, waiting.saga_id)).leased_at == leased_at
        assert leased_at is not None

    async def test_the_journal_keeps_whether_a_step_had_a_compensation_when_it_was_called(
        self, store: SagaStore
    ) -> None:
        run = await claimed(store)
        entries = (
            step("a", "started", compensated=True), step("a", "done"), step("b", "started"), step("b", "done"),
            step("a", "started", "undo", compensated=True), step("c", "started", compensated=True),
        )  # fmt: skip
        await store.write([write(run, steps=entries)])
        await store.write([write(run, steps=(step("c", "failed", error="no"),))])
        noted = {(entry.step, entry.phase): entry.compensated for entry in await store.load_steps(run.saga_id)}
        assert noted == {("a", "do"): True, ("b", "do"): False, ("a", "undo"): False, ("c", "do"): True}
        await store.write([write(run, steps=(step("c", "started"),))])
        noted = {(entry.step, entry.phase): entry.compensated for entry in await store.load_steps(run.saga_id)}
        assert noted["c", "do"] is False

    async def test_the_first_steps_are_journaled_with_their_compensations(self, store: SagaStore) -> None:
        steps = (FirstStep("a", True), FirstStep("b", False))
        await store.insert([leased := new(lease_owner="w1", first_steps=steps), new()], LEASE)
        (run,) = await store.claim("w1", 10, LEASE, {"OrderSaga": steps})
        for saga_id in (leased.saga_id, run.saga_id):
            assert [(s.step, s.compensated) for s in await store.load_steps(saga_id)] == [("a", True), ("b", False)]

    async def test_living_processes_are_told_with_their_kind_and_the_sagas_that_they_know(
        self, store: SagaStore
    ) -> None:
        await store.heartbeat("w1", LEASE, "worker", ["B", "A"])
        await store.heartbeat("site", LEASE, "web", ["A"])
        await store.heartbeat("beat", LEASE, "sweep")
        await store.heartbeat("gone", AT_ONCE)

        async def three_live() -> bool:
            return len(await store.workers()) == 3

        await eventually(three_live)
        workers = await store.workers()
        assert [(worker.name, worker.kind, worker.sagas) for worker in workers] == [
            ("beat", "sweep", ()), ("site", "web", ("A",)), ("w1", "worker", ("A", "B")),
        ]  # fmt: skip
        assert all(worker.alive_until > datetime.now(UTC) for worker in workers)
        assert (await store.stats()).live_workers == 2, "a web process takes no runs up"
        await store.heartbeat("w1", 0)
        assert [worker.name for worker in await store.workers()] == ["beat", "site"]

    async def test_only_the_last_attempts_death_is_told_to_who_claims_next(self, store: SagaStore) -> None:
        await claimed(store, "w1", AT_ONCE)
        (second,) = await taken(store)
        assert second.after_death
        await store.write([write(second, "w2", release=Release())])
        (third,) = await taken(store, "w3")
        assert (third.attempt, third.after_death) == (3, False)
        await store.write([write(third, "w3", release=Release(failed=True))])
        (fourth,) = await taken(store, "w4")
        assert (fourth.attempt, fourth.after_death) == (4, False)
