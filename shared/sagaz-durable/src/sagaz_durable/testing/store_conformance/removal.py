"""Rows of sagaz's own engine, and the deletion of runs and signals."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

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
    record_end,
    settle,
    signal,
    step,
    told,
    wait,
    write,
)
from sagaz_integration_core.contract.events import EventFilter
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.contract.records import FOREIGN, RunStatus
from sagaz_integration_core.contract.store import SagaStore

ENDED: tuple[RunStatus, ...] = ("completed", "rolled_back", "failed")


class Removal:
    """Rows of sagaz's own engine are listed and never executed; what ended can be deleted."""

    @pytest.mark.parametrize("status", ["pending", "executing", "compensating", "completed"])
    async def test_a_foreign_row_is_listed_and_never_claimed(self, store: SagaStore, status: RunStatus) -> None:
        saga_id = new_id()
        await store.save_foreign(saga_id, "Theirs", status, '{"n": 1}', {"version": 1})
        assert await claim_all(store) == []
        assert await store.claim("w1", 1, LEASE, KNOWN, saga_ids=[saga_id]) == []
        (record,) = await store.find(RunFilter(saga_name="Theirs"))
        assert (record.saga_id, record.status, record.fingerprint) == (saga_id, status, FOREIGN)
        assert (record.available_at, record.lease_owner) == (None, None)
        assert (record.finished_at is not None) == (status == "completed")
        assert (await store.stats()).due == 0

    async def test_a_foreign_row_is_updated_in_place(self, store: SagaStore) -> None:
        saga_id = new_id()
        await store.save_foreign(saga_id, "Theirs", "executing", '{"n": 1}', {"correlation_id": "c1"})
        first = await load(store, saga_id)
        await store.save_foreign(saga_id, "Theirs", "completed", '{"n": 2}', {})
        second = await load(store, saga_id)
        assert (second.status, json.loads(second.context)) == ("completed", {"n": 2})
        assert second.created_at == first.created_at
        assert first.correlation_id == second.correlation_id == "c1"

    async def test_a_run_of_ours_is_not_overwritten(self, store: SagaStore) -> None:
        active, ended = await claimed(store), await record_end(store)
        for saga_id in (active.saga_id, ended):
            before = await load(store, saga_id)
            with pytest.raises(ValueError, match=saga_id):
                await store.save_foreign(saga_id, "Theirs", "completed", "{}", {})
            assert await load(store, saga_id) == before

    async def test_a_start_over_a_foreign_row_is_answered_with_its_mark(self, store: SagaStore) -> None:
        saga_id = new_id()
        await store.save_foreign(saga_id, "Theirs", "executing", "{}", {})
        (answer,) = await store.insert([new(saga_id)], LEASE)
        assert (answer.created, answer.fingerprint) == (False, FOREIGN)

    @pytest.mark.parametrize("status", ENDED)
    async def test_a_finished_run_is_deleted_with_its_journal(self, store: SagaStore, status: RunStatus) -> None:
        run = await claimed(store)
        await store.write([write(run, steps=(step("a", "done"),), status=status)])
        assert await store.delete(run.saga_id) is True
        assert await store.load(run.saga_id) is None
        assert await store.load_steps(run.saga_id) == []
        assert await store.delete(run.saga_id) is False

    async def test_an_active_run_is_not_deleted(self, store: SagaStore) -> None:
        waiting, running = new(), await claimed(store)
        await store.insert([waiting], LEASE)
        await store.write([write(running, steps=(step("a", "started"),))])
        assert await store.delete(waiting.saga_id) is False
        assert await store.delete(running.saga_id) is False
        assert len(await store.load_steps(running.saga_id)) == 1

    async def test_a_foreign_row_is_deleted_in_any_status(self, store: SagaStore) -> None:
        saga_id = new_id()
        await store.save_foreign(saga_id, "Theirs", "executing", "{}", {})
        assert await store.delete(saga_id) is True
        assert await store.load(saga_id) is None

    async def test_a_deleted_runs_saga_id_is_free_again(self, store: SagaStore) -> None:
        saga_id = await record_end(store)
        await store.delete(saga_id)
        (answer,) = await store.insert([new(saga_id, fingerprint="again")], LEASE)
        assert (answer.created, answer.fingerprint) == (True, "again")

    async def test_only_what_ended_before_the_time_with_the_statuses_is_pruned(self, store: SagaStore) -> None:
        old = [await record_end(store, status) for status in ENDED]
        waiting = new()
        await store.insert([waiting], LEASE)
        ends = [(await load(store, saga_id)).finished_at for saga_id in old]
        border = max(end for end in ends if end is not None) + timedelta(microseconds=1)
        while datetime.now(UTC) <= border:
            pass
        young = await record_end(store)
        assert await store.prune(border - timedelta(days=1), ENDED, 100) == 0
        assert await store.prune(border, ("completed", "rolled_back"), 100) == 2
        assert {r.saga_id for r in await store.find(RunFilter())} == {old[2], waiting.saga_id, young}
        assert await store.prune(border, (), 100) == 0
        assert await store.prune(border, ENDED, 100) == 1

    async def test_pruning_takes_its_limit_of_those_that_ended_first_and_their_journals(self, store: SagaStore) -> None:
        ended = []
        for _ in range(5):
            run = await claimed(store)
            await store.write([write(run, steps=(step("a", "done"),), status="completed")])
            ended.append(run.saga_id)
        later = datetime.now(UTC) + timedelta(minutes=5)
        assert await store.prune(later, ("completed",), 2) == 2
        assert [await store.load(saga_id) is None for saga_id in ended] == [True, True, False, False, False]
        assert [len(await store.load_steps(saga_id)) for saga_id in ended] == [0, 0, 1, 1, 1]
        assert await store.prune(later, ("completed",), 100) == 3

    @pytest.mark.parametrize("how", ["delete", "prune"])
    async def test_events_that_were_sent_go_with_their_run_and_the_others_stay(
        self, store: SagaStore, how: str
    ) -> None:
        run, other = await claimed(store), await claimed(store)
        await store.write([write(run, events=told(run.saga_id, "e1", "e2"), status="completed")])
        await store.write([write(other, events=told(other.saga_id, "e3"))])
        await settle(store, await store.due_events(10, LEASE))
        if how == "delete":
            assert await store.delete(run.saga_id)
        else:
            assert await store.prune(datetime.now(UTC) + timedelta(minutes=5), ("completed",), 10) == 1
        left = await store.find_events(EventFilter())
        assert {(event.saga_id, event.status) for event in left} == {(run.saga_id, "pending"), (other.saga_id, "sent")}

    async def test_a_deleted_runs_events_are_still_sent(self, store: SagaStore) -> None:
        run = await claimed(store)
        await store.write([write(run, events=told(run.saga_id, "e1", "e2"), status="completed")])
        (first,) = await store.due_events(10, LEASE)
        await settle(store, [first])
        assert await store.delete(run.saga_id) is True
        (second,) = await store.due_events(10, LEASE)
        assert second.payload == first.payload.replace("e1", "e2")
        await settle(store, [second])
        assert await store.due_events(10, LEASE) == []

    async def test_old_signals_are_pruned_each_kind_by_its_own_time(self, store: SagaStore) -> None:
        run = await parked(store, wait())
        await store.send([signal(saga_id=run.saga_id), signal("never", key="k")])
        await claim_all(store)
        now = datetime.now(UTC) + timedelta(minutes=1)
        assert await store.count_prunable_signals(LONG_AGO, LONG_AGO) == 0
        assert await store.prune_signals(LONG_AGO, LONG_AGO, 10) == 0
        assert await store.count_prunable_signals(now, LONG_AGO) == 1
        assert await store.count_prunable_signals(now, now) == 2
        assert await store.prune_signals(now, LONG_AGO, 10) == 1
        assert await store.count_untaken() == 1
        assert await store.prune_signals(now, now, 10) == 1
        assert await store.count_untaken() == 0

    async def test_a_signal_that_a_run_may_yet_take_is_never_pruned(self, store: SagaStore) -> None:
        run, asleep = await claimed(store), await parked(store, wait("", until=SOON))
        [queued] = await store.insert([new()], LEASE)
        for saga_id in (run.saga_id, asleep.saga_id, queued.saga_id, new_id()):
            await store.send([signal("early", saga_id=saga_id)])
        now = datetime.now(UTC) + timedelta(minutes=1)
        await parked(store, wait(key="pi_1"))
        await store.send([signal(key="pi_1"), signal(key="pi_2"), signal("shipped", key="pi_1")])
        assert await store.count_prunable_signals(now, now) == 3
        assert await store.prune_signals(now, now, 10) == 3, "those to nobody"
        assert await store.count_untaken() == 4
        await park(store, run, wait("early"))
        assert run.saga_id in [one.saga_id for one in await claim_all(store)]
        assert await store.prune_signals(LONG_AGO, now, 10) == 0

    async def test_a_signal_that_a_run_did_not_take_before_it_ended_is_pruned(self, store: SagaStore) -> None:
        run = await claimed(store)
        await store.send([signal(saga_id=run.saga_id)])
        assert await store.write([write(run, status="completed")]) == [True]
        now = datetime.now(UTC) + timedelta(minutes=1)
        assert await store.prune_signals(now, now, 10) == 1
