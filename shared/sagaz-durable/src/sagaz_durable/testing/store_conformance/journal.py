"""What a run records: all of a write or nothing of it, and only while the run is its owner's."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from sagaz_durable.testing.store_conformance.builders import (
    AT_ONCE,
    KNOWN,
    LEASE,
    LONG_AGO,
    claim_all,
    claimed,
    eventually,
    load,
    new_id,
    park,
    signal,
    step,
    taken_one,
    told,
    wait,
    write,
)
from sagaz_integration_core.contract.decisions import Intervention
from sagaz_integration_core.contract.records import ACTIVE, Release, RunStatus, RunWrite
from sagaz_integration_core.contract.store import SagaStore


class Journal:
    """Writes are fenced by owner and attempt, and each is recorded whole or not at all."""

    @pytest.mark.parametrize("status", ["completed", "rolled_back", "failed"])
    async def test_a_final_status_ends_the_lease_and_the_run(self, store: SagaStore, status: RunStatus) -> None:
        run = await claimed(store)
        assert await store.write([write(run, status=status, error="why")]) == [True]
        record = await load(store, run.saga_id)
        assert (record.status, record.error) == (status, "why")
        assert (record.lease_owner, record.lease_expires_at, record.available_at) == (None, None, None)
        assert record.finished_at is not None
        assert record.finished_at >= record.created_at
        assert await store.write([write(run, status="completed")]) == [False]
        assert (await store.renew("w1", [(run.saga_id, run.attempt)], LEASE)).held == set()
        assert await store.claim("w2", 1, LEASE, KNOWN, saga_ids=[run.saga_id]) == []

    async def test_an_active_status_keeps_the_lease(self, store: SagaStore) -> None:
        run = await claimed(store)
        await store.write([write(run, status="compensating", error="declined")])
        record = await load(store, run.saga_id)
        assert (record.status, record.error, record.lease_owner) == ("compensating", "declined", "w1")
        assert record.finished_at is None
        await store.write([write(run, status="rolled_back")])
        assert (await load(store, run.saga_id)).error == "declined"

    async def test_an_error_alone_is_kept_with_the_status_as_it_is(self, store: SagaStore) -> None:
        run = await claimed(store)
        await store.write([write(run, error="first")])
        await store.write([write(run, steps=(step("a", "started"),))])
        record = await load(store, run.saga_id)
        assert (record.status, record.error, record.lease_owner) == ("executing", "first", "w1")

    async def test_the_right_owner_and_attempt_are_needed(self, store: SagaStore) -> None:
        run = await claimed(store)
        strangers = [
            RunWrite(run.saga_id, "w2", 1, status="completed"),
            RunWrite(run.saga_id, "w1", 2, status="completed"),
            RunWrite(run.saga_id, "w1", 0, status="completed"),
            RunWrite(new_id(), "w1", 1, status="completed"),
        ]
        assert await store.write(strangers) == [False] * 4
        assert (await load(store, run.saga_id)).status == "executing"
        assert await store.write([]) == []
        assert await store.write([write(run)]) == [True]

    async def test_a_fenced_out_write_leaves_nothing_and_the_others_are_kept(self, store: SagaStore) -> None:
        first, lost, last = [await claimed(store) for _ in range(3)]
        writes = [
            write(run, steps=(step("a", "started"),), events=told(run.saga_id, "e")) for run in (first, lost, last)
        ]
        writes[1] = RunWrite(lost.saga_id, "w1", 9, writes[1].steps, writes[1].events, status="failed", error="no")
        assert await store.write(writes) == [True, False, True]
        assert await store.load_steps(lost.saga_id) == []
        assert (await load(store, lost.saga_id)).error is None
        assert len(await store.load_steps(first.saga_id)) == len(await store.load_steps(last.saga_id)) == 1
        assert {event.saga_id for event in await store.due_events(10, LEASE)} == {first.saga_id, last.saga_id}

    async def test_a_later_write_of_a_batch_sees_the_earlier_ones(self, store: SagaStore) -> None:
        run = await claimed(store)
        writes = [
            write(run, steps=(step("a", "started"),)),
            write(run, steps=(step("a", "done", result='{"x": 1}'), step("b", "started"))),
            write(run, steps=(step("b", "done"),), status="completed"),
            write(run, steps=(step("c", "started"),), status="failed"),
        ]
        assert await store.write(writes) == [True, True, True, False]
        assert [(s.step, s.status) for s in await store.load_steps(run.saga_id)] == [("a", "done"), ("b", "done")]
        assert (await load(store, run.saga_id)).status == "completed"

    async def test_nothing_follows_a_release_in_one_batch(self, store: SagaStore) -> None:
        run = await claimed(store)
        late = write(run, steps=(step("late", "started"),), status="completed")
        assert await store.write([write(run, release=Release()), late]) == [True, False]
        assert (await load(store, run.saga_id)).status == "pending"
        assert await store.load_steps(run.saga_id) == []

    @pytest.mark.parametrize("failed", [False, True])
    async def test_a_released_run_is_anybodys_and_counts_a_failure_only_if_it_was_one(
        self, store: SagaStore, failed: bool
    ) -> None:
        run = await claimed(store)
        assert await store.write([write(run, error="why", release=Release(failed=failed))]) == [True]
        record = await load(store, run.saga_id)
        assert (record.status, record.failures, record.error) == ("pending", int(failed), "why")
        assert (record.lease_owner, record.lease_expires_at) == (None, None)
        assert record.attempt == 1
        (again,) = await claim_all(store, "w2")
        assert (again.attempt, again.failures, again.status) == (2, int(failed), "executing")

    async def test_a_released_run_waits_for_its_delay(self, store: SagaStore) -> None:
        run = await claimed(store)
        released_at = datetime.now(UTC)
        await store.write([write(run, release=Release(delay=0.3, failed=True))])
        assert await claim_all(store) == []
        (again,) = await eventually(lambda: claim_all(store))
        assert again.failures == 1
        assert datetime.now(UTC) - released_at >= timedelta(seconds=0.29)

    async def test_a_compensating_run_stays_so_when_released(self, store: SagaStore) -> None:
        run, other = await claimed(store), await claimed(store)
        await store.write([write(run, status="compensating"), write(run, release=Release())])
        await store.write([write(other, status="compensating", release=Release())])
        assert {(await load(store, r.saga_id)).status for r in (run, other)} == {"compensating"}
        assert {claim.status for claim in await claim_all(store)} == {"compensating"}

    async def test_a_step_that_is_started_again_forgets_its_end(self, store: SagaStore) -> None:
        run = await claimed(store)
        await store.write([write(run, steps=(step("a", "started"),))])
        (started,) = await store.load_steps(run.saga_id)
        assert (started.status, started.attempt, started.finished_at) == ("started", 1, None)
        assert started.started_at is not None
        await store.write([write(run, steps=(step("a", "done", result='{"x": 1}', error="w"),))])
        (done,) = await store.load_steps(run.saga_id)
        assert (done.status, done.error, done.started_at) == ("done", "w", started.started_at)
        assert json.loads(done.result or "null") == {"x": 1}
        assert done.finished_at is not None
        await store.write([write(run, release=Release())])
        (again,) = await claim_all(store)
        await store.write([write(again, steps=(step("a", "started"),))])
        (restarted,) = await store.load_steps(run.saga_id)
        assert (restarted.status, restarted.attempt, restarted.result) == ("started", 2, None)
        assert (restarted.error, restarted.finished_at) == (None, None)
        assert restarted.started_at is not None
        assert restarted.started_at > started.started_at

    async def test_another_attempts_end_of_a_step_keeps_the_attempt_that_started_it(self, store: SagaStore) -> None:
        run = await claimed(store)
        await store.write([write(run, steps=(step("a", "started"),)), write(run, release=Release())])
        (again,) = await claim_all(store)
        await store.write([write(again, steps=(step("a", "failed", error="e"),))])
        (entry,) = await store.load_steps(run.saga_id)
        assert (entry.attempt, entry.status, entry.error) == (1, "failed", "e")

    async def test_an_end_without_a_start_is_kept_too(self, store: SagaStore) -> None:
        run = await claimed(store)
        await store.write([write(run, steps=(step("a", "done", result="null"), step("b", "in_doubt", error="slow")))])
        a, b = await store.load_steps(run.saga_id)
        assert (a.status, a.result, a.started_at, a.attempt) == ("done", "null", None, 1)
        assert (b.status, b.error) == ("in_doubt", "slow")

    async def test_do_and_undo_of_a_step_are_two_entries_in_the_order_of_their_start(self, store: SagaStore) -> None:
        run = await claimed(store)
        for name in ("z", "m", "a"):
            await store.write([write(run, steps=(step(name, "started"),))])
        await store.write([write(run, steps=tuple(step(name, "done") for name in ("a", "m", "z")))])
        await store.write([write(run, steps=(step("m", "started", "undo"),))])
        await store.write([write(run, steps=(step("m", "done", "undo"),))])
        entries = [(s.step, s.phase, s.status) for s in await store.load_steps(run.saga_id)]
        assert entries == [("z", "do", "done"), ("m", "do", "done"), ("a", "do", "done"), ("m", "undo", "done")]

    async def test_steps_that_start_in_one_write_keep_its_order(self, store: SagaStore) -> None:
        run = await claimed(store)
        names = [f"s{n}" for n in (3, 1, 2, 9, 0)]
        await store.write([write(run, steps=tuple(step(name, "started") for name in names))])
        assert [s.step for s in await store.load_steps(run.saga_id)] == names

    async def test_every_status_of_an_active_run_can_be_written(self, store: SagaStore) -> None:
        run = await claimed(store)
        for status in ACTIVE:
            assert await store.write([write(run, status=status)]) == [True]
            assert (await load(store, run.saga_id)).status == status


class Recoveries:
    """A recovery is journaled beside its step, waits as a step does, and goes on with a run that goes forward."""

    async def test_a_step_that_failed_keeps_what_was_decided_about_it_beside_its_recovery(
        self, store: SagaStore
    ) -> None:
        run = await claimed(store)
        failed = step("ship", "failed", result='{"times": 1}', error="OSError: away")
        assert await store.write([write(run, steps=(failed, step("ship", "started", "redo")))]) == [True]
        found = {entry.phase: entry for entry in await store.load_steps(run.saga_id)}
        assert (found["do"].status, found["do"].result, found["do"].error) == (
            "failed", '{"times": 1}', "OSError: away"
        )  # fmt: skip
        assert (found["redo"].status, found["redo"].result, found["redo"].attempt) == ("started", None, 1)

    async def test_a_recovery_that_waits_goes_on_with_the_claim_that_brings_its_signal(self, store: SagaStore) -> None:
        run = await claimed(store)
        why = step("ship", "waiting", "redo", error="a person is asked")
        await store.write([write(run, steps=(why,))])
        await park(store, run, wait("decision", "ship", "redo"))
        await store.send([signal("decision", saga_id=run.saga_id)])
        [again] = await claim_all(store)
        [entry] = again.steps
        assert (entry.phase, entry.status, entry.attempt) == ("redo", "started", 2)
        assert (again.waits[0].phase, again.waits[0].outcome) == ("redo", "signal")

    async def test_a_recovery_is_not_gone_on_with_in_a_run_that_rolls_back(self, store: SagaStore) -> None:
        run = await claimed(store)
        await store.write([write(run, status="compensating")])
        await park(store, run, wait("", "ship", "redo", until=LONG_AGO), wait("", "charge", "undo", until=LONG_AGO))
        [again] = await claim_all(store)
        assert {(entry.phase, entry.status) for entry in again.steps} == {("redo", "waiting"), ("undo", "started")}

    async def test_a_recovery_is_under_way_when_its_process_dies(self, store: SagaStore) -> None:
        run = await claimed(store, "w1", AT_ONCE)
        await store.write([write(run, steps=(step("pay", "started"), step("ship", "started", "redo")))])
        await taken_one(store, run.saga_id)
        [died] = await store.load_attempts(run.saga_id)
        assert died.under_way == "pay, redo of ship"

    @pytest.mark.parametrize(("status", "left"), [("compensating", {"undo"}), ("completed", set())])
    async def test_a_decision_to_roll_back_ends_the_waits_of_recoveries_too(
        self, store: SagaStore, status: RunStatus, left: set[str]
    ) -> None:
        run = await claimed(store)
        await park(store, run, wait(), wait("b", phase="redo"), wait("c", phase="undo"))
        assert await store.intervene(Intervention(run.saga_id, 1, "waiting", status, "cancel", "me", "why"))
        assert {one.phase for one in await store.load_waits(run.saga_id)} == left
