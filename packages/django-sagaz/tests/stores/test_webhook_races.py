"""Two deliveries of one event at the same moment, on databases that the ORM serves."""

from __future__ import annotations

import asyncio
import threading

from sagaz_durable.testing.store_conformance.builders import claim_all
from sagaz_durable.testing.store_conformance.webhooks.events import received, starting
from sagaz_integration_core.contract.webhooks import TOLD_OTHERWISE


async def test_the_second_one_with_another_meaning_starts_nothing_and_is_quarantined(stores, monkeypatch):
    from django_sagaz._stores.orm.webhooks import _Webhooks

    store, other = stores
    has_looked, may_go_on = threading.Event(), threading.Event()
    of_delivery = _Webhooks.of_delivery

    def looked(rows, source, delivery_id):
        known = of_delivery(rows, source, delivery_id)
        if not has_looked.is_set():
            has_looked.set()
            assert may_go_on.wait(30)
        return known

    monkeypatch.setattr(_Webhooks, "of_delivery", looked)
    first, second = starting(fingerprint="of the first"), starting(fingerprint="of the second")
    receiving = asyncio.create_task(received(store, second))
    assert await asyncio.to_thread(has_looked.wait, 30)
    assert await received(other, first) == [("started", None)]
    may_go_on.set()
    assert await receiving == [("started", None), ("quarantined", TOLD_OTHERWISE)]
    assert [run.saga_id for run in await claim_all(store)] == [first.run.saga_id]
