"""Sagas with plain and asynchronous steps that use the ORM either way."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from sagaz.core.triggers import trigger

from django_sagaz import Saga, action, compensate, current_step, effect
from django_sagaz.webhooks import resumes
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


class TillSaga(Saga):
    """A step and its compensation that are transactional, and one that fails."""

    saga_name = "till"

    @action("charge")
    @effect("transactional")
    def charge(self, ctx):
        Order.objects.using(ctx["db"]).create(name="charge")
        return {"charged": True}

    @compensate("charge")
    @effect("transactional")
    def refund(self, ctx):
        Order.objects.using(ctx["db"]).create(name="refund")

    @action("ship", depends_on=["charge"])
    def ship(self, ctx):
        raise ValueError("no truck")


class TravelSaga(Saga):
    """Branches, a pivot, and a name that is too long for one line."""

    saga_name = "travel"

    @action("check-traveller")
    async def check(self, ctx):
        return {"checked": True}

    @action("book-flight", depends_on=["check-traveller"])
    async def flight(self, ctx):
        return {"flight": "LH 400"}

    @compensate("book-flight")
    async def cancel_flight(self, ctx):
        return None

    @action("book-hotel", depends_on=["check-traveller"])
    async def hotel(self, ctx):
        return {"hotel": "Ritz"}

    @compensate("book-hotel")
    async def cancel_hotel(self, ctx):
        return None

    @action("reserve-the-rental-car-with-insurance-and-a-child-seat", depends_on=["check-traveller"])
    async def car(self, ctx):
        return {"car": "VW"}

    @compensate("reserve-the-rental-car-with-insurance-and-a-child-seat")
    async def cancel_car(self, ctx):
        return None

    @action("charge-card", depends_on=["book-flight", "book-hotel"], pivot=True)
    async def charge(self, ctx):
        return {"charged": ctx["amount"]}

    @action("send-documents", depends_on=["charge-card", "check-traveller"])
    async def send(self, ctx):
        return {}


class PaidSaga(Saga):
    saga_name = "payment_awaited"

    @action("pay")
    def pay(self, ctx):
        paid = dict(current_step().signal("paid", key=ctx["key"]))
        if ctx.get("rest"):
            current_step().sleep(timedelta(days=7))
        return {"paid": paid}


class WebhookSaga(Saga):
    """Started and resumed by the webhooks of a shop."""

    saga_name = "webhook"

    @trigger(source="shop", idempotency_key="order")
    def on_order(self, event):
        if event.get("type") != "ordered":
            return None
        # As any code of a project's may.
        return {"order": event["order"], "known": Order.objects.using(event["db"]).count()}

    @resumes("shop", signal="paid", key="order")
    async def on_paid(self, event):
        return {"amount": event["amount"]} if event.get("type") == "paid" else None

    @action("pay")
    async def pay(self, ctx):
        return {"paid": (await current_step().signal("paid", key=ctx["order"]))["amount"]}
