"""Sagas of the cases whose contexts have values that JSON has not."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sagaz import Saga, action, compensate
from sagaz.core.triggers import trigger

if TYPE_CHECKING:
    from contract.sagas import Shop

__all__ = ["ORDER", "VALUES", "Checkout", "Currency", "given_saga", "typed_saga", "values_saga"]

Context = dict[str, Any]


class Currency(enum.StrEnum):
    """An enum of this module, which its sagas know by that."""

    EUR = "EUR"


@dataclass
class Line:
    """A model without a framework."""

    sku: str
    price: Decimal
    tags: list[Currency] = field(default_factory=list)


@dataclass
class Order:
    """A model that has others."""

    lines: list[Line]


ORDER = Order([Line("lamp", Decimal("1.00"))])

VALUES: Context = {
    "price": Decimal("12.50"),
    "nothing": Decimal("-0.0"),
    "uuid": UUID(int=7),
    "moment": datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
    "utc": datetime(2026, 1, 1, tzinfo=UTC),
    "naive": datetime(2026, 1, 1, 0, 0, 0, 1),
    "day": date(2026, 1, 1),
    "at": time(9, 30),
    "took": timedelta(days=-1, microseconds=1),
    "currency": Currency.EUR,
    "data": b"\x00\xff",
    "like": [{"$sagaz.decimal": "1"}, {"$$sagaz.enum": []}],
}
"""One of each type, and what looks like them."""


def values_saga(shop: Shop) -> type[Saga]:
    """Return a saga whose first step returns `VALUES` and a model, which its other steps have to get."""

    class ValuesSaga(Saga):
        saga_name = "values"

        @action("measure")
        async def measure(self, ctx: Context) -> Context:
            await shop.visit(ctx)
            return {"values": VALUES, "line": Line("lamp", Decimal("1.00"), [Currency.EUR])}

        @compensate("measure")
        def forget(self, ctx: Context) -> None:
            _check(ctx)
            shop.visit_in_thread(ctx)

        @action("book", depends_on=["measure"])
        def book(self, ctx: Context) -> Line:
            _check(ctx)
            shop.visit_in_thread(ctx)
            return Line("chair", Decimal("2.0"))

        @action("ship", depends_on=["book"])
        async def ship(self, ctx: Context) -> None:
            _check(ctx)
            assert repr((ctx["sku"], ctx["price"], ctx["tags"])) == "('chair', Decimal('2.0'), [])"
            await shop.visit(ctx)

    return ValuesSaga


def given_saga(shop: Shop) -> type[Saga]:
    """Return a saga that has to be given `VALUES`, or `ORDER`."""

    class GivenSaga(Saga):
        saga_name = "given"

        @action("look")
        async def look(self, ctx: Context) -> None:
            await shop.visit(ctx)
            wanted = {"lines": [{"sku": "lamp", "price": Decimal("1.00"), "tags": []}]} if "lines" in ctx else VALUES
            assert _sorted({key: ctx[key] for key in wanted}) == _sorted(wanted), ctx

    return GivenSaga


@dataclass
class Checkout:
    """What the saga "typed" is started with; its steps add a receipt."""

    order: int
    amount: Decimal
    currency: Currency = Currency.EUR
    fail: str = ""
    wait: str = ""
    receipt: str | None = None


@dataclass
class Charge:
    """What a step declares to return."""

    charge: str


@dataclass
class Shipment:
    """What a later step takes."""

    order: int
    charge: str
    receipt: str | None
    fail: str = ""


def typed_saga(shop: Shop) -> type[Saga]:
    """Return a saga that declares its context, with plain and asynchronous steps."""

    class TypedSaga(Saga):
        saga_name = "typed"
        context = Checkout

        @trigger(source="shop", idempotency_key="order")
        def on_checkout(self, event: Any) -> Checkout | Context | None:
            if not isinstance(event, dict) or event.get("type") != "checkout":
                return None
            return (
                Checkout(event["order"], Decimal(event["amount"])) if "amount" in event else {"order": event["order"]}
            )

        @action("charge")
        def charge(self, ctx: Checkout) -> Charge:
            assert (type(ctx), type(ctx.amount), ctx.currency) == (Checkout, Decimal, Currency.EUR)
            shop.visit_in_thread(vars(ctx))
            return Charge(f"ch-{ctx.order}")

        @compensate("charge")
        def refund(self, ctx: Checkout) -> None:
            shop.visit_in_thread(vars(ctx))

        @action("receipt", depends_on=["charge"])
        async def write(self, ctx: Checkout) -> Checkout | Context:
            await shop.visit(vars(ctx))
            return {"receipt": 7} if ctx.fail == "by type" else replace(ctx, receipt=f"{ctx.amount} {ctx.currency}")

        @compensate("receipt")
        async def tear(self, ctx: Checkout) -> None:
            await shop.visit(vars(ctx))

        @action("ship", depends_on=["receipt"])
        async def ship(self, ctx: Shipment) -> None:
            assert (ctx.charge, ctx.receipt) == (f"ch-{ctx.order}", "12.50 EUR")
            await shop.visit({**vars(ctx), "wait": ""})

    return TypedSaga


def _check(ctx: Context) -> None:
    assert _sorted(ctx["values"]) == _sorted(VALUES), ctx["values"]
    line = {"price": Decimal("1.00"), "sku": "lamp", "tags": [Currency.EUR]}
    assert _sorted(ctx["line"]) == _sorted(line), ctx["line"]


def _sorted(value: Any) -> str:
    """A value's repr, which has types and spellings; the order of keys is the store's."""
    if isinstance(value, dict):
        return str({key: _sorted(item) for key, item in sorted(value.items())})
    return str([_sorted(item) for item in value]) if isinstance(value, list) else repr(value)
