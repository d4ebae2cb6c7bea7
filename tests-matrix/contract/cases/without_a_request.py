"""What code does with sagas outside of any request."""

from __future__ import annotations

import json

import pytest

from contract.case import DURABLE, case
from contract.site import Site
from sagaz_integration_core.errors import RunNotFound


@case("sagas")
async def a_start_from_code_is_executed_as_one_of_a_request(site: Site) -> None:
    saga_id = await site.driver.verb("start", site.shop.sagas["order"], {"order": 1})
    assert (await site.ended(saga_id)).status == "completed"
    assert (await site.driver.verb("status", saga_id)).status == "completed"


@case("sagas")
async def a_run_from_code_returns_its_result(site: Site) -> None:
    run = await site.driver.verb("run", site.shop.sagas["order"], {"order": 1})
    assert (run.status.value, (await site.run(run.saga_id)).status) == ("completed", "completed")


@case("sagas", "deferred")
async def a_key_is_the_same_in_code_and_in_a_request(site: Site) -> None:
    saga_id = await site.start("deferred", context={"order": 1}, Idempotency_Key="k")
    order = site.shop.sagas["order"]
    assert await site.driver.verb("start", order, {"order": 1}, idempotency_key="k") == saga_id
    assert len(await site.runs()) == 1


@case("sagas", "background")
async def a_background_run_from_code_needs_no_worker(site: Site) -> None:
    saga_id = await site.driver.verb("run_background", site.shop.sagas["order"], {"order": 1})
    await site.called("ship")
    assert site.shop.calls(saga_id) == ["reserve", "charge", "ship"]


@case("sagas", stores=DURABLE)
async def many_starts_from_code_are_recorded_in_order(site: Site) -> None:
    ids = await site.driver.verb("start_many", site.shop.sagas["order"], [{"order": n} for n in range(5)])
    assert sorted(run.saga_id for run in await site.runs()) == sorted(ids)
    contexts = [(await site.driver.verb("status", saga_id)).run.context for saga_id in ids]
    assert [json.loads(context)["order"] for context in contexts] == [0, 1, 2, 3, 4]


@case("sagas", stores=DURABLE)
async def who_cancels_a_run_from_code_is_kept_with_it(site: Site) -> None:
    saga_id = await site.driver.verb("start", site.shop.sagas["order"], {"order": 1})
    outcome = await site.driver.verb("cancel", saga_id, by="ann", reason="a mistake")
    assert (outcome.done, outcome.status) == (True, "compensating")
    assert (await site.ended(saga_id)).status == "rolled_back"
    [note] = (await site.driver.verb("status", saga_id)).audit
    assert (note.action, note.actor, note.reason) == ("cancel", "ann", "a mistake")
    assert site.shop.ledger == []


@case("sagas", stores=DURABLE)
async def what_cannot_be_decided_from_code_is_told_and_not_done(site: Site) -> None:
    saga_id = await site.driver.verb("start", site.shop.sagas["order"], {"order": 1})
    for verb, more in (("retry", {}), ("resolve", {"settled": "completed", "reason": "by hand"})):
        outcome = await site.driver.verb(verb, saga_id, by="ann", **more)
        assert (outcome.done, "Only a failed run" in outcome.message) == (False, True)
    assert not (await site.driver.verb("status", saga_id)).audit


@case("sagas", stores=DURABLE)
async def the_runs_of_an_owner_are_listed_page_by_page(site: Site) -> None:
    contexts = [{"order": n} for n in range(5)]
    started = await site.driver.verb("start_many", site.shop.sagas["order"], contexts, owner="user:42")
    await site.driver.verb("start", site.shop.sagas["order"], {"order": 5}, owner="user:7")
    first = await site.driver.verb("list_runs", owner="user:42", limit=3)
    rest = await site.driver.verb("list_runs", owner="user:42", limit=3, cursor=first.cursor)
    assert (len(first.runs), len(rest.runs), rest.cursor) == (3, 2, None)
    assert {run.saga_id for run in (*first.runs, *rest.runs)} == set(started)


@case("sagas")
async def the_status_of_no_run_is_an_error(site: Site) -> None:
    with pytest.raises(RunNotFound, match="nowhere"):
        await site.driver.verb("status", "nowhere")
