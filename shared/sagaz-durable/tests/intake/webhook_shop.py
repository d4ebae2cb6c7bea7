"""One application on memory whose sagas want webhooks, and requests that need no framework."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from sagaz.core.triggers import trigger

from sagaz_durable import Saga, action
from sagaz_durable.http.messages import HttpRequest, HttpResponse
from sagaz_durable.intake.api import WebhookApi
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.webhooks.resuming import resumes
from sagaz_durable.webhooks.sources import Stripe, Unsigned
from sagaz_integration_core.context.current_step import current_step
from sagaz_integration_core.contract.webhooks import WebhookFilter, WebhookRecord

SECRET = "whsec_0123456789abcdef0123456789abcdef"
SOURCES = {"shop": Unsigned(delivery_member="id", event_member="type"), "stripe": Stripe([SECRET])}


class Order(Saga):
    saga_name = "order"

    @trigger(source="shop", idempotency_key="order")
    def on_order(self, event):
        if event["type"] == "broken":
            raise ValueError("no such product")
        if event["type"] == "strange":
            return {"price": {1, 2}}
        if event["type"] == "no dict":
            return [1]
        return {"order": event["order"]} if event["type"] == "ordered" else None

    @resumes("shop", signal="paid", key="payment")
    async def on_paid(self, event):
        return {"amount": event["amount"]} if event["type"] == "paid" else None

    @resumes("shop", signal="paid", saga_id=lambda event: event["saga"])
    def on_refund(self, event):
        return {"amount": 0} if event["type"] == "refunded" else None

    @action("pay")
    async def pay(self, ctx):
        return {"paid": (await current_step().signal("paid", key=ctx["order"]))["amount"]}


class Mail(Saga):
    saga_name = "mail"

    @trigger(source="shop")
    def on_order(self, event):
        if event["type"] == "mailed":
            event["order"] = "changed"
            return {}
        return None

    @trigger(source="shop")
    async def on_mailed_too(self, event):
        return {"order": event["order"]} if event["type"] == "mailed" else None

    @action("send")
    async def send(self, ctx):
        return None


class Shop:
    """An application that is asked over HTTP."""

    def __init__(self, runtime: SagazRuntime) -> None:
        self.runtime = runtime
        self.store = runtime.store

    async def deliver(self, event: Any, source: str = "shop", headers: dict[str, str] | None = None) -> int:
        """Deliver an event and return the status of the answer."""
        return (await self.answer(event, source, headers)).status

    async def answer(self, event: Any, source: str = "shop", headers: dict[str, str] | None = None) -> HttpResponse:
        """Deliver an event and return the answer."""
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        given = tuple({"content-type": "application/json", **(headers or {})}.items())
        api = WebhookApi(self.runtime, SOURCES, lambda function: function)
        return await api.receive(HttpRequest("POST", f"/webhooks/{source}", "", given, body), source)

    async def events(self, **query: Any) -> Sequence[WebhookRecord]:
        """Return what is recorded."""
        return await self.store.find_webhooks(WebhookFilter(**query))

    async def event(self) -> WebhookRecord:
        """Return the only one that is recorded."""
        [record] = await self.events()
        return record

    async def until(self, saga_id: str, status: str) -> dict[str, Any]:
        """Return what a run was given and has returned when it has this status."""
        async with asyncio.timeout(20):
            while (run := await self.store.load(saga_id)) is None or run.status != status:
                await asyncio.sleep(0.005)
        results = [json.loads(step.result) for step in await self.store.load_steps(saga_id) if step.result]
        return json.loads(run.context) | {key: value for result in results for key, value in result.items()}
