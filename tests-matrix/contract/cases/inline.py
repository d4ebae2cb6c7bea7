"""A saga that a request runs and waits for."""

from __future__ import annotations

from contract.case import case
from contract.site import Site


@case("inline")
async def a_run_answers_with_its_context_its_id_and_its_status(site: Site) -> None:
    body = (await site.post("/inline/order", {"order": 5, "items": [{"n": 1}]})).json()
    assert (body["saga_name"], body["status"]) == ("order", "completed")
    result = {key: value for key, value in body["result"].items() if key not in ("saga_id", "correlation_id")}
    assert result == {
        "order": 5, "items": [{"n": 1}], "reservation": "r-5", "charged": ["r-5"], "parcel": "p-5",
    }  # fmt: skip
    assert body["result"]["saga_id"] == body["saga_id"]


@case("inline")
async def a_run_is_recorded_with_every_step_in_order(site: Site) -> None:
    saga_id = await site.start("inline")
    run = await site.run(saga_id)
    assert (run.saga_name, run.status, run.error, run.lease_owner) == ("order", "completed", None, None)
    assert run.finished_at is not None
    assert await site.journal(saga_id) == ["reserve do done", "charge do done", "ship do done"]
    assert site.shop.calls(saga_id) == ["reserve", "charge", "ship"]


@case("inline")
async def async_steps_run_in_the_event_loop_and_plain_ones_beside_it(site: Site) -> None:
    await site.start("inline")
    assert [(entry.step, entry.in_event_loop) for entry in site.shop.ledger] == [
        ("reserve", True), ("charge", False), ("ship", True),
    ]  # fmt: skip


@case("inline")
async def every_step_has_an_idempotency_key_of_its_own(site: Site) -> None:
    saga_id = await site.start("inline")
    assert [entry.key for entry in site.shop.ledger] == [f"{saga_id}:{step}" for step in ("reserve", "charge", "ship")]


@case("inline")
async def the_id_of_a_run_can_be_chosen(site: Site) -> None:
    body = (await site.post("/inline/order", {"order": 5}, Run_Id="order-5")).json()
    assert body["saga_id"] == "order-5"
    assert (await site.run("order-5")).status == "completed"


@case("inline")
async def a_chosen_id_that_is_taken_is_refused_and_its_run_left_alone(site: Site) -> None:
    await site.post("/inline/order", {"order": 5}, Run_Id="order-5")
    again = await site.post("/inline/order", {"order": 6}, Run_Id="order-5")
    assert (again.status, again.json()["error"]) == (409, "IdempotencyConflict")
    assert site.shop.calls("order-5") == ["reserve", "charge", "ship"]


@case("inline")
async def names_and_values_may_be_in_any_language(site: Site) -> None:
    body = (await site.post("/inline/names", {"name": "Grüße, 世界 🎉", "ключ": "\t\x7f\u2028"})).json()
    assert body["saga_name"] == "päckchen"
    assert (body["result"]["schlüssel"], body["result"]["ключ"]) == ("Grüße, 世界 🎉", "\t\x7f\u2028")
    assert await site.journal(body["saga_id"]) == ["schließe ab do done"]


@case("inline")
async def values_come_back_as_they_were_sent(site: Site) -> None:
    values = [0, -1, 2**63 - 1, -(2**63), 0.1, 1e15, 1e-300, True, None, "", " ", {"": []}, [[]], "1e5", "\\u0000"]
    body = (await site.post("/inline/parcel", {"values": values})).json()
    assert repr(body["result"]["values"]) == repr(values)


@case("inline")
async def an_empty_context_will_do(site: Site) -> None:
    assert (await site.post("/inline/parcel", {})).status == 200
