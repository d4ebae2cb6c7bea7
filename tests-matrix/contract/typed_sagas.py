"""Sagas of the cases whose contexts have values that JSON has not."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sagaz import Saga, action, compensate

if TYPE_CHECKING:
    from contract.sagas import Shop

__all__ = ["ORDER", "VALUES", "Currency", "given_saga", "values_saga"]

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


def _check(ctx: Context) -> None:
    assert _sorted(ctx["values"]) == _sorted(VALUES), ctx["values"]
    line = {"price": Decimal("1.00"), "sku": "lamp", "tags": [Currency.EUR]}
    assert _sorted(ctx["line"]) == _sorted(line), ctx["line"]


def _sorted(value: Any) -> str:
    """A value's repr, which has types and spellings; the order of keys is the store's."""
    if isinstance(value, dict):
        return str({key: _sorted(item) for key, item in sorted(value.items())})
    return str([_sorted(item) for item in value]) if isinstance(value, list) else repr(value)
