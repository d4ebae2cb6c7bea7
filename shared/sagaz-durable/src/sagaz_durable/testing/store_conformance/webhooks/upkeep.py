"""What people ask and decide about events, and how these are removed and erased."""

from __future__ import annotations

from dataclasses import replace

from sagaz_durable.testing.store_conformance.builders import (
    LONG_AGO,
    SOON,
    claim_all,
    new_id,
    parked,
    record_end,
    wait,
    write,
)
from sagaz_durable.testing.store_conformance.webhooks.events import event, one, received, sending, starting
from sagaz_integration_core.contract.decisions import Erasure
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.contract.webhooks import WebhookFilter, webhook_subject


class Upkeep:
    """Events are listed, replayed, pruned and erased."""

    async def test_a_person_replays_a_quarantined_event_and_it_is_noted(self, store: SagaStore) -> None:
        given = starting()
        await received(store, replace(given, reason="OrderSaga.on_order raised ValueError"))
        replayed = await store.replay_webhook(given, "ann", "fixed")
        assert replayed is not None
        assert (replayed.outcome, replayed.reason) == ("started", None)
        assert await one(store, given.id) == replayed
        assert [claimed.saga_id for claimed in await claim_all(store)] == [replayed.saga_id]
        [note] = await store.load_audit(webhook_subject(given.id))
        assert (note.action, note.actor, note.reason) == ("replay", "ann", "fixed")
        assert (note.found, note.status) == ("quarantined", "started")
        assert await store.count_quarantined() == 0

    async def test_a_person_replays_an_ignored_event_and_it_is_noted(self, store: SagaStore) -> None:
        given = starting()
        await received(store, event())
        replayed = await store.replay_webhook(given, "ann", "deployed")
        assert replayed is not None
        assert replayed.outcome == "started"
        assert await one(store, given.id) == replayed
        assert len(await claim_all(store)) == 1
        [note] = await store.load_audit(webhook_subject(given.id))
        assert (note.found, note.status) == ("ignored", "started")

    async def test_only_quarantined_and_ignored_events_are_replayed(self, store: SagaStore) -> None:
        given = starting()
        assert await store.replay_webhook(given, "ann", "") is None
        await received(store, given)
        assert await store.replay_webhook(given, "ann", "") is None
        assert await store.load_audit(webhook_subject(given.id)) == []

    async def test_a_replay_that_leads_to_nothing_says_why(self, store: SagaStore) -> None:
        await received(store, starting(saga_id := new_id()))
        other = starting(saga_id, "evt_2", "f2")
        await received(store, other)
        replayed = await store.replay_webhook(replace(other, reason="it raises still"), "ann", "")
        assert replayed is not None
        assert (replayed.outcome, replayed.reason) == ("quarantined", "it raises still")
        again = await store.replay_webhook(starting(saga_id, "evt_2"), "ann", "")
        assert again is not None
        assert (again.outcome, again.reason, again.fingerprint) == ("started", None, "f1")

    async def test_a_replayed_signal_is_sent(self, store: SagaStore) -> None:
        run = await parked(store, wait(key="pi_1"))
        given = sending(key="pi_1")
        await received(store, replace(given, reason="raised", signal=None, fingerprint=""))
        replayed = await store.replay_webhook(given, "ann", "")
        assert replayed is not None
        assert (replayed.outcome, replayed.signal, replayed.key) == ("resumed", "paid", "pi_1")
        assert [claimed.saga_id for claimed in await claim_all(store)] == [run.saga_id]

    async def test_events_are_listed_newest_first_with_filters_and_a_cursor(self, store: SagaStore) -> None:
        for n in range(3):
            await store.receive_webhook([starting(delivery_id=f"evt_{n}")])
        await store.receive_webhook([event("evt_9", "", source="bank")])
        listed = await store.find_webhooks(WebhookFilter())
        assert [record.delivery_id for record in listed] == ["evt_9", "evt_2", "evt_1", "evt_0"]
        second = WebhookFilter(limit=2, before=(listed[0].received_at, listed[0].id))
        assert await store.find_webhooks(second) == listed[1:3]
        assert await store.find_webhooks(WebhookFilter(source="bank")) == listed[:1]
        assert await store.find_webhooks(WebhookFilter(outcome="ignored")) == listed[:1]
        assert await store.find_webhooks(WebhookFilter(saga_id=listed[1].saga_id)) == [listed[1]]
        assert await store.find_webhooks(WebhookFilter(id=listed[2].id)) == [listed[2]]

    async def test_old_events_are_pruned_and_quarantined_ones_stay(self, store: SagaStore) -> None:
        for n in range(2):
            await received(store, starting(delivery_id=f"evt_{n}"))
        await received(store, event("evt_5", ""))
        await received(store, replace(event("evt_6"), reason="raised"))
        assert await store.prune_webhooks(LONG_AGO, LONG_AGO, 10) == 0
        assert await store.count_prunable_webhooks(LONG_AGO, SOON) == 1
        assert await store.prune_webhooks(LONG_AGO, SOON, 10) == 1
        assert await store.count_prunable_webhooks(SOON, SOON) == 2
        assert await store.prune_webhooks(SOON, LONG_AGO, 1) == 1
        assert await store.prune_webhooks(SOON, LONG_AGO, 10) == 1
        assert [record.outcome for record in await store.find_webhooks(WebhookFilter())] == ["quarantined"]

    async def test_notes_about_an_event_are_pruned_with_it(self, store: SagaStore) -> None:
        given = starting()
        await received(store, replace(given, reason="raised"))
        await store.replay_webhook(given, "ann", "")
        await store.prune_webhooks(SOON, SOON, 10)
        assert await store.load_audit(webhook_subject(given.id)) == []

    async def test_what_events_said_is_erased_with_the_run_and_they_are_known_still(self, store: SagaStore) -> None:
        given = starting(await record_end(store))
        await received(store, given)
        await received(store, starting(delivery_id="evt_2"))
        saga_id = given.run.saga_id if given.run else ""
        assert await store.erase(Erasure("ann", "", ("completed",), saga_ids=(saga_id,)), 10) == 1
        erased, other = await one(store, given.id), await one(store, "evt_2/OrderSaga.on_order")
        assert (erased.body, erased.fingerprint, erased.outcome) == (None, "erased:", "started")
        assert other.body is not None
        assert await received(store, starting(saga_id, fingerprint="f2")) == [("started", None)]
        assert await received(store, starting(saga_id, "evt_3", "f2")) == [("started", None)]

    async def test_what_events_said_whose_signals_a_run_took_is_erased_with_it(self, store: SagaStore) -> None:
        await parked(store, wait(key="pi_1"))
        await received(store, sending(key="pi_1"))
        await received(store, sending("evt_2", key="pi_2"))
        [run] = await claim_all(store)
        assert await store.write([write(run, status="completed")]) == [True]
        assert await store.erase(Erasure("ann", "", ("completed",), saga_ids=(run.saga_id,)), 10) == 1
        bodies = {record.delivery_id: record.body for record in await store.find_webhooks(WebhookFilter())}
        assert bodies == {"evt_1": None, "evt_2": '{"n": 1}'}
