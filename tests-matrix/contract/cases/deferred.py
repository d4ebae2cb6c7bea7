"""A saga that is started for a worker."""

from __future__ import annotations

from contract.case import DURABLE, case
from contract.site import Site


@case("deferred", stores=DURABLE)
async def it_waits_for_a_worker(site: Site) -> None:
    saga_id = await site.start("deferred")
    run = await site.run(saga_id)
    assert (run.status, run.attempt, run.lease_owner) == ("pending", 0, None)
    assert site.shop.ledger == []
    await site.driver.work()
    run = await site.run(saga_id)
    assert (run.status, run.attempt, run.lease_owner) == ("completed", 1, None)


@case("deferred")
async def a_worker_runs_every_step_once_and_in_order(site: Site) -> None:
    saga_id = await site.start("deferred")
    assert (await site.ended(saga_id)).status == "completed"
    assert site.shop.calls(saga_id) == ["reserve", "charge", "ship"]
    assert await site.journal(saga_id) == ["reserve do done", "charge do done", "ship do done"]


@case("deferred", stores=DURABLE)
async def another_worker_finds_nothing_left_to_do(site: Site) -> None:
    saga_id = await site.start("deferred")
    await site.driver.work()
    await site.driver.work()
    assert len(site.shop.calls(saga_id)) == 3


@case("deferred")
async def a_failed_run_is_compensated_and_kept_with_its_error(site: Site) -> None:
    saga_id = await site.start("deferred", context={"order": 1, "fail": "charge"})
    run = await site.ended(saga_id)
    assert run.status == "rolled_back"
    assert "the card was declined" in (run.error or "")
    assert site.shop.calls(saga_id) == ["reserve", "charge", "undo reserve"]


@case("deferred", "embedded_worker", worker=True)
async def an_embedded_worker_needs_no_other_process(site: Site) -> None:
    ids = [await site.start("deferred", context={"order": n}) for n in range(5)]
    runs = await site.all_ended()
    assert {run.saga_id: run.status for run in runs} == dict.fromkeys(ids, "completed")


@case("deferred", "embedded_worker", stores=DURABLE, started=False)
async def a_worker_in_another_application_runs_it(site: Site) -> None:
    async with site, site.another(worker=True) as working:
        saga_id = await site.start("deferred")
        assert (await working.ended(saga_id)).status == "completed"
        assert {entry.app for entry in site.shop.ledger} == {working.driver.app}


@case("deferred", "embedded_worker", stores=DURABLE, started=False)
async def a_saga_that_this_deployment_has_not_waits_for_one_that_has_it(site: Site) -> None:
    """Nobody takes it, so nothing is counted against it, however long the deployment lasts."""
    async with site:
        saga_id = await site.start("deferred")
    knows = {"parcel": site.shop.sagas["parcel"]}
    async with site.another(sagas=knows, options={"MAX_FAILURES": 1}) as elsewhere:
        await elsewhere.driver.work()
        await elsewhere.driver.work()
        run = await elsewhere.run(saga_id)
    assert (run.status, run.attempt, run.failures, run.lease_owner) == ("pending", 0, 0, None)
    assert site.shop.ledger == []
    async with site.another(worker=True) as later:
        run = await later.ended(saga_id)
    assert (run.status, run.attempt, run.failures) == ("completed", 1, 0)
    assert site.shop.calls(saga_id) == ["reserve", "charge", "ship"]
