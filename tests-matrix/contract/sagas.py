"""The sagas of the cases, made anew for each site, and the ledger that their steps keep in memory."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any, NamedTuple

from sagaz import Saga, action, compensate
from sagaz.core.triggers import trigger

from contract.pivotal import by_hand, pivotal
from contract.typed_sagas import given_saga, typed_saga, values_saga
from contract.wild import wild
from sagaz_durable.webhooks.resuming import resumes
from sagaz_integration_core.context.current_step import current_step

__all__ = ["LIMIT_SECONDS", "UNKEPT", "Declined", "Entry", "Shop"]

Context = dict[str, Any]

logger = logging.getLogger("contract.shop")


class _Odd(tzinfo):
    """A zone that tells nothing of its moments."""

    def utcoffset(self, moment: datetime | None) -> timedelta:
        return timedelta(hours=1 if moment is not None and moment.fold else 2)


UNKEPT: dict[str, Any] = {
    "zone": datetime(2026, 1, 1, tzinfo=_Odd()),
    "decimal": Decimal("NaN"),
    "bytes": b"x" * 65_537,
    "set": {1},
    "tuple": (1, 2),
    "nan": math.nan,
    "key": {1: "one"},
    "object": object(),
}
"""What no store keeps as it is, by the name that a context asks for it with."""


LIMIT_SECONDS = 1.5
"""The time limit of the plain functions of the saga "limited"."""


class Declined(Exception):
    """The card was declined."""


class Entry(NamedTuple):
    """One call of a step."""

    saga_id: str
    step: str
    phase: str
    order: Any
    key: str
    attempt: int
    correlation_id: str | None
    app: Any
    in_event_loop: bool

    @property
    def what(self) -> str:
        return self.step if self.phase == "do" else f"{self.phase} {self.step}"


class Shop:
    """A ledger, a gate at which steps wait when their context says so, and the sagas that use both.

    The context of an order may have ``fail`` (the step that fails), ``fail_undo`` (the one whose compensation fails)
    and ``wait`` (the step that waits at the gate; ``undo <step>`` for a compensation).
    """

    def __init__(self) -> None:
        self.ledger: list[Entry] = []
        self.gate = threading.Event()
        self.sagas: dict[str, type[Saga]] = {
            "order": _order(self),
            "parcel": _parcel(self),
            "odd": _odd(self),
            "names": _odd_names(self),
            "limited": _limited(self),
            "paid": _paid(self),
            "pivotal": pivotal(self),
            "by hand": by_hand(self),
            "values": values_saga(self),
            "given": given_saga(self),
            "typed": typed_saga(self),
            "wild": wild(self),
        }

    def calls(self, saga_id: str) -> list[str]:
        """What was called for a run, in order."""
        return [entry.what for entry in self.ledger if entry.saga_id == saga_id]

    def note(self, ctx: Context) -> str:
        """Write a call down, before it has any effect."""
        try:
            in_loop = asyncio.get_running_loop() is not None
        except RuntimeError:
            in_loop = False
        step = current_step()
        entry = Entry(
            step.saga_id, step.step, step.phase, ctx.get("order"), step.idempotency_key, step.attempt,
            step.correlation_id, step.app, in_loop,
        )  # fmt: skip
        self.ledger.append(entry)
        logger.info("calling %s", entry.what)
        return entry.what

    async def visit(self, ctx: Context) -> None:
        """An async step's work."""
        what = self.note(ctx)
        while ctx.get("wait") == what and not self.gate.is_set():
            await asyncio.sleep(0.005)
        _fail(ctx, what)

    def visit_in_thread(self, ctx: Context) -> None:
        """A plain step's work."""
        what = self.note(ctx)
        if ctx.get("wait") == what:
            self.gate.wait(20)
        _fail(ctx, what)


def _fail(ctx: Context, what: str) -> None:
    if ctx.get("fail") == what:
        raise Declined(f"{what}: the card was declined")
    if what == f"undo {ctx.get('fail_undo')}":
        raise RuntimeError(f"{what}: the bank is closed")


