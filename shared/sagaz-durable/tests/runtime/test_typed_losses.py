"""What the type of a context would lose, or make another value of, is refused: nothing comes back different."""

from __future__ import annotations

import dataclasses
import functools
import traceback
from decimal import Decimal
from typing import Any, Literal

import attrs
import pydantic
import pytest
from sagaz import RecoveryAction, Saga, action, compensate, forward_recovery

from sagaz_durable.sagas import Sagas
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.errors import ContextMismatch, RunWaiting, StepError


def hundredfold(amount):
    return amount * 100


class Cents(pydantic.BaseModel):
    amount: int | None = None
    _convert = pydantic.field_validator("amount")(lambda amount: amount and amount * 100)


class DefaultCents(pydantic.BaseModel):
    name: str = ""
    amount: int = 1
    _convert = pydantic.field_validator("amount")(hundredfold)


class FromText(pydantic.BaseModel):
    amount: Any = None
    _convert = pydantic.field_validator("amount", mode="before")(lambda amount: amount and int(amount.strip("€")))


class OneOfTwo(pydantic.BaseModel):
    email: str | None = None
    phone: str | None = None

    @pydantic.model_validator(mode="before")
    @classmethod
    def _one(cls, values):
        if len(values) == 2:
            raise ValueError("give one of the two")
        return values


@dataclasses.dataclass
class DataCents:
    amount: int | None = None

    def __post_init__(self):
        self.amount = self.amount and self.amount * 100


@attrs.define
class AttrsCents:
    amount: int | None = attrs.field(default=None, converter=attrs.converters.optional(hundredfold))


@dataclasses.dataclass
class Nested:
    inner: list[DataCents] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Percent:
    value: Decimal


@dataclasses.dataclass
class Fixed:
    value: Decimal


@dataclasses.dataclass
class Discounted:
    discounts: list[Percent | Fixed] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Computed:
    price: int
    count: int = 1
    total: int = dataclasses.field(init=False)
    kind: str = dataclasses.field(default="order", init=False)
    notes: list[str] = dataclasses.field(default_factory=list, init=False)

    def __post_init__(self):
        self.total = self.price * self.count

    @functools.cached_property
    def words(self):
        return f"{self.count} for {self.total}"


@attrs.define
class AttrsComputed:
    price: int
    kind: str = attrs.field(default="order", init=False)
    notes: list[str] = attrs.field(factory=list, init=False)
    total: int = attrs.field(init=False)

    @total.default
    def _total(self):
        return self.price


TWICE = "makes another value of what it has made itself"
GIVEN = {
    "a validator": (Cents, {"amount": 1}, "amount", TWICE),
    "a validator, of an instance": (Cents, Cents(amount=1), "amount", TWICE),
    "a validator of a default": (DefaultCents, {"name": "a"}, "amount", TWICE),
    "a validator that does not take what it has made": (FromText, {"amount": "€12"}, "", "'int' object has no"),
    "a validator that looks for what was left out": (
        OneOfTwo, {"email": "a@b"}, "", "OneOfTwo does not take what it has made itself: .*give one of the two",
    ),
    "a post-init": (DataCents, {"amount": 1}, "amount", TWICE),
    "a converter": (AttrsCents, {"amount": 1}, "amount", TWICE),
    "inside of another": (Nested, {"inner": [{"amount": 1}]}, "inner[0].amount", TWICE),
    "the class": (Discounted, Discounted([Percent(Decimal(1)), Fixed(Decimal(1))]), "discounts[1]", "a Fixed comes"),
    "the class, in a dict": (Discounted, {"discounts": [Fixed(Decimal(1))]}, "discounts[0]", "a Fixed comes back as"),
    "not given to the class": (Computed, {"price": 1, "kind": "gift"}, "kind", "Computed has init=False for it"),
    "nor its list": (AttrsComputed, {"price": 1, "notes": ["a"]}, "notes", "AttrsComputed has init=False for it"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "given", "path", "told"), GIVEN.values(), ids=GIVEN)
async def test_what_would_come_back_different_is_refused_at_the_start(runtime, kind, given, path, told):
    class Given(Saga):
        context = kind

        @action("one")
        async def one(self, ctx): ...

    with pytest.raises(ContextMismatch, match=told) as caught:
        await Sagas(runtime).run(Given, given)
    assert caught.value.path == path
    assert await runtime.store.find(RunFilter()) == []


def assign(**values):
    def step(ctx):
        for name, value in values.items():
            setattr(ctx, name, value)

    return step


@dataclasses.dataclass
class Plain:
    reservation: str | None = None
    inner: list[Cents] = dataclasses.field(default_factory=list)


class Model(pydantic.BaseModel):
    reservation: str | None = None
    inner: list[Model] = []


RETURNED = {
    "a validator": (Cents, {}, lambda ctx: {"amount": 1}, "amount: Cents makes another"),
    "a post-init": (DataCents, {}, assign(amount=1), "amount: DataCents makes another"),
    "inside of another": (Nested, {}, lambda ctx: {"inner": [DataCents(1)]}, r"inner\[0\].amount: Nested makes"),
    "the class": (Discounted, {}, assign(discounts=[Fixed(Decimal(1))]), r"discounts\[0\]: a Fixed comes back as"),
    "not given to the class": (Computed, {"price": 1}, assign(kind="gift"), "kind: Computed has init=False"),
    "not given to an attrs class": (AttrsComputed, {"price": 1}, assign(notes=["a"]), "notes: AttrsComputed has init"),
    "a typing error in an assignment": (Plain, {}, assign(reservaton="R-1"), "reservaton: Plain has no such field"),
    "one in a copy": (
        Model, {}, lambda ctx: ctx.model_copy(update={"reservaton": "R-1"}), "reservaton: Model has .* 'reservation'",
    ),
    "one inside of a copy of a copy": (
        Model, {"inner": [{}]},
        lambda ctx: ctx.model_copy(update={"inner": [ctx.inner[0].model_copy(update={"reservaton": "R-1"})]}),
        r"inner\[0\].reservaton: Model has no such field",
    ),
    "one inside of a copy": (
        Model, {"inner": [{}]},
        lambda ctx: {"inner": [ctx.inner[0].model_copy(update={"reservaton": "R-1"})]},
        r"inner\[0\].reservaton: Model has no such field",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "given", "step", "told"), RETURNED.values(), ids=RETURNED)
