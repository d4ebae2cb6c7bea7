"""What people decide about runs, as each store carries it out."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sagaz_durable.testing.store_conformance.builders import (
    KNOWN,
    LEASE,
    SOON,
    claim_all,
    claimed,
    load,
    new,
    new_id,
    parked,
    record_end,
    signal,
    step,
    told,
    wait,
    waits_of,
    write,
)
from sagaz_integration_core.contract.decisions import Action, Intervention
from sagaz_integration_core.contract.records import ClaimedRun, Release, RunRecord, RunStatus
from sagaz_integration_core.contract.store import SagaStore


def change(record: RunRecord | ClaimedRun, status: RunStatus, action: Action = "cancel", **values: Any) -> Intervention:
    """Return a decision about a run as it was seen."""
    return Intervention(record.saga_id, record.attempt, record.status, status, action, "ann", "why", **values)


class Decisions:
    """A decision takes effect only while the run is what the person saw, and is noted."""

    async def test_a_failed_run_that_is_to_go_on_is_due_at_once_with_a_clean_slate(self, store: SagaStore) -> None:
        saga_id = await record_end(store, "failed")
        before = await load(store, saga_id)
        assert await store.intervene(change(before, "pending", "retry"))
        after = await load(store, saga_id)
        assert (after.status, after.attempt, after.failures) == ("pending", before.attempt + 1, 0)
        assert after.finished_at is None
        [run] = await store.claim("w2", 1, LEASE, KNOWN)
        assert (run.saga_id, run.attempt, run.status) == (saga_id, before.attempt + 2, "executing")

    async def test_a_run_that_is_retried_forward_has_no_error_any_more(self, store: SagaStore) -> None:
        run = await claimed(store)
        assert await store.write([write(run, status="failed", error="given up")]) == [True]
        assert await store.intervene(change(await load(store, run.saga_id), "pending", "retry"))
        assert (await load(store, run.saga_id)).error is None
        [attempt] = await store.load_attempts(run.saga_id)
        assert attempt.detail == "given up"

    async def test_a_decision_without_an_error_of_its_own_leaves_that_of_the_run(self, store: SagaStore) -> None:
        run = await claimed(store)
        assert await store.write([write(run, status="failed", error="given up")]) == [True]
        assert await store.intervene(change(await load(store, run.saga_id), "completed", "resolve"))
        assert (await load(store, run.saga_id)).error == "given up"

    async def test_a_decision_for_another_version_changes_nothing(self, store: SagaStore) -> None:
        run = await claimed(store)
        seen = await load(store, run.saga_id)
        assert await store.write([write(run, steps=(step("a", "started"),))]) == [True]
        now = await load(store, run.saga_id)
        assert (now.attempt, now.status, now.version > seen.version) == (seen.attempt, seen.status, True)
        assert not await store.intervene(change(seen, "compensating", version=seen.version))
        assert (await load(store, run.saga_id), await store.load_audit(run.saga_id)) == (now, [])
        assert await store.intervene(change(now, "compensating", version=now.version))
        assert (await load(store, run.saga_id)).version > now.version

    async def test_a_renewal_leaves_the_version(self, store: SagaStore) -> None:
        run = await claimed(store)
        before = await load(store, run.saga_id)
        await store.renew("w1", [(run.saga_id, run.attempt)], LEASE)
        assert (await load(store, run.saga_id)).version == before.version

    async def test_the_owner_of_an_interrupted_run_is_fenced_out_and_nobody_else_gets_it_before_its_lease_ends(
        self, store: SagaStore
    ) -> None:
        run = await claimed(store)
        before = await load(store, run.saga_id)
        assert await store.intervene(change(before, "compensating", error="cancelled"))
        assert await store.write([write(run, steps=(step("a", "started"),))]) == [False]
        assert (await store.renew("w1", [(run.saga_id, run.attempt)], LEASE)).held == set()
        assert await claim_all(store) == []
        after = await load(store, run.saga_id)
        assert after.available_at == before.lease_expires_at
        assert (after.status, after.error, after.lease_owner) == ("compensating", "cancelled", None)

    async def test_compensations_that_failed_are_forgotten_and_those_that_are_done_are_not(
        self, store: SagaStore
    ) -> None:
        run = await claimed(store)
        entries = (
            step("a", "done"),
            step("b", "done"),
            step("b", "done", "undo"),
            step("a", "failed", "undo", error="x"),
        )
        assert await store.write([write(run, steps=entries, status="failed")]) == [True]
        assert await store.intervene(change(await load(store, run.saga_id), "compensating", "retry"))
        left = {(s.step, s.phase, s.status) for s in await store.load_steps(run.saga_id)}
        assert left == {("a", "do", "done"), ("b", "do", "done"), ("b", "undo", "done")}

    async def test_a_run_that_rolls_back_and_goes_on_now_keeps_what_failed_and_what_its_steps_were_given(
        self, store: SagaStore
    ) -> None:
        run = await claimed(store)
        steps = (step("a", "done"), step("a", "failed", "undo", error="no"))
        back = write(run, steps=steps, status="compensating", waits=(wait(),), release=Release(3600.0, failed=True))
        assert await store.write([back]) == [True]
        assert await store.intervene(change(await load(store, run.saga_id), "compensating", "run-now"))
        [again] = await claim_all(store)
        assert (again.direction, again.status, again.failures) == ("back", "compensating", 0)
        assert [(one.phase, one.status) for one in again.steps] == [("do", "done"), ("undo", "failed")]
        assert [one.name for one in await store.load_waits(run.saga_id)] == ["paid"]

    async def test_a_settled_run_is_finished_and_its_journal_is_kept(self, store: SagaStore) -> None:
        run = await claimed(store)
        assert await store.write([write(run, steps=(step("a", "failed", "undo", error="x"),), status="failed")]) == [
            True
        ]
        settled = change(await load(store, run.saga_id), "completed", "resolve", events=told(run.saga_id, "completed"))
        assert await store.intervene(settled)
        after = await load(store, run.saga_id)
        assert (after.status, after.available_at) == ("completed", None)
        assert after.finished_at is not None
        assert [s.status for s in await store.load_steps(run.saga_id)] == ["failed"]
        told_ = [(event.saga_id, event.payload) for event in await store.due_events(10, LEASE)]
        assert [(saga_id, json.loads(payload)) for saga_id, payload in told_] == [(run.saga_id, {"event": "completed"})]
        assert await claim_all(store) == []

    async def test_nothing_is_changed_when_the_run_is_not_what_the_person_saw(self, store: SagaStore) -> None:
        saga_id = await record_end(store, "failed")
        seen = await load(store, saga_id)
        assert await store.intervene(change(seen, "pending", "retry"))
        now = await load(store, saga_id)
        assert not await store.intervene(change(seen, "compensating", events=told(saga_id, "x")))
        assert await load(store, saga_id) == now
        assert [note.action for note in await store.load_audit(saga_id)] == ["retry"]
        assert await store.due_events(10, LEASE) == []

    async def test_of_many_at_once_one_has_its_way(self, store: SagaStore) -> None:
        saga_id = await record_end(store, "failed")
        seen = await load(store, saga_id)
        statuses: list[RunStatus] = ["pending", "compensating", "completed", "rolled_back"] * 3
        done = await asyncio.gather(*(store.intervene(change(seen, status)) for status in statuses))
        assert done.count(True) == 1
        assert (await load(store, saga_id)).status == statuses[done.index(True)]
        assert len(await store.load_audit(saga_id)) == 1

    async def test_a_foreign_row_is_left_alone(self, store: SagaStore) -> None:
        saga_id = new_id()
        await store.save_foreign(saga_id, "Theirs", "failed", "{}", {})
        assert not await store.intervene(change(await load(store, saga_id), "pending", "retry"))

    async def test_a_run_that_is_not_there_is_not_changed(self, store: SagaStore) -> None:
        assert not await store.intervene(Intervention(new_id(), 1, "failed", "pending", "retry", "ann", ""))

    async def test_the_audit_tells_who_decided_what_and_why_and_goes_with_the_run(self, store: SagaStore) -> None:
        saga_id = await record_end(store, "failed")
        assert await store.intervene(change(await load(store, saga_id), "rolled_back", "resolve"))
        [note] = await store.load_audit(saga_id)
        told_of = (note.saga_id, note.action, note.actor, note.reason, note.found, note.status)
        assert told_of == (saga_id, "resolve", "ann", "why", "failed", "rolled_back")
        assert note.at.tzinfo is UTC
        assert abs(note.at - datetime.now(UTC)) < timedelta(minutes=5)
        assert await store.prune(datetime.now(UTC) + timedelta(days=1), ["rolled_back"], 10) == 1
        assert await store.load_audit(saga_id) == []

    async def test_what_prune_would_delete_is_counted(self, store: SagaStore) -> None:
        for status in ("completed", "completed", "failed"):
            await record_end(store, status)
        await store.insert([new()], LEASE)
        later = datetime.now(UTC) + timedelta(days=1)
        assert await store.count_prunable(later, ["completed"]) == 2
        assert await store.count_prunable(later, ["completed", "failed"]) == 3
        assert await store.count_prunable(later - timedelta(days=2), ["completed"]) == 0

    @pytest.mark.parametrize("status", ["completed", "compensating"])
    async def test_a_decision_about_a_run_that_went_on_within_its_attempt_changes_nothing(
        self, store: SagaStore, status: RunStatus
    ) -> None:
        run = await claimed(store)
        await store.write([write(run, status=status)])
        before = await load(store, run.saga_id)
        decision = Intervention(run.saga_id, run.attempt, "executing", "compensating", "cancel", "ann", "too late")
        assert await store.intervene(decision) is False
        assert await load(store, run.saga_id) == before
        assert await store.load_audit(run.saga_id) == []
        assert await store.load_attempts(run.saga_id) == []

    async def test_a_retry_removes_the_deadline(self, store: SagaStore) -> None:
        await store.insert([replace(new(), deadline=SOON)], LEASE)
        [run] = await claim_all(store)
        await store.write([write(run, status="failed")])
        assert await store.intervene(Intervention(run.saga_id, 1, "failed", "pending", "retry", "me", "why"))
        assert (await load(store, run.saga_id)).deadline is None

    async def test_a_cancelled_run_keeps_what_its_compensations_wait_for(self, store: SagaStore) -> None:
        run = await parked(store, wait(), wait("refunded", phase="undo"))
        assert await store.intervene(Intervention(run.saga_id, 1, "waiting", "compensating", "cancel", "me", "why"))
        assert [one.name for one in await store.load_waits(run.saga_id)] == ["refunded"]

    async def test_a_failed_run_keeps_what_it_was_given_and_frees_its_keys(self, store: SagaStore) -> None:
        run = await parked(store, wait(), wait("shipped", key="pi_1"))
        await store.send([signal(saga_id=run.saga_id)])
        [again] = await claim_all(store)
        assert await store.write([write(again, status="failed", stops_waiting=True)]) == [True]
        [kept] = await store.load_waits(run.saga_id)
        assert (kept.name, kept.outcome) == ("paid", "signal")
        other = await parked(store, wait("shipped", key="pi_1"))
        assert (await waits_of(store, other))["a", "shipped", 0].outcome is None
