"""Sagas that declare the type of their context: what steps get, and what of them is checked."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import uuid
from decimal import Decimal
from typing import Any, TypedDict

import attrs
import pydantic
import pytest
from sagaz import Saga, action, compensate

from sagaz_durable.runtime import new_run
from sagaz_durable.sagas import Sagas
from sagaz_integration_core.context import correlation
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.errors import ContextMismatch, ContextValueError, IdempotencyConflict, StepError


class Currency(enum.StrEnum):
    EUR = "EUR"


class Item(pydantic.BaseModel):
    sku: str = pydantic.Field(alias="SKU")
    price: Decimal


class Order(pydantic.BaseModel):
    id: uuid.UUID = pydantic.Field(default_factory=uuid.uuid4)
    items: list[Item]
    currency: Currency = Currency.EUR
    total: Decimal | None = None


@dataclasses.dataclass
class DataOrder:
    items: list[Item]
    total: Decimal | None = None


@attrs.define
class AttrsOrder:
    items: list[Item]
    total: Decimal | None = None


class DictOrder(TypedDict):
    items: list[Item]
    total: Decimal | None


@dataclasses.dataclass
class Receipt:
    charge: str


@dataclasses.dataclass
class Shipping:
    charge: str
    items: list[Item]
    total: Decimal | None = None


def total_of(ctx):
    return sum((item.price for item in ctx.items), Decimal(0))


def pay_saga(kind, seen, fail=""):
    class PaySaga(Saga):
        saga_name = "pay"
        context = kind

        @action("price")
        async def price(self, ctx):
            seen.append(("price", type(ctx)))
            if dataclasses.is_dataclass(ctx):
                return dataclasses.replace(ctx, total=total_of(ctx))
            if attrs.has(type(ctx)):
                return attrs.evolve(ctx, total=total_of(ctx))
            return ctx.model_copy(update={"total": total_of(ctx)})

        @compensate("price")
        def unprice(self, ctx):
            seen.append(("unprice", type(ctx), ctx.total))

        @action("charge", depends_on=["price"])
        def charge(self, ctx) -> Receipt:
            assert ctx.total == Decimal("1.50")
            return Receipt("ch-1")

        @action("ship", depends_on=["charge"])
        async def ship(self, ctx: Shipping):
            seen.append(("ship", ctx.charge))
            ctx.items[0].price += 1
            if fail:
                raise ValueError(fail)

    return PaySaga


ITEMS = {"items": [{"sku": "a", "price": Decimal("1.50")}]}


@pytest.mark.parametrize("kind", [Order, DataOrder, AttrsOrder])
async def test_steps_get_an_instance_and_return_changed_copies_other_models_or_change_it(runtime, kind):
    seen: list[Any] = []
    result = await Sagas(runtime).run(pay_saga(kind, seen), ITEMS)
    assert seen == [("price", kind), ("ship", "ch-1")]
    assert (result["total"], result["charge"]) == (Decimal("1.50"), "ch-1")
    assert result["items"] == [{"sku": "a", "price": Decimal("2.50")}]
    # What was not changed is not recorded again.
    results = {entry.step: entry.result for entry in await runtime.store.load_steps(result.saga_id)}
    assert {name: sorted(new_run.codec.decode(text)) for name, text in results.items() if text} == {
        "price": ["total"], "charge": ["charge"], "ship": ["items"],
    }  # fmt: skip


@pytest.mark.parametrize("kind", [Order, DataOrder, AttrsOrder])
async def test_a_compensation_gets_an_instance_too(runtime, kind):
    seen: list[Any] = []
    with pytest.raises(ValueError, match="no truck"):
        await Sagas(runtime).run(pay_saga(kind, seen, "no truck"), ITEMS)
    assert seen[-1] == ("unprice", kind, Decimal("1.50"))


async def test_a_typed_dict_is_a_checked_dict(runtime):
    seen: list[Any] = []

    class Dicts(Saga):
        context = DictOrder

        @action("one")
        async def one(self, ctx: DictOrder) -> DictOrder:
            seen.append(ctx)
            ctx["total"] = Decimal(1)
            return ctx

    with pytest.raises(ContextMismatch, match="total: it is missing"):
        await Sagas(runtime).run(Dicts, ITEMS)
    result = await Sagas(runtime).run(Dicts, {**ITEMS, "total": None})
    assert result["total"] == Decimal(1)
    assert isinstance(seen[0]["items"][0], Item)
    assert seen[0]["saga_id"] == result.saga_id


@pytest.mark.parametrize("kind", [Order, DataOrder, AttrsOrder])
async def test_a_context_that_is_not_what_the_type_says_is_refused_at_the_start_with_path_and_nothing_is_written(
    runtime, kind
):
    saga_class = pay_saga(kind, [])
    for context, path in (({}, "items"), ({"items": [{"sku": "a", "price": []}]}, "items[0].price")):
        for attempt in (Sagas(runtime).start(saga_class, context), Sagas(runtime).run(saga_class, context)):
            with pytest.raises(ContextMismatch) as caught:
                await attempt
            assert caught.value.path == path
            assert caught.value.found[0][0][0] == "items"
            assert str(caught.value).startswith(f"The context is not what {kind.__qualname__} says: {path}: ")
    with pytest.raises(ContextMismatch) as caught:
        await Sagas(runtime).start_many(saga_class, [ITEMS, {"items": 1}])
    assert caught.value.path == "items"
    assert await runtime.store.find(RunFilter()) == []


async def test_a_model_is_a_context_and_defaults_are_settled_at_the_start(runtime):
    ids = []

    class Once(Saga):
        context = Order

        @action("one")
        async def one(self, ctx: Order):
            ids.append(ctx.id)

        @action("two", depends_on=["one"])
        async def two(self, ctx):
            ids.append(ctx.id)

    sagas = Sagas(runtime)
    one, again = (Order(items=[Item(SKU="a", price=Decimal(price))]) for price in ("1.5", "1.50"))
    saga_id = (await sagas.run(Once, one, idempotency_key="k")).saga_id
    assert ids == [one.id, one.id] != [again.id, again.id]
    # A default that is another one each time tells no two requests apart; what was given does.
    assert (await sagas.run(Once, again, idempotency_key="k")).saga_id == saga_id
    with pytest.raises(IdempotencyConflict):
        await sagas.run(Once, again.model_copy(update={"id": again.id, "total": Decimal(1)}), idempotency_key="k")


WRONG = {
    "of another type": ({"total": "much"}, "total: "),
    "of another type inside": ({"items": [{"sku": "a", "price": None}]}, "items[0].price: "),
    "with an unknown field": ({"totl": Decimal(1)}, "totl: .* has no such field.* Did you mean 'total'"),
    "assigned": (None, "items: "),
    "an own field of the run": ({"saga_id": "x"}, "saga_id"),
}


@pytest.mark.parametrize("kind", [Order, DataOrder, AttrsOrder])
@pytest.mark.parametrize(("wrong", "told"), WRONG.values(), ids=WRONG)
async def test_a_result_that_is_not_what_the_type_says_fails_its_step_which_is_not_tried_again_and_compensated(
    runtime, kind, wrong, told
):
    calls = []

    class Wrong(Saga):
        context = kind
        retry_steps = True

        @action("one", max_retries=3)
        async def one(self, ctx):
            calls.append("one")
            if wrong is None:
                ctx.items = 3
            return wrong

        @compensate("one")
        async def undo(self, ctx):
            calls.append("undo")

    with pytest.raises((StepError, ValueError), match=told.replace("[0]", r"\[0\]")):
        await Sagas(runtime).run(Wrong, ITEMS)
    assert calls == ["one", "undo"]
    [record] = await runtime.store.find(RunFilter())
    assert record.status == "rolled_back"


def knotted():
    knot: list[Any] = []
    knot.append(knot)
    return {"total": knot}


def exploding():
    tree: list[Any] = []
    for _ in range(28):
        tree = [tree] * 10
    return {"total": tree}


def deep():
    tree: list[Any] = []
    for _ in range(5_000):
        tree = [tree]
    return {"total": tree}


@pytest.mark.parametrize("make", [knotted, exploding, deep])
@pytest.mark.parametrize("kind", [Order, DataOrder])
async def test_a_result_that_is_endless_fails_its_step_too(runtime, kind, make):
    class Endless(Saga):
        context = kind

        @action("one")
        async def one(self, ctx):
            return make()

    with pytest.raises(ContextValueError):
        await Sagas(runtime).run(Endless, ITEMS)
    [record] = await runtime.store.find(RunFilter())
    assert record.status == "rolled_back"


async def test_of_a_returned_instance_the_changed_fields_count_and_what_was_assigned_besides_is_kept(runtime):
    class Both(Saga):
        context = Order

        @action("one")
        async def one(self, ctx: Order):
            copy = ctx.model_copy(update={"items": []})
            ctx.total = Decimal(2)
            return copy

    result = await Sagas(runtime).run(Both, ITEMS)
    assert (result["items"], result["total"]) == ([], Decimal(2))


async def test_a_step_returns_what_it_declares(runtime):
    class Forgets(Saga):
        context = DataOrder

        @action("one")
        async def one(self, ctx) -> Receipt:
            return {"total": Decimal(1)}  # type: ignore[return-value]

    with pytest.raises(StepError, match="charge: it is missing; Receipt has no default for it"):
        await Sagas(runtime).run(Forgets, ITEMS)


async def test_each_try_gets_an_instance_of_its_own(runtime):
    seen = []

    class Retried(Saga):
        context = Order
        retry_steps = True

        @action("one", max_retries=1)
        async def one(self, ctx: Order):
            seen.append(len(ctx.items))
            ctx.items.append(ctx.items[0])
            if len(seen) == 1:
                raise ValueError("again")

    result = await Sagas(runtime).run(Retried, ITEMS)
    assert seen == [1, 1]
    assert len(result["items"]) == 2


async def test_a_step_sees_what_its_own_ancestors_have_added_and_nothing_of_its_siblings(runtime):
    seen = {}

    class Parallel(Saga):
        context = Order

        @action("a")
        async def a(self, ctx):
            return {"total": Decimal(1)}

        @action("b", depends_on=["a"])
        async def b(self, ctx):
            seen["b"] = ctx.total

        @action("c")
        async def c(self, ctx):
            seen["c"] = ctx.total

    await Sagas(runtime).run(Parallel, ITEMS)
    assert seen == {"b": Decimal(1), "c": None}


async def test_a_run_whose_context_does_not_fit_a_later_deployment_halts_before_its_step_is_called(
    shared_settings, opened
):
    called = []

    def saga_of(kind):
        class Deployed(Saga):
            saga_name = "deployed"
            context = kind

            @action("one")
            async def one(self, ctx):
                called.append(type(ctx))

            @compensate("one")
            async def undo(self, ctx):
                called.append("undo")

        return Deployed

    @dataclasses.dataclass
    class Later:
        items: list[Item]
        customer: str

    old, new = saga_of(DataOrder), saga_of(Later)
    async with opened(shared_settings, sagas=[old]) as runtime:
        saga_id = await Sagas(runtime).start(old, ITEMS)
        async with opened(shared_settings, sagas=[new], worker=True) as later, asyncio.timeout(20):
            while (record := await later.store.load(saga_id)) is None or not record.failures:
                await asyncio.sleep(0.02)
        assert called == []
        assert "customer: it is missing" in (record.error or "")
        assert record.status in ("pending", "executing")


async def test_a_field_for_the_correlation_id_gets_the_requests_unless_it_is_given(runtime):
    seen = []

    @dataclasses.dataclass
    class Correlated:
        correlation_id: str | None = None

    class Traced(Saga):
        context = Correlated

        @action("one")
        async def one(self, ctx: Correlated):
            seen.append(ctx.correlation_id)

    class Model(pydantic.BaseModel):
        correlation_id: str | None = None

    class Modelled(Traced):
        saga_name = "modelled"
        context = Model

        @action("one")
        async def one(self, ctx):
            seen.append(ctx.correlation_id)

    with correlation.bound("c-1"):
        await Sagas(runtime).run(Modelled, {})
        await Sagas(runtime).run(Modelled, {"correlation_id": "mine"})
        await Sagas(runtime).run(Traced, {})
        await Sagas(runtime).run(Traced, Correlated())
    assert seen == ["c-1", "mine", "c-1", None]


async def test_hooks_get_the_dict(runtime):
    told = []

    def on_enter(ctx, step):
        told.append((type(ctx), ctx["items"][0]["price"]))

    class Hooked(Saga):
        context = Order

        @action("one", on_enter=on_enter)
        async def one(self, ctx):
            assert ctx.items

    await Sagas(runtime).run(Hooked, ITEMS)
    assert told == [(dict, Decimal("1.50"))]
