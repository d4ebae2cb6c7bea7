"""The same key is the same run: one saga_id, one execution, also under concurrency; another payload is refused."""

from __future__ import annotations

import asyncio

from contract.case import DURABLE, case
from contract.site import Site


@case("deferred")
async def the_same_key_gives_the_same_run(site: Site) -> None:
    ids = {await site.start("deferred", Idempotency_Key="basket-3") for _ in range(3)}
    assert len(ids) == 1
    await site.all_ended()
    ids.add(await site.start("deferred", Idempotency_Key="basket-3"))
    assert len(ids) == len(await site.all_ended()) == 1
    assert site.shop.calls(ids.pop()) == ["reserve", "charge", "ship"]


@case("deferred")
async def concurrent_starts_with_one_key_give_one_run(site: Site) -> None:
    ids = await asyncio.gather(*(site.start("deferred", Idempotency_Key="basket-3") for _ in range(20)))
    assert len(set(ids)) == 1
    [run] = await site.all_ended()
    assert run.status == "completed"
    assert len(site.shop.ledger) == 3


@case("inline")
async def concurrent_inline_runs_with_one_key_execute_once(site: Site) -> None:
    """Those that come while it runs are told so; those that come later get its result."""
    answers = await asyncio.gather(
        *(site.post("/inline/order", {"order": 5}, Idempotency_Key="basket-3") for _ in range(10))
    )
    assert {answer.status for answer in answers} <= {200, 409}
    assert {answer.json().get("error", "RunInProgress") for answer in answers} == {"RunInProgress"}
    assert len({answer.json()["saga_id"] for answer in answers if answer.status == 200}) == 1
    assert len(site.shop.ledger) == 3


@case("deferred", "inline")
async def another_payload_under_a_key_is_refused_and_the_run_left_alone(site: Site) -> None:
    saga_id = await site.start("deferred", context={"order": 1}, Idempotency_Key="basket-3")
    for kind in ("deferred", "inline"):
        answer = await site.post(f"/{kind}/order", {"order": 2}, Idempotency_Key="basket-3")
        assert (answer.status, answer.json()["error"]) == (409, "IdempotencyConflict")
        assert "basket-3" in answer.json()["message"]
    await site.all_ended()
    assert {(entry.saga_id, entry.order) for entry in site.shop.ledger} == {(saga_id, 1)}


@case("deferred")
async def the_order_of_keys_and_the_correlation_id_are_no_part_of_the_payload(site: Site) -> None:
    one = await site.start("deferred", context={"a": 1, "b": [2]}, Idempotency_Key="k", X_Correlation_ID="one")
    two = await site.start("deferred", context={"b": [2], "a": 1}, Idempotency_Key="k", X_Correlation_ID="two")
    assert one == two
    assert (await site.run(one)).correlation_id == "one"


@case("deferred")
async def different_sagas_may_use_the_same_key(site: Site) -> None:
    order = await site.start("deferred", "order", {"n": 1}, Idempotency_Key="1")
    parcel = await site.start("deferred", "parcel", {"m": 2}, Idempotency_Key="1")
    assert order != parcel
    assert {run.status for run in await site.all_ended()} == {"completed"}


@case("inline")
async def a_completed_run_gives_its_recorded_result_again(site: Site) -> None:
    first = (await site.post("/inline/order", {"order": 5}, Idempotency_Key="k")).json()
    again = (await site.post("/inline/order", {"order": 5}, Idempotency_Key="k", X_Correlation_ID="other")).json()
    assert again == first
    assert len(site.shop.ledger) == 3


@case("inline")
async def a_run_that_was_rolled_back_is_not_tried_again(site: Site) -> None:
    context = {"order": 5, "fail": "ship"}
    first = await site.post("/inline/order", context, Idempotency_Key="k")
    again = await site.post("/inline/order", context, Idempotency_Key="k")
    assert (first.json()["error"], again.json()["error"]) == ("Declined", "RunFailed")
    assert "rolled_back" in again.json()["message"]
    assert len(site.shop.ledger) == 5


@case("inline", "deferred", stores=DURABLE)
async def an_inline_run_does_not_take_over_one_that_waits_for_a_worker(site: Site) -> None:
    saga_id = await site.start("deferred", Idempotency_Key="k")
    answer = await site.post("/inline/order", {"order": 5}, Idempotency_Key="k")
    assert (answer.status, answer.json()["error"]) == (409, "RunInProgress")
    await site.ended(saga_id)
    again = (await site.post("/inline/order", {"order": 5}, Idempotency_Key="k")).json()
    assert (again["saga_id"], again["status"]) == (saga_id, "completed")


@case("deferred", stores=DURABLE, started=False)
async def a_key_is_remembered_across_applications(site: Site) -> None:
    async with site:
        first = await site.start("deferred", Idempotency_Key="k")
    async with site.another() as later:
        assert await later.start("deferred", Idempotency_Key="k") == first
        assert len(await later.runs()) == 1
