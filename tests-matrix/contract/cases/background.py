"""A saga that this process runs after the answer."""

from __future__ import annotations

from contract.case import case
from contract.site import Site


@case("background")
async def the_answer_comes_before_the_end_of_the_run(site: Site) -> None:
    saga_id = await site.start("background", context={"order": 1, "wait": "reserve"})
    assert (await site.run(saga_id)).status == "executing"
    site.shop.gate.set()
    assert (await site.ended(saga_id)).status == "completed"


@case("background")
async def a_run_is_recorded_before_it_is_acknowledged(site: Site) -> None:
    saga_id = await site.start("background", context={"order": 1, "wait": "reserve"})
    run = await site.run(saga_id)
    assert (run.saga_name, run.attempt) == ("order", 1)
    assert run.lease_owner is not None
    site.shop.gate.set()
    await site.ended(saga_id)


@case("background")
async def no_worker_is_needed(site: Site) -> None:
    saga_id = await site.start("background")
    site.worker = True  # Let nobody but the application's own process run it.
    assert (await site.ended(saga_id)).attempt == 1
    assert site.shop.calls(saga_id) == ["reserve", "charge", "ship"]


@case("background")
async def an_endpoint_that_raises_afterwards_does_not_stop_it(site: Site) -> None:
    answer = await site.post("/background/order?then=raise", {"order": 1})
    assert answer.status == 500
    [run] = await site.all_ended()
    assert run.status == "completed"
    assert site.shop.calls(run.saga_id) == ["reserve", "charge", "ship"]


@case("background", "disconnect")
async def a_client_that_leaves_does_not_stop_it(site: Site) -> None:
    await site.post("/background/order", {"order": 1}, leave=True)
    [run] = await site.all_ended()
    assert run.status == "completed"
    assert site.shop.calls(run.saga_id) == ["reserve", "charge", "ship"]


@case("background")
async def a_failed_run_is_compensated_and_kept_with_its_error(site: Site) -> None:
    saga_id = await site.start("background", context={"order": 1, "fail": "ship"})
    run = await site.ended(saga_id)
    assert run.status == "rolled_back"
    assert "the card was declined" in (run.error or "")
    assert site.shop.calls(saga_id) == ["reserve", "charge", "ship", "undo charge", "undo reserve"]


@case("background")
async def it_is_seen_as_executing_until_its_steps_have_ended(site: Site) -> None:
    saga_id = await site.start("background", context={"order": 1, "wait": "charge"})
    await site.called("charge")
    assert (await site.run(saga_id)).status == "executing"
    assert await site.journal(saga_id) == ["reserve do done", "charge do started"]
    site.shop.gate.set()
    await site.ended(saga_id)
