"""Contexts and results with values that JSON has not: what a step returned, the others get."""

from __future__ import annotations

import enum
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from contract.case import DURABLE, case
from contract.site import Site
from contract.typed_sagas import ORDER
from contract.typed_sagas import VALUES as GIVEN
from sagaz_integration_core.errors import ContextValueError, IdempotencyConflict

_NOT_INLINE = ("background", "deferred")


@case("deferred")
async def what_a_step_returned_comes_to_the_others_equal_and_of_the_same_types(site: Site) -> None:
    for kind in set(site.kinds) & set(_NOT_INLINE):
        run = await site.ended(await site.start(kind, "values"))
        assert (run.status, run.error) == ("completed", None)


@case("deferred")
async def it_comes_to_compensations_as_well(site: Site) -> None:
    run = await site.ended(await site.start("deferred", "values", {"fail": "ship"}))
    assert run.status == "rolled_back"
    assert site.shop.calls(run.saga_id) == ["measure", "book", "ship", "undo measure"]


@case("sagas", stores=DURABLE)
async def a_start_takes_them_and_models_and_another_process_gets_them(site: Site) -> None:
    saga_class = site.shop.sagas["given"]
    ids = [await site.driver.verb("start", saga_class, context) for context in (GIVEN, ORDER)]
    async with site.another() as other:
        for saga_id in ids:
            run = await other.ended(saga_id)
            assert (run.status, run.error) == ("completed", None)


@case("sagas")
async def a_key_stands_for_values_and_not_for_how_they_are_spelled(site: Site) -> None:
    saga_class = site.shop.sagas["given"]
    saga_id = await site.driver.verb("start", saga_class, GIVEN, idempotency_key="k")
    again = {**GIVEN, "price": Decimal("12.500"), "utc": GIVEN["utc"].astimezone(ZoneInfo("Asia/Tokyo"))}
    assert await site.driver.verb("start", saga_class, again, idempotency_key="k") == saga_id
    with pytest.raises(IdempotencyConflict):
        await site.driver.verb("start", saga_class, {**GIVEN, "price": "12.50"}, idempotency_key="k")


@case("sagas")
async def a_member_of_an_enum_that_the_sagas_module_has_not_is_refused_by_name(site: Site) -> None:
    class Elsewhere(enum.Enum):
        HERE = 1

    with pytest.raises(ContextValueError, match=r"order\.place: a member of the enum .*Elsewhere"):
        await site.driver.verb("start", site.shop.sagas["given"], {"order": {"place": Elsewhere.HERE}})
    assert await site.runs() == []
