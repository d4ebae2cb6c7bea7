"""The order saga: reserve the stock, charge the card, ship the parcel; and each step's way back.

An order that is paid by transfer waits in between, for the payment provider's webhook, and one above an amount for a
manager's approval.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet

from django_sagaz import Saga, action, compensate, current_step, effect, resumes
from orders import services
from orders.models import Order

Context = dict[str, Any]

SHIPPED_AT_ONCE = 5_000
"""Larger orders need a manager's approval."""


class NotApprovedError(Exception):
    """A manager has refused the order."""


def order_of(ctx: Context) -> QuerySet[Order]:
    """Return the shop's own row; a number is a customer's."""
    return Order.objects.filter(customer=ctx["customer"], number=ctx["order_id"])


class OrderSaga(Saga):
    """Steps run in the order that ``depends_on`` gives; without it they would run in parallel.

    A step may be called again after a crash. Its idempotency key is the same then, so that whoever it calls can
    tell the repetition from a second order.
    """

    saga_name = "order"

    @action("reserve")
    async def reserve(self, ctx: Context) -> Context:
        reserved = await services.call("reserve", ctx["order_id"], current_step().idempotency_key)
        return {"reservation": reserved["reference"]}

    @compensate("reserve")
    async def release(self, ctx: Context) -> None:
        await services.call("release", ctx["order_id"], current_step().idempotency_key)
        # Asynchronous steps use the asynchronous ORM.
        await order_of(ctx).aupdate(status=Order.Status.CANCELLED)

    @action("charge", depends_on=["reserve"])
    async def charge(self, ctx: Context) -> Context:
        charged = await services.charge(ctx["order_id"], current_step().idempotency_key, ctx["amount"])
        return {"charge": charged["reference"]}

    @compensate("charge")
    async def refund(self, ctx: Context) -> None:
        await services.call("refund", ctx["order_id"], current_step().idempotency_key)

    @action("confirm", depends_on=["charge"])
    async def confirm(self, ctx: Context) -> None:
        """Wait for the transfer, which takes days: the provider tells of it in a webhook that names this saga."""
        if ctx["payment"] == "transfer":
            answer = await current_step().signal("payment", timeout=timedelta(days=7))
            if answer.get("paid") is not True:
                raise services.PaymentDeclinedError("The transfer was not made.")

    @resumes("payments", signal="payment", saga_id=lambda event: event["data"]["reference"])
    def on_payment(self, event: Any) -> Context | None:
        """Return what `confirm` is told of the provider's event; None if it is about something else."""
        paid = {"payment.paid": True, "payment.failed": False}.get(event["type"])
        return None if paid is None else {"paid": paid}

    @action("approve", depends_on=["confirm"])
    async def approve(self, ctx: Context) -> None:
        """Wait for a manager, who has three days; no process waits meanwhile, and this is called again then."""
        if ctx["amount"] > SHIPPED_AT_ONCE:
            decision = await current_step().signal("approval", timeout=timedelta(days=3))
            if decision.get("approved") is not True:
                raise NotApprovedError("The order was not approved.")

    @action("ship", depends_on=["approve"])
    async def ship(self, ctx: Context) -> Context:
        shipped = await services.call("ship", ctx["order_id"], current_step().idempotency_key)
        return {"parcel": shipped["reference"]}

    @compensate("ship")
    async def recall(self, ctx: Context) -> None:
        await services.call("recall", ctx["order_id"], current_step().idempotency_key)

    @action("note", depends_on=["ship"])
    @effect("transactional")
    def note(self, ctx: Context) -> None:
        """Commit a row of the shop's own together with the saga's record of it: both exactly once, or not yet.

        Plain steps use the ORM as everywhere in Django.
        """
        order_of(ctx).update(status=Order.Status.SHIPPED, parcel=ctx["parcel"])
