"""Sagas that cannot be run as written: found when the application is built, not when the money is gone."""

from __future__ import annotations

import pytest
from sagaz import Saga, action, compensate

from contract.case import case, variants
from contract.site import Site


def _one_step(name: str) -> type[Saga]:
    class OneStep(Saga):
        saga_name = name

        @action("step")
        async def step(self, ctx: dict) -> None: ...

    return OneStep


class CompensatesNothing(Saga):
    @action("charge")
    async def charge(self, ctx: dict) -> None: ...

    @compensate("charg")
    async def refund(self, ctx: dict) -> None: ...


class DependsOnNothing(Saga):
    @action("charge", depends_on=["reserv"])
    async def charge(self, ctx: dict) -> None: ...

    @action("reserve")
    async def reserve(self, ctx: dict) -> None: ...


class SameStepTwice(Saga):
    @action("charge")
    async def one(self, ctx: dict) -> None: ...

    @action("charge")
    async def other(self, ctx: dict) -> None: ...


class InACircle(Saga):
    @action("a", depends_on=["b"])
    async def a(self, ctx: dict) -> None: ...

    @action("b", depends_on=["a"])
    async def b(self, ctx: dict) -> None: ...


class WantsMore(Saga):
    @action("charge")
    async def charge(self, ctx: dict, amount: int) -> None: ...


@variants(
    a_compensation_of_no_step=(CompensatesNothing, "Did you mean 'charge'"),
    a_dependency_on_no_step=(DependsOnNothing, "Did you mean 'reserve'"),
    two_steps_of_one_name=(SameStepTwice, "charge"),
    dependencies_in_a_circle=(InACircle, "circle"),
    a_step_that_wants_more_than_the_context=(WantsMore, "amount"),
    what_is_no_saga=(dict, "sagaz.Saga"),
)
@case(stores=("memory",), started=False)
async def a_badly_declared_saga_fails_the_start_up_saying_what_is_wrong(site: Site, saga: type, said: str) -> None:
    with pytest.raises(Exception, match=said) as caught:
        async with site.another(sagas={"bad": saga}):
            pass
    assert saga.__name__ in str(caught.value)


@case(stores=("memory",), started=False)
async def two_sagas_of_one_name_fail_the_start_up_naming_both(site: Site) -> None:
    class Other(Saga):
        saga_name = "order"

        @action("step")
        async def step(self, ctx: dict) -> None: ...

    with pytest.raises(Exception, match="OrderSaga") as caught:
        async with site.another(sagas={"order": site.shop.sagas["order"], "other": Other}):
            pass
    assert "Other" in str(caught.value)


@case("inline", stores=("memory",), started=False)
async def a_start_up_that_failed_can_be_repeated_with_the_mistake_mended(site: Site) -> None:
    with pytest.raises(Exception, match="charg"):
        async with site.another(sagas={"bad": CompensatesNothing}):
            pass
    async with site:
        assert (await site.post("/inline/order", {"order": 1})).status == 200


@case("inline", stores=("memory",), started=False)
async def the_same_class_may_be_registered_twice(site: Site) -> None:
    saga = _one_step("one")
    async with site.another(sagas={"one": saga, "again": saga}) as twice:
        assert (await twice.post("/inline/one", {})).status == 200
        assert (await twice.post("/inline/again", {})).status == 200
