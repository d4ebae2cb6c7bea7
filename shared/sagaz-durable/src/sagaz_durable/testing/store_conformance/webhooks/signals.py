"""Events that resume runs, or will."""

from __future__ import annotations

from dataclasses import replace

from sagaz_durable.testing.store_conformance.builders import claim_all, parked, record_end, signal, wait
from sagaz_durable.testing.store_conformance.webhooks.events import received, sending
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.contract.waits import NewSignal, SignalFilter
from sagaz_integration_core.contract.webhooks import RUN_ENDED, SENT_OTHERWISE


class Signalling:
    """An event is recorded together with the signal that it sends."""

    async def test_an_event_resumes_the_run_that_waits_under_its_key_once(self, store: SagaStore) -> None:
        run = await parked(store, wait(key="pi_1"))
        assert await received(store, sending(key="pi_1")) == [("resumed", None)]
        [again] = await claim_all(store)
        assert (again.saga_id, [one.payload for one in again.waits]) == (run.saga_id, ['{"n": 1}'])
        assert await received(store, sending(key="pi_1")) == [("resumed", None)]
        assert await store.count_untaken() == 0

    async def test_an_event_resumes_the_run_with_its_saga_id(self, store: SagaStore) -> None:
        run = await parked(store, wait())
        [record] = await store.receive_webhook([sending(saga_id=run.saga_id)])
        assert (record.outcome, record.saga_id, record.signal, record.key) == ("resumed", run.saga_id, "paid", None)
        assert len(await claim_all(store)) == 1

    async def test_an_event_that_nobody_waits_for_is_kept_as_an_early_signal(self, store: SagaStore) -> None:
        [record] = await store.receive_webhook([sending(key="pi_1")])
        assert (record.outcome, record.saga_id, record.signal, record.key) == ("early", None, "paid", "pi_1")
        [kept] = await store.find_signals(SignalFilter())
        assert (kept.name, kept.key, kept.signal_id, kept.payload) == ("paid", "pi_1", "evt_1", '{"n": 1}')
        await parked(store, wait(key="pi_1"))
        assert len(await claim_all(store)) == 1

    async def test_a_signal_to_a_run_that_has_ended_is_quarantined(self, store: SagaStore) -> None:
        saga_id = await record_end(store)
        assert await received(store, sending(saga_id=saga_id)) == [("quarantined", RUN_ENDED)]
        assert await store.count_untaken() == 0

    async def test_a_signal_that_was_sent_with_another_payload_is_quarantined(self, store: SagaStore) -> None:
        earlier: NewSignal = signal(key="pi_1", signal_id="evt_1", fingerprint="other")
        await store.send([earlier])
        assert await received(store, sending(key="pi_1")) == [("quarantined", SENT_OTHERWISE)]

    async def test_two_signals_of_one_event_with_other_payloads_are_not_taken_for_one(self, store: SagaStore) -> None:
        first, second = sending(key="pi_1"), replace(sending(key="pi_1", fingerprint="g"), id="x", handler="B.on_paid")
        outcomes = await received(store, first, second)
        assert sorted(outcomes, key=str) == [("early", None), ("quarantined", SENT_OTHERWISE)]
