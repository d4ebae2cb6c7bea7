"""The order saga: reserve the stock, charge the card, ship the parcel; and each step's way back."""

from __future__ import annotations

from typing import Any

import services

from flask_sagaz import Saga, action, compensate, current_step

Context = dict[str, Any]


class OrderSaga(Saga):
    """Steps run in the order that ``depends_on`` gives; without it they would run in parallel.

    A step may be called again after a crash. Its idempotency key is the same then, so that whoever it calls can
    tell the repetition from a second order. Plain functions run in threads; steps may be ``async def`` as well.
    """

    saga_name = "order"

    @action("reserve")
    def reserve(self, ctx: Context) -> Context:
        reserved = services.call("reserve", ctx["order_id"], current_step().idempotency_key)
        return {"reservation": reserved["reference"]}

    @compensate("reserve")
    def release(self, ctx: Context) -> None:
        services.call("release", ctx["order_id"], current_step().idempotency_key)

    @action("charge", depends_on=["reserve"])
    def charge(self, ctx: Context) -> Context:
        charged = services.charge(ctx["order_id"], current_step().idempotency_key, ctx["amount"])
        return {"charge": charged["reference"]}

    @compensate("charge")
    def refund(self, ctx: Context) -> None:
        services.call("refund", ctx["order_id"], current_step().idempotency_key)

    @action("ship", depends_on=["charge"])
    def ship(self, ctx: Context) -> Context:
        shipped = services.call("ship", ctx["order_id"], current_step().idempotency_key)
        return {"parcel": shipped["reference"]}

    @compensate("ship")
    def recall(self, ctx: Context) -> None:
        services.call("recall", ctx["order_id"], current_step().idempotency_key)
