"""Events of a trigger with a limit: their runs start in turn, when there is room."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sagaz_durable.testing.store_conformance.builders import (
    LONG_AGO,
    SOON,
    claim_all,
    load,
    new,
    new_id,
    parked,
    wait,
    write,
)
from sagaz_durable.testing.store_conformance.webhooks.events import event, one, received, starting
from sagaz_integration_core.contract.records import RunRecord
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.contract.webhooks import (
    DELAYED_UNTIL,
    STARTED_OTHERWISE,
    NewWebhook,
    StartLimit,
    WebhookFilter,
)

ONE = StartLimit("OrderSaga.on_order", "OrderSaga", max_concurrent=1)
TWO = replace(ONE, max_concurrent=2)
SLOWLY = StartLimit("OrderSaga.on_order", "OrderSaga", starts=2, seconds=3_600.0)


def delayed(
    delivery_id: str = "evt_1", saga_id: str | None = None, fingerprint: str = "f1", **run: object
) -> NewWebhook:
    """Return an event whose run starts when there is room."""
    given = starting(saga_id, delivery_id, fingerprint, not_before=DELAYED_UNTIL, **run)
    return replace(given, delayed=True)


async def run_of(store: SagaStore, given: NewWebhook) -> RunRecord:
    """Return the run of an event."""
    assert given.run is not None
    return await load(store, given.run.saga_id)


async def deliver(store: SagaStore, count: int) -> list[str]:
    """Deliver as many events, and return the saga_ids of their runs."""
    given = [delayed(f"evt_{n}") for n in range(count)]
    for each in given:
        assert await received(store, each) == [("delayed", None)]
    return [each.run.saga_id for each in given if each.run]


async def outcomes_of(store: SagaStore) -> list[str]:
    """Return what became of all events, the oldest first."""
    return [record.outcome for record in reversed(await store.find_webhooks(WebhookFilter()))]


class Limits:
    """Runs of a limited trigger wait until fewer are under way, or started."""

    async def test_a_delayed_event_has_a_run_that_nobody_claims(self, store: SagaStore) -> None:
        [saga_id] = await deliver(store, 1)
        run = await load(store, saga_id)
        assert (run.status, run.available_at) == ("pending", DELAYED_UNTIL)
        assert await claim_all(store) == []
        assert await store.count_delayed() == 1
        assert (await one(store, "evt_0/OrderSaga.on_order")).saga_id == saga_id

    async def test_delayed_runs_start_in_turn_while_there_is_room(self, store: SagaStore) -> None:
        saga_ids = await deliver(store, 4)
        assert await store.start_delayed(TWO) == 2
        assert await outcomes_of(store) == ["started", "started", "delayed", "delayed"]
        claimed = await claim_all(store)
        assert sorted(run.saga_id for run in claimed) == sorted(saga_ids[:2])
        assert await store.start_delayed(TWO) == 0
        assert await store.write([write(claimed[0], status="completed")]) == [True]
        assert await store.start_delayed(TWO) == 1
        assert [run.saga_id for run in await claim_all(store)] == [saga_ids[2]]
        assert await store.count_delayed() == 1

    async def test_a_run_that_waits_for_a_signal_is_under_way(self, store: SagaStore) -> None:
        await deliver(store, 2)
        assert await store.start_delayed(ONE) == 1
        await parked(store, wait(key="pi_1"))
        assert await store.start_delayed(ONE) == 0

    async def test_runs_that_nobody_limits_and_those_of_other_triggers_take_no_room(self, store: SagaStore) -> None:
        await store.insert([new()], 0.0)
        await received(store, event("evt_9", "OrderSaga.on_other", run=new()))
        await deliver(store, 1)
        assert await store.start_delayed(replace(ONE, handler="OrderSaga.on_other")) == 0
        assert await store.start_delayed(ONE) == 1
        assert len(await claim_all(store)) == 3

    async def test_so_many_runs_start_in_any_so_many_seconds(self, store: SagaStore) -> None:
        await deliver(store, 3)
        assert await store.start_delayed(SLOWLY) == 2
        for run in await claim_all(store):
            await store.write([write(run, status="completed")])
        assert await store.start_delayed(SLOWLY) == 0
        assert await store.start_delayed(replace(SLOWLY, seconds=0.0)) == 1

    async def test_of_two_limits_the_narrower_one_is_kept(self, store: SagaStore) -> None:
        await deliver(store, 3)
        assert await store.start_delayed(replace(SLOWLY, max_concurrent=1)) == 1
        assert await store.start_delayed(replace(SLOWLY, max_concurrent=9)) == 1
        assert await store.start_delayed(replace(SLOWLY, max_concurrent=9)) == 0

    async def test_without_a_limit_all_that_was_delayed_starts(self, store: SagaStore) -> None:
        await deliver(store, 3)
        assert await store.start_delayed(replace(ONE, max_concurrent=None)) == 3
        assert len(await claim_all(store)) == 3

    async def test_many_who_look_at_once_start_no_more_than_there_is_room(self, store: SagaStore) -> None:
        await deliver(store, 6)
        started = await asyncio.gather(*(store.start_delayed(TWO) for _ in range(8)))
        assert sum(started) == 2
        assert len(await claim_all(store)) == 2

    async def test_a_redelivered_event_is_the_same_delayed_one(self, store: SagaStore) -> None:
        given = delayed()
        first = await store.receive_webhook([given])
        assert await store.receive_webhook([given]) == first
        assert await store.start_delayed(TWO) == 1
        assert await received(store, given) == [("started", None)]
        assert len(await claim_all(store)) == 1

    async def test_events_of_one_key_start_together_and_take_one_place(self, store: SagaStore) -> None:
        saga_id = new_id()
        assert await received(store, delayed("evt_1", saga_id)) == [("delayed", None)]
        assert await received(store, delayed("evt_2", saga_id)) == [("delayed", None)]
        assert await received(store, delayed("evt_3", saga_id, "f2")) == [("quarantined", STARTED_OTHERWISE)]
        assert await received(store, delayed("evt_4")) == [("delayed", None)]
        assert await store.start_delayed(TWO) == 2
        assert await outcomes_of(store) == ["started", "started", "quarantined", "started"]
        assert await received(store, delayed("evt_5", saga_id)) == [("started", None)]
        assert len(await claim_all(store)) == 2

    async def test_a_delayed_run_counts_its_time_and_deadline_from_its_start(self, store: SagaStore) -> None:
        counted = delayed("evt_1", deadline=DELAYED_UNTIL + timedelta(seconds=60))
        fixed = delayed("evt_2", deadline=SOON)
        await received(store, counted)
        await received(store, fixed)
        before = await run_of(store, counted)
        assert await store.start_delayed(TWO) == 2
        run = await run_of(store, counted)
        assert (run.available_at, run.version) == (run.created_at, before.version + 1)
        assert run.created_at > before.created_at
        assert run.deadline == run.created_at + timedelta(seconds=60)
        assert (await run_of(store, fixed)).deadline == SOON

    async def test_a_replayed_event_is_delayed_like_others(self, store: SagaStore) -> None:
        given = delayed()
        await received(store, replace(given, reason="raised"))
        replayed = await store.replay_webhook(given, "ann", "fixed")
        assert replayed is not None
        assert replayed.outcome == "delayed"
        assert await claim_all(store) == []
        assert await store.start_delayed(ONE) == 1

    async def test_delayed_events_are_never_pruned(self, store: SagaStore) -> None:
        await deliver(store, 2)
        await store.start_delayed(ONE)
        assert await store.count_prunable_webhooks(SOON, SOON) == 1
        assert await store.prune_webhooks(SOON, SOON, 10) == 1
        assert await outcomes_of(store) == ["delayed"]
        assert await store.prune_webhooks(LONG_AGO, datetime.now(UTC), 10) == 0
