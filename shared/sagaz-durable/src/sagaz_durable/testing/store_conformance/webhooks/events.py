"""Short words for the events that the cases deliver."""

from __future__ import annotations

from typing import Any

from sagaz_durable.testing.store_conformance.builders import new, signal
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.contract.webhooks import NewWebhook, WebhookFilter, WebhookRecord

__all__ = ["event", "one", "received", "sending", "starting"]


def event(delivery_id: str = "evt_1", handler: str = "OrderSaga.on_order", **values: Any) -> NewWebhook:
    """Return what a handler makes of an event: nothing, unless a run or a signal is given."""
    meant = values.get("run") or values.get("signal")
    its_id = f"{delivery_id}/{handler}"
    fingerprint = values.pop("fingerprint", meant.fingerprint if meant else "")
    given = {"source": "shop", "event_type": "order.paid", "body": '{"n": 1}', "correlation_id": "c1", **values}
    return NewWebhook(its_id, f"{its_id}/{fingerprint}", given.pop("source"), delivery_id, given.pop("event_type"),
        handler, fingerprint, **given)  # fmt: skip


def starting(
    saga_id: str | None = None, delivery_id: str = "evt_1", fingerprint: str = "f1", **values: Any
) -> NewWebhook:
    """Return an event that starts a run."""
    return event(delivery_id, run=new(saga_id, fingerprint=fingerprint, **values))


def sending(delivery_id: str = "evt_1", fingerprint: str = "f", **address: Any) -> NewWebhook:
    """Return an event that sends a signal."""
    sent = signal(signal_id=delivery_id, fingerprint=fingerprint, **address)
    return event(delivery_id, "OrderSaga.on_paid", signal=sent)


async def received(store: SagaStore, *events: NewWebhook) -> list[tuple[str, str | None]]:
    """Deliver an event, and return what became of it."""
    return [(record.outcome, record.reason) for record in await store.receive_webhook(events)]


async def one(store: SagaStore, its_id: str) -> WebhookRecord:
    """Return an event that is there."""
    [record] = await store.find_webhooks(WebhookFilter(id=its_id))
    return record