async def test_what_would_come_back_different_fails_the_step_that_returned_or_assigned_it(
    runtime, kind, given, step, told
):
    undone = []

    class Returned(Saga):
        context = kind

        @action("one")
        async def one(self, ctx):
            return step(ctx)

        @compensate("one")
        async def undo(self, ctx):
            undone.append(ctx)

    with pytest.raises(StepError, match=told):
        await Sagas(runtime).run(Returned, given)
    assert len(undone) == 1


@pytest.mark.parametrize("kind", [Computed, AttrsComputed])
async def test_what_a_class_computes_is_computed_again_and_may_be_given(runtime, kind):
    seen = []

    class Priced(Saga):
        context = kind

        @action("one")
        async def one(self, ctx):
            getattr(ctx, "words", None)
            return {"price": 3}

        @action("two", depends_on=["one"])
        async def two(self, ctx):
            seen.append((ctx.price, ctx.total, ctx.kind))
            ctx.price = 4

        @action("three", depends_on=["two"])
        async def three(self, ctx):
            seen.append((ctx.price, ctx.total, ctx.kind))

    for given in ({"price": 2}, {"price": 2, "total": 2, "kind": "order"}, kind(2)):
        seen.clear()
        await Sagas(runtime).run(Priced, given)
        assert seen == [(3, 3, "order"), (4, 4, "order")]


@dataclasses.dataclass
class ByCard:
    amount: Decimal
    kind: Literal["card"] = "card"


@dataclasses.dataclass
class ByCash:
    amount: Decimal
    kind: Literal["cash"] = "cash"


@dataclasses.dataclass
class Paid:
    by: ByCard | ByCash


@dataclasses.dataclass
class Cash:
    """Of the application, and not of the context."""

    amount: Decimal
    kind: str = "cash"


async def test_classes_that_a_field_tells_apart_come_back_and_models_of_others_count_by_their_values(runtime):
    seen = []

    class Pay(Saga):
        context = Paid

        @action("one")
        async def one(self, ctx):
            seen.append(ctx.by)

    for by in (ByCash(Decimal(1)), Cash(Decimal(1))):
        await Sagas(runtime).run(Pay, {"by": by})
    await Sagas(runtime).run(Pay, Paid(ByCard(Decimal(1))))
    assert seen == [ByCash(Decimal(1)), ByCash(Decimal(1)), ByCard(Decimal(1))]


async def test_a_handler_that_sets_what_is_no_field_has_decided_nothing(runtime):
    calls = []

    class Ship(Saga):
        context = Plain

        @action("charge", pivot=True)
        async def charge(self, ctx): ...

        @action("ship", depends_on=["charge"])
        async def ship(self, ctx):
            calls.append("ship")
            raise ValueError("no carrier")

        @forward_recovery("ship")
        async def again(self, ctx, error):
            ctx.reservaton = "R-1"
            return RecoveryAction.RETRY_WITH_ALTERNATE

    with pytest.raises(RunWaiting, match="sagaz:redo:ship:1"):
        await Sagas(runtime).run(Ship, {})
    assert calls == ["ship"]


async def test_tracebacks_of_what_does_not_fit_have_no_values(runtime):
    class Pin(pydantic.BaseModel):
        pin: int = 0
        inner: list[Pin] = []

    class Pay(Saga):
        context = Pin

        @action("one")
        async def one(self, ctx):
            return {"inner": [{"pin": "secret-4242"}]}

    for given in ({}, {"pin": "secret-4242"}):
        with pytest.raises((StepError, ContextMismatch), match="Input should be a valid integer") as caught:
            await Sagas(runtime).run(Pay, given)
        assert "4242" not in "".join(traceback.format_exception(caught.value))


@dataclasses.dataclass
class Scaled:
    by: float | int
    of: float | None = None


@pytest.mark.parametrize("by", [1, 1.0, 2])
async def test_a_number_that_a_union_takes_keeps_its_type(runtime, by):
    class Scale(Saga):
        context = Scaled

        @action("one")
        async def one(self, ctx): ...

    result = await Sagas(runtime).run(Scale, {"by": by})
    assert type(result["by"]) is type(by)


async def test_a_tag_that_no_model_of_a_union_has_is_not_shown(runtime):
    class Card(pydantic.BaseModel):
        kind: Literal["card"]

    class Coin(pydantic.BaseModel):
        kind: Literal["coin"]

    class Payment(pydantic.BaseModel):
        by: Card | Coin = pydantic.Field(discriminator="kind")

    class Pay(Saga):
        context = Payment

        @action("one")
        async def one(self, ctx): ...

    with pytest.raises(ContextMismatch, match="by: 'kind' is none of the expected tags: 'card', 'coin'") as caught:
        await Sagas(runtime).run(Pay, {"by": {"kind": "4242"}})
    assert "4242" not in str(caught.value)
