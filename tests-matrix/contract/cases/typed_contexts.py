"""Sagas that declare the type of their context: checked at the start and after each step, in every framework."""

from __future__ import annotations

from decimal import Decimal

import pytest

from contract.case import DURABLE, case, variants
from contract.site import Site
from contract.typed_sagas import Checkout
from sagaz_integration_core.contract.webhooks import WebhookFilter
from sagaz_integration_core.errors import ContextMismatch


@case()
async def a_request_whose_context_is_not_what_the_type_says_is_refused_with_path_and_what_was_expected(
    site: Site,
) -> None:
    for kind in site.kinds:
        answer = await site.post(f"/{kind}/typed", {"order": 5, "amount": "12.50"})
        body = await site.expect_refusal(answer, "ContextMismatch", 422)
        assert body["path"] == "amount"
        assert "amount: expected Decimal, got str" in body["message"]


@case("sagas", stores=DURABLE)
async def steps_get_an_instance_and_what_they_change_or_declare_is_kept(site: Site) -> None:
    saga_class = site.shop.sagas["typed"]
    for context in (Checkout(5, Decimal("12.50")), {"order": 5, "amount": Decimal("12.50")}):
        run = await site.ended(await site.driver.verb("start", saga_class, context))
        assert (run.status, run.error) == ("completed", None)


@case("sagas", stores=DURABLE)
async def a_result_that_is_not_what_the_type_says_is_its_steps_failure_and_compensated(site: Site) -> None:
    context = Checkout(5, Decimal("12.50"), fail="by type")
    run = await site.ended(await site.driver.verb("start", site.shop.sagas["typed"], context))
    assert run.status == "rolled_back"
    assert "receipt: expected str, got int" in (run.error or "")
    assert site.shop.calls(run.saga_id) == ["charge", "receipt", "undo receipt", "undo charge"]


@case("sagas", stores=DURABLE)
async def compensations_get_an_instance_in_another_process_as_well(site: Site) -> None:
    saga_id = await site.driver.verb("start", site.shop.sagas["typed"], Checkout(5, Decimal("12.50"), fail="ship"))
    async with site.another() as other:
        assert (await other.ended(saga_id)).status == "rolled_back"
    assert site.shop.calls(saga_id) == ["charge", "receipt", "ship", "undo receipt", "undo charge"]


@case("sagas")
async def many_are_refused_all_or_none(site: Site) -> None:
    saga_class = site.shop.sagas["typed"]
    with pytest.raises(ContextMismatch, match="order: it is missing"):
        await site.driver.verb("start_many", saga_class, [Checkout(5, Decimal(1)), {"amount": Decimal(1)}])
    assert await site.runs() == []


@variants(that_fits=({"amount": "12.50"}, "started"), that_does_not=({}, "quarantined"))
@case("webhooks", stores=DURABLE)
async def what_a_trigger_returns_is_checked(site: Site, more: dict[str, str], outcome: str) -> None:
    answer = await site.post("/webhooks/shop", {"id": "evt_9", "type": "checkout", "order": 5, **more})
    assert answer.status == 200
    found = await site.driver.ask(lambda store: store.find_webhooks(WebhookFilter()))
    [event] = [one for one in found if one.handler == "typed.on_checkout"]
    assert event.outcome == outcome
    assert (event.reason is None) == (outcome == "started")
    if event.reason is not None:
        assert "amount: it is missing" in event.reason
