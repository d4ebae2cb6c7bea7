"""The saga of the applications that are told of orders and payments by webhooks, and how they answer."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sagaz import Saga, action
from sagaz.core.triggers import trigger

from kills.holding import is_held
from sagaz_durable.webhooks.resuming import resumes
from sagaz_durable.webhooks.sources import StandardWebhooks
from sagaz_integration_core.context.current_step import current_step

SOURCES = {"shop": StandardWebhooks("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")}

_PATH = "/webhooks/"


class WebhookOrder(Saga):
    @trigger(source="shop", idempotency_key="order")
    def on_order(self, event: Any) -> dict[str, Any] | None:
        return {"order": event["order"]} if event["type"] == "ordered" else None

    @resumes("shop", signal="paid", key="order")
    def on_paid(self, event: Any) -> dict[str, Any] | None:
        return {"amount": event["amount"]} if event["type"] == "paid" else None

    @action("pay")
    async def pay(self, ctx: dict[str, Any]) -> dict[str, Any]:
        paid = await current_step().signal("paid", key=ctx["order"])
        return {"paid": paid["amount"]}

    @action("ship", depends_on=["pay"])
    def ship(self, ctx: dict[str, Any]) -> None:
        with Path(os.environ["KILLS_LEDGER"]).open("a") as ledger:
            ledger.write(f"{ctx['order']}\n")


def held_asgi(app: Callable[..., Any]) -> Callable[..., Any]:
    """Return an application of which the first answer to a webhook stands still before it is sent."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        async def send_later(message: Any) -> None:
            if scope.get("path", "").startswith(_PATH) and is_held():
                await asyncio.sleep(3_600)
            await send(message)

        await app(scope, receive, send_later)

    return serve


def held_wsgi(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Return an application of which the first answer to a webhook stands still before it is sent."""

    def serve(environ: Any, start_response: Any) -> Iterable[bytes]:
        answer = app(environ, start_response)
        if environ["PATH_INFO"].startswith(_PATH) and is_held():
            threading.Event().wait()
        return answer

    return serve
