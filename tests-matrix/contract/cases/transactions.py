"""A start inside the application's own transaction: the run exists if and only if the application's rows do."""

from __future__ import annotations

from contract.case import DURABLE, case
from contract.site import Site


@case("join_session", stores=DURABLE)
async def a_committed_transaction_has_its_row_and_its_run(site: Site) -> None:
    answer = await site.post("/joined/order?then=commit", {"id": "o-1"})
    assert answer.status == 202, answer.body
    assert await site.driver.own_rows() == ["o-1"]
    assert (await site.ended(answer.json()["saga_id"])).status == "completed"


@case("join_session", stores=DURABLE)
async def a_rolled_back_transaction_has_neither(site: Site) -> None:
    answer = await site.post("/joined/order?then=rollback", {"id": "o-1"})
    assert answer.status == 202, answer.body
    assert await site.driver.own_rows() == []
    assert await site.runs() == []


@case("join_session", stores=DURABLE)
async def a_rolled_back_savepoint_has_neither(site: Site) -> None:
    answer = await site.post("/joined/order?then=savepoint", {"id": "o-1"})
    assert answer.status == 202, answer.body
    assert await site.driver.own_rows() == []
    assert await site.runs() == []


@case("join_session", stores=DURABLE)
async def a_refused_context_leaves_the_transaction_to_be_rolled_back(site: Site) -> None:
    answer = await site.post("/joined/order?then=commit", {"id": "o-1", "saga_id": "mine"})
    await site.expect_refusal(answer, "ContextValueError", 422)
    assert await site.driver.own_rows() == []


@case("join_session", "embedded_worker", stores=DURABLE, worker=True)
async def the_commit_is_enough_for_a_worker_to_find_it(site: Site) -> None:
    answer = await site.post("/joined/order?then=commit", {"id": "o-1"})
    assert (await site.ended(answer.json()["saga_id"])).status == "completed"
