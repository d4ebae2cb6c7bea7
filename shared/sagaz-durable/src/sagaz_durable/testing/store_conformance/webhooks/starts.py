"""Events that start runs, and those that nobody wants."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from sagaz_durable.testing.store_conformance.builders import SOON, claim_all, load, new, parked, record_end, wait
from sagaz_durable.testing.store_conformance.webhooks.events import event, received, sending, starting
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.contract.webhooks import STARTED_OTHERWISE, TOLD_OTHERWISE, WebhookFilter, WebhookRecord


class Starting:
    """An event is recorded together with the run that it starts, once, however often it is delivered."""

    async def test_an_event_starts_a_run_and_is_kept_with_it(self, store: SagaStore) -> None:
        given = starting(correlation_id="c2")
        assert given.run is not None
        [record] = await store.receive_webhook([given])
        assert record == WebhookRecord(
            "evt_1/OrderSaga.on_order", "shop", "evt_1", "OrderSaga.on_order", "order.paid", record.received_at,
            "started", None, given.run.saga_id, None, None, "f1", '{"n": 1}', "c1",
        )  # fmt: skip
        assert await store.find_webhooks(WebhookFilter()) == [record]
        run = await load(store, given.run.saga_id)
        assert (run.status, run.context, run.fingerprint, run.correlation_id) == ("pending", '{"n": 1}', "f1", "c2")
        assert [claimed.saga_id for claimed in await claim_all(store)] == [given.run.saga_id]

    async def test_a_run_that_an_event_starts_keeps_its_time_deadline_and_owner(self, store: SagaStore) -> None:
        given = starting(not_before=SOON, deadline=60.0, owner="user:1")
        await store.receive_webhook([given])
        run = await load(store, given.run.saga_id if given.run else "")
        assert (run.available_at, run.owner) == (SOON, "user:1")
        assert run.deadline is not None
        assert await claim_all(store) == []
        other = starting(delivery_id="evt_2", deadline=SOON)
        await store.receive_webhook([other])
        assert (await load(store, other.run.saga_id if other.run else "")).deadline == SOON

    async def test_a_redelivered_event_starts_nothing_and_is_answered_alike(self, store: SagaStore) -> None:
        given = starting()
        first = await store.receive_webhook([given])
        assert await store.receive_webhook([given]) == first
        assert given.run is not None
        assert await store.receive_webhook([replace(given, run=replace(given.run, fresh=True))]) == first
        assert len(await claim_all(store)) == 1

    async def test_of_many_deliveries_at_once_one_starts_the_run(self, store: SagaStore) -> None:
        given = starting()
        answers = await asyncio.gather(*(store.receive_webhook([given]) for _ in range(10)))
        assert {record.saga_id for [record] in answers} == {given.run.saga_id if given.run else ""}
        assert {record.outcome for [record] in answers} == {"started"}
        assert len(await store.find_webhooks(WebhookFilter())) == 1

    async def test_of_many_meanings_of_one_event_at_once_one_leads_to_something(self, store: SagaStore) -> None:
        given = [starting(fingerprint=f"f{n}") for n in range(10)]
        await asyncio.gather(*(store.receive_webhook([one]) for one in given))
        [run] = await claim_all(store)
        records = await store.find_webhooks(WebhookFilter())
        assert [one.saga_id for one in records if one.outcome == "started"] == [run.saga_id]
        assert [one.reason for one in records if one.outcome == "quarantined"] == [TOLD_OTHERWISE] * 9

    async def test_a_redelivery_after_the_run_was_pruned_starts_nothing(self, store: SagaStore) -> None:
        given = starting(await record_end(store))
        await received(store, given)
        assert await store.prune(SOON, ("completed",), 10) == 1
        assert await received(store, given) == [("started", None)]
        assert given.run is not None
        assert await store.load(given.run.saga_id) is None

    async def test_another_event_with_the_key_of_a_run_starts_nothing(self, store: SagaStore) -> None:
        given = starting()
        saga_id = given.run.saga_id if given.run else ""
        await received(store, given)
        assert await received(store, starting(saga_id, "evt_2")) == [("started", None)]
        assert await received(store, starting(saga_id, "evt_3", "f2")) == [("quarantined", STARTED_OTHERWISE)]
        assert len(await claim_all(store)) == 1

    async def test_another_event_with_the_key_of_a_pruned_run_starts_nothing(self, store: SagaStore) -> None:
        saga_id = await record_end(store)
        await received(store, starting(saga_id))
        await store.prune(SOON, ("completed",), 10)
        assert await received(store, starting(saga_id, "evt_2")) == [("started", None)]
        assert await received(store, starting(saga_id, "evt_3", "f2")) == [("quarantined", STARTED_OTHERWISE)]
        assert await store.load(saga_id) is None

    async def test_the_same_event_with_another_meaning_is_quarantined_once(self, store: SagaStore) -> None:
        await received(store, starting())
        changed = starting(fingerprint="f2")
        expected = [("started", None), ("quarantined", TOLD_OTHERWISE)]
        assert await received(store, changed) == expected
        assert await received(store, changed) == expected
        assert len(await claim_all(store)) == 1
        assert await store.count_quarantined() == 1

    async def test_an_event_that_no_saga_wants_any_more_is_as_it_was(self, store: SagaStore) -> None:
        await received(store, starting())
        assert await received(store, event(handler="")) == [("started", None)]

    async def test_an_event_that_no_saga_wants_is_kept(self, store: SagaStore) -> None:
        assert await received(store, event(handler="")) == [("ignored", None)]
        assert await received(store, event(handler="")) == [("ignored", None)]
        assert await claim_all(store) == []

    async def test_an_ignored_event_that_a_saga_wants_now_is_taken_once(self, store: SagaStore) -> None:
        await received(store, event(handler=""))
        expected = {("ignored", None), ("started", None)}
        given = starting()
        for again in (given, given, event(handler="")):
            assert set(await received(store, again)) == expected
        assert set(await received(store, starting(fingerprint="f2"))) == {*expected, ("quarantined", TOLD_OTHERWISE)}
        assert len(await store.find_webhooks(WebhookFilter())) == 3
        assert len(await claim_all(store)) == 1

    async def test_of_many_deliveries_of_an_ignored_event_one_starts_the_run(self, store: SagaStore) -> None:
        await received(store, event(handler=""))
        given = starting()
        await asyncio.gather(*(store.receive_webhook([given]) for _ in range(5)))
        assert set(await received(store, given)) == {("ignored", None), ("started", None)}
        assert len(await store.find_webhooks(WebhookFilter())) == 2
        assert len(await claim_all(store)) == 1

    async def test_an_event_that_is_quarantined_as_it_comes_leads_to_nothing(self, store: SagaStore) -> None:
        given = replace(starting(), reason="OrderSaga.on_order raised ValueError")
        assert await received(store, given) == [("quarantined", "OrderSaga.on_order raised ValueError")]
        assert await claim_all(store) == []

    async def test_one_event_may_start_several_runs_and_send_signals(self, store: SagaStore) -> None:
        run = await parked(store, wait(key="pi_1"))
        events = (starting(), event("evt_1", "OtherSaga.on_order", run=new()), sending(key="pi_1"),
            replace(event("evt_1", "A.on_order"), reason="A.on_order raised ValueError"))  # fmt: skip
        outcomes = [("started", None), ("started", None), ("resumed", None),
            ("quarantined", "A.on_order raised ValueError")]  # fmt: skip
        assert sorted(await received(store, *events), key=str) == sorted(outcomes, key=str)
        assert sorted(await received(store, *events), key=str) == sorted(outcomes, key=str)
        claimed = {one.saga_id for one in await claim_all(store)}
        assert claimed == {run.saga_id, *(one.run.saga_id for one in events if one.run)}
