"""Sagas with plain and asynchronous steps that use the ORM either way."""

from __future__ import annotations

import asyncio

from django_sagaz import Saga, action, compensate, current_step
from testproject.shop.models import Order


class OrderSaga(Saga):
    saga_name = "order"

    @action("reserve")
    def reserve(self, ctx):
        Order.objects.using(ctx["db"]).filter(name=ctx["name"]).update(paid=True)
        return {"key": current_step().idempotency_key}

    @compensate("reserve")
    async def release(self, ctx):
        await Order.objects.using(ctx["db"]).filter(name=ctx["name"]).aupdate(paid=False)

    @action("count", depends_on=["reserve"])
    async def count(self, ctx):
        return {"orders": await Order.objects.using(ctx["db"]).filter(paid=True).acount()}

    @action("ship", depends_on=["count"])
    async def ship(self, ctx):
        await asyncio.sleep(ctx.get("pause", 0))
        if ctx.get("fail"):
            raise ValueError("no truck")
        return {"shipped": True}
