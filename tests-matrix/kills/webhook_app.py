"""An application that is told of orders and payments by webhooks; KILLS_HOLD has it stand still before each answer."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from sagaz import Saga, action
from sagaz.core.triggers import trigger
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fastapi_sagaz import create_lifespan, current_step, resumes, webhook_router
from sagaz_durable.webhooks.sources import StandardWebhooks

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class WebhookOrder(Saga):
    saga_name = "webhook-order"

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


class HeldAnswers:
    """Touches the file of KILLS_HOLD when a webhook is about to be answered, and never answers it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hold = os.environ.get("KILLS_HOLD")

        async def held(message: Message) -> None:
            if hold is not None:
                await asyncio.to_thread(Path(hold).touch)
                await asyncio.sleep(3_600)
            await send(message)

        await self._app(scope, receive, held if scope.get("path", "").startswith("/webhooks/") else send)


app = FastAPI(lifespan=create_lifespan(sagas=[WebhookOrder], worker=True))
app.add_middleware(HeldAnswers)
app.include_router(webhook_router({"shop": StandardWebhooks(SECRET)}))


@app.get("/up")
async def up() -> None: ...