def _order(shop: Shop) -> type[Saga]:
    class OrderSaga(Saga):
        saga_name = "order"

        @action("reserve")
        async def reserve(self, ctx: Context) -> Context:
            await shop.visit(ctx)
            return {"reservation": f"r-{ctx.get('order')}"}

        @compensate("reserve")
        async def release(self, ctx: Context) -> None:
            assert ctx["reservation"]
            await shop.visit(ctx)

        @action("charge", depends_on=["reserve"])
        def charge(self, ctx: Context) -> None:
            shop.visit_in_thread(ctx)
            ctx["charged"] = [ctx["reservation"]]

        @compensate("charge")
        def refund(self, ctx: Context) -> None:
            assert ctx["charged"]
            shop.visit_in_thread(ctx)

        @action("ship", depends_on=["charge"])
        async def ship(self, ctx: Context) -> Context:
            await shop.visit(ctx)
            return {"parcel": f"p-{ctx.get('order')}"}

        @compensate("ship")
        async def recall(self, ctx: Context) -> None:
            await shop.visit(ctx)

    return OrderSaga


def _parcel(shop: Shop) -> type[Saga]:
    class ParcelSaga(Saga):
        saga_name = "parcel"

        @action("send")
        async def send(self, ctx: Context) -> None:
            await shop.visit(ctx)

    return ParcelSaga


def _odd(shop: Shop) -> type[Saga]:
    class OddSaga(Saga):
        saga_name = "odd"

        @action("make")
        async def make(self, ctx: Context) -> Context:
            await shop.visit(ctx)
            return {"made": {"here": UNKEPT[ctx["unkept"]]}}

        @compensate("make")
        async def unmake(self, ctx: Context) -> None:
            await shop.visit(ctx)

    return OddSaga


def _limited(shop: Shop) -> type[Saga]:
    class LimitedSaga(Saga):
        """Plain functions with a time limit, each of which blocks its thread for as long as the context says."""

        saga_name = "limited"

        @action("reserve", timeout_seconds=LIMIT_SECONDS)
        def reserve(self, ctx: Context) -> None:
            shop.note(ctx)
            time.sleep(ctx.get("seconds", 0))

        @compensate("reserve", timeout_seconds=LIMIT_SECONDS)
        def release(self, ctx: Context) -> None:
            shop.note(ctx)
            time.sleep(ctx.get("undo_seconds", 0))

        @action("charge", depends_on=["reserve"])
        async def charge(self, ctx: Context) -> None:
            await shop.visit(ctx)

    return LimitedSaga


def _paid(shop: Shop) -> type[Saga]:
    class PaidSaga(Saga):
        """Waits for what its context names: to be paid and to be packed, and to be told of the refund."""

        saga_name = "paid"

        @trigger(source="shop", idempotency_key="order")
        def on_order(self, event: Any) -> Context | None:
            if event.get("type") == "broken":
                raise Declined("the card was declined")
            return {"order": event["order"], "key": event["key"]} if event.get("type") == "ordered" else None

        @trigger(source="shop", max_concurrent=1)
        def on_queue(self, event: Any) -> Context | None:
            return {"order": event["order"], "key": event["key"]} if event.get("type") == "queued" else None

        @resumes("shop", signal="paid", key="key")
        async def on_paid(self, event: Any) -> Context | None:
            return {"amount": event["amount"]} if event.get("type") == "paid" else None

        @action("reserve")
        async def reserve(self, ctx: Context) -> None:
            shop.note(ctx)

        @compensate("reserve")
        def release(self, ctx: Context) -> None:
            shop.note(ctx)
            if ctx.get("refunds"):
                current_step().signal("refunded")

        @action("pay", depends_on=["reserve"])
        async def pay(self, ctx: Context) -> Context:
            shop.note(ctx)
            return {"paid": dict(await current_step().signal("paid", key=ctx.get("key"), timeout=ctx.get("timeout")))}

        @action("pack", depends_on=["pay"])
        def pack(self, ctx: Context) -> None:
            what = shop.note(ctx)
            if "sleep" in ctx:
                current_step().sleep(ctx["sleep"])
            _fail(ctx, what)

    return PaidSaga


def _odd_names(shop: Shop) -> type[Saga]:
    class OddNamesSaga(Saga):
        saga_name = "päckchen"

        @action("schließe ab")
        async def close(self, ctx: Context) -> Context:
            await shop.visit(ctx)
            return {"schlüssel": ctx["name"]}

    return OddNamesSaga
