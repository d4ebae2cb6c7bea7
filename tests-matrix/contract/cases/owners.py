"""A run belongs to whom its start names, and to nobody else: neither a key nor an erasure tells others of it."""

from __future__ import annotations

from contract.case import DURABLE, case, variants
from contract.site import Site
from sagaz_integration_core.contract.decisions import Erasure
from sagaz_integration_core.contract.listings import RunFilter


@case()
async def a_run_belongs_to_whom_its_start_names(site: Site) -> None:
    for kind in site.kinds:
        saga_id = await site.start(kind, Owner="user:42")
        assert (await site.run(saga_id)).owner == "user:42"
        assert (await site.run(await site.start(kind))).owner is None
    await site.all_ended()
    mine = await site.driver.ask(lambda store: store.find(RunFilter(owner="user:42")))
    assert {(run.owner, run.status) for run in mine} == {("user:42", "completed")}
    assert len(mine) == len(site.kinds)


@case("join_session", stores=DURABLE)
async def a_run_that_is_started_in_a_transaction_belongs_to_its_owner(site: Site) -> None:
    answer = await site.post("/joined/order?then=commit", {"order": 1, "id": "o-1"}, Owner="user:42")
    assert (await site.run(answer.json()["saga_id"])).owner == "user:42"


@variants(another=({"Owner": "user:7"},), none=({},))
@case("deferred", "inline")
async def a_key_that_somebody_else_has_used_is_refused_without_naming_him(site: Site, other: dict[str, str]) -> None:
    saga_id = await site.start("deferred", context={"order": 1}, Idempotency_Key="basket-3", Owner="user:42")
    for kind in ("deferred", "inline"):
        answer = await site.post(f"/{kind}/order", {"order": 1}, Idempotency_Key="basket-3", **other)
        conflict = await site.post(f"/{kind}/order", {"order": 2}, Idempotency_Key="basket-3", Owner="user:42")
        assert (answer.status, answer.json()["error"]) == (409, "IdempotencyConflict")
        assert answer.json() == conflict.json()
        assert b"user:42" not in answer.body
    assert await site.start("deferred", context={"order": 1}, Idempotency_Key="basket-3", Owner="user:42") == saga_id


@case("deferred", "inline")
async def how_somebody_elses_erased_run_ended_is_not_told(site: Site) -> None:
    saga_id = await site.start("deferred", context={"order": 1}, Idempotency_Key="basket-3", Owner="user:42")
    await site.ended(saga_id)
    erasure = Erasure("ann", "asked for", saga_ids=(saga_id,))
    assert await site.driver.ask(lambda store: store.erase(erasure, 10)) == 1
    for kind in ("deferred", "inline"):
        answer = await site.post(f"/{kind}/order", {"order": 1}, Idempotency_Key="basket-3", Owner="user:7")
        assert answer.json()["error"] == "IdempotencyConflict"
        own = await site.post(f"/{kind}/order", {"order": 1}, Idempotency_Key="basket-3", Owner="user:42")
        assert own.json()["error"] == "RunErased"


@variants(empty=("",), too_long=("u" * 256,), control=("user\t42",))
@case()
async def a_malformed_owner_is_refused(site: Site, owner: str) -> None:
    for kind in site.kinds:
        answer = await site.post(f"/{kind}/order", {"order": 1}, Owner=owner)
        await site.expect_refusal(answer, "InvalidInput", 400)
    assert await site.runs() == []
