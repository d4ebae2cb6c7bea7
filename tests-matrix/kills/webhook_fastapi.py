"""The FastAPI application that is told of orders and payments by webhooks."""

from __future__ import annotations

from fastapi import FastAPI

from fastapi_sagaz import create_lifespan, webhook_router
from kills.webhook_saga import SOURCES, WebhookOrder, held_asgi

shop = FastAPI(lifespan=create_lifespan(sagas=[WebhookOrder], worker=True))
shop.include_router(webhook_router(SOURCES))


@shop.get("/up")
async def up() -> None: ...


app = held_asgi(shop)
