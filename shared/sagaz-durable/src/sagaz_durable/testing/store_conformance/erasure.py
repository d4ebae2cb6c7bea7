"""What is left of a run when what it was given and has returned was erased, on each store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sagaz_durable.testing.store_conformance.builders import (
    KNOWN,
    LEASE,
    claim_all,
    claimed,
    load,
    new,
    parked,
    record_end,
    settle,
    signal,
    step,
    told,
    wait,
    write,
)
from sagaz_integration_core.contract.decisions import Erasure, Intervention
from sagaz_integration_core.contract.events import EventFilter
from sagaz_integration_core.contract.records import ERASED, RunStatus, erased_as
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.contract.waits import Sent, SignalFilter


def of(*saga_ids: str, **values: Any) -> Erasure:
    """Return the erasure of these runs."""
    return Erasure("ann", "ticket 7", saga_ids=saga_ids, **values)


async def ended(store: SagaStore, status: RunStatus = "completed", **values: Any) -> str:
    """Insert a run with a result, an error and a sent event, and see it to its end."""
    run = await claimed(store, context='{"card": "4111"}', **values)
    entries = (step("a", "done", result='{"iban": "DE1"}'), step("b", "failed", error="no van"))
    events = told(run.saga_id, "4111")
    assert await store.write([write(run, steps=entries, events=events, status=status, error="no van")]) == [True]
    await settle(store, await store.due_events(10, LEASE))
    return run.saga_id


class Erasures:
    """An erased run keeps its row, status and journal, and nothing of what it was given."""

    @pytest.mark.parametrize("status", ["completed", "rolled_back", "failed"])
    async def test_an_erased_run_keeps_its_row_and_journal_and_nothing_that_it_was_given_or_returned(
        self, store: SagaStore, status: RunStatus
    ) -> None:
        saga_id = await ended(store, status)
        before = await load(store, saga_id)
        assert await store.erase(of(saga_id), 10) == 1
        after = await load(store, saga_id)
        assert (after.context, erased_as(after.fingerprint)) == ("{}", status)
        assert (after.status, after.error, after.finished_at, after.created_at, after.correlation_id) == (
            before.status, before.error, before.finished_at, before.created_at, before.correlation_id,
        )  # fmt: skip
        assert after.version == before.version + 1
        journal = [(s.step, s.status, s.result, s.error) for s in await store.load_steps(saga_id)]
        assert journal == [("a", "done", None, None), ("b", "failed", None, "no van")]
        [event] = await store.find_events(EventFilter(saga_id=saga_id))
        assert (event.status, event.payload, event.headers) == ("sent", "{}", "{}")
        [note] = await store.load_audit(saga_id)
        assert (note.action, note.actor, note.reason, note.found, note.status) == (
            "erase", "ann", "ticket 7", status, status,
        )  # fmt: skip

    async def test_the_signals_of_an_erased_run_bring_nothing_any_more_and_those_it_took_are_still_recognised(
        self, store: SagaStore
    ) -> None:
        run, other = await parked(store, wait(key="pi_1")), await parked(store, wait(key="pi_2"))
        to_run, to_other = signal("late", saga_id=run.saga_id), signal("late", saga_id=other.saga_id)
        await store.send([signal(key="pi_1"), signal(key="pi_2"), to_run, to_other, signal("early", key="pi_1")])
        for taken in await claim_all(store):
            assert await store.write([write(taken, status="failed", error="no van")]) == [True]
        assert await store.erase(of(run.saga_id), 10) == 1
        assert [one.payload for one in await store.load_waits(run.saga_id)] == [None]
        assert [one.payload for one in await store.load_waits(other.saga_id)] == ['{"n": 1}']
        assert await store.send([signal(key="pi_1"), signal(key="pi_2"), to_run, to_other]) == [
            Sent(False, ERASED), Sent(False, "f"), Sent(False, None), Sent(False, "f"),
        ]  # fmt: skip
        left = await store.find_signals(SignalFilter())
        assert {(one.name, one.saga_id, one.key) for one in left} == {
            ("late", other.saga_id, None), ("early", None, "pi_1"),
        }  # fmt: skip

    async def test_a_run_is_erased_once(self, store: SagaStore) -> None:
        saga_id = await ended(store)
        assert [await store.erase(of(saga_id), 10) for _ in range(2)] == [1, 0]
        assert len(await store.load_audit(saga_id)) == 1

    async def test_active_and_foreign_runs_and_those_with_unsent_events_are_left_alone(self, store: SagaStore) -> None:
        waiting, running = new(), await claimed(store)
        await store.insert([waiting], LEASE)
        await store.save_foreign("theirs", "OrderSaga", "completed", '{"card": "4111"}', {})
        untold = await claimed(store)
        await store.write([write(untold, events=told(untold.saga_id, "e"), status="completed")])
        everything = (waiting.saga_id, running.saga_id, "theirs", untold.saga_id)
        assert await store.count_erasable(of(*everything)) == 0
        assert await store.erase(of(*everything), 10) == 0
        assert "{}" not in {(await load(store, saga_id)).context for saga_id in everything}
        assert await store.load_audit(untold.saga_id) == []
        await settle(store, await store.due_events(10, LEASE))
        assert await store.erase(of(*everything), 10) == 1

    async def test_an_erasure_takes_its_limit_of_those_that_ended_first_with_its_statuses(
        self, store: SagaStore
    ) -> None:
        saga_ids = [await record_end(store, status) for status in ("failed", "completed", "rolled_back", "completed")]
        later = datetime.now(UTC) + timedelta(minutes=5)
        erasure = Erasure("ann", "", ("completed", "rolled_back"), before=later)
        assert await store.count_erasable(Erasure("ann", "", before=later - timedelta(days=1))) == 0
        assert await store.count_erasable(erasure) == 3
        assert await store.erase(erasure, 2) == 2
        assert [erased_as((await load(store, i)).fingerprint) for i in saga_ids] == [
            None, "completed", "rolled_back", None,
        ]  # fmt: skip
        assert await store.erase(erasure, 2) == 1

    async def test_a_decision_that_was_taken_before_the_erasure_does_not_set_an_empty_run_going(
        self, store: SagaStore
    ) -> None:
        saga_id = await ended(store, "failed")
        seen = await load(store, saga_id)
        assert await store.erase(of(saga_id), 1) == 1
        retry = Intervention(saga_id, seen.attempt, "failed", "pending", "retry", "bob", "")
        assert not await store.intervene(retry)
        assert await store.claim("w2", 1, LEASE, KNOWN) == []

    async def test_a_start_with_the_key_of_an_erased_run_is_told_that_it_is_one(self, store: SagaStore) -> None:
        saga_id = await ended(store, "rolled_back", fingerprint="f9")
        await store.erase(of(saga_id), 1)
        [answer] = await store.insert([new(saga_id, fingerprint="f9")], LEASE)
        assert (answer.created, erased_as(answer.fingerprint)) == (False, "rolled_back")
