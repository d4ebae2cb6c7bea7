"""Shutting down: what runs may end within a grace period, the rest is given back, and nothing stays ``executing``."""

from __future__ import annotations

import asyncio

from contract.case import DURABLE, case
from contract.site import Site

SHORT = {"DRAIN_SECONDS": 0.1}


@case("background", stores=DURABLE, started=False)
async def background_runs_may_end_within_the_grace_period(site: Site) -> None:
    async with site:
        saga_id = await site.start("background", context={"order": 1, "wait": "reserve"})
        await site.called("reserve")
        stopping = asyncio.create_task(site.driver.stop())
        done, _ = await asyncio.wait([stopping], timeout=0.2)
        assert not done, "the shutdown waits for the run"
        site.shop.gate.set()
        await stopping
    async with site.another() as later:
        run = await later.run(saga_id)
        assert (run.status, run.attempt, run.failures) == ("completed", 1, 0)
    assert site.shop.calls(saga_id) == ["reserve", "charge", "ship"]


@case("background", stores=DURABLE, started=False, options=SHORT)
async def what_does_not_end_is_given_back_and_resumed_where_it_was(site: Site) -> None:
    async with site:
        saga_id = await site.start("background", context={"order": 1, "wait": "ship"})
        await site.called("ship")
    site.shop.gate.set()
    async with site.another() as later:
        run = await later.run(saga_id)
        assert (run.status, run.failures, run.lease_owner) == ("pending", 0, None)
        run = await later.ended(saga_id)
        assert (run.status, run.attempt, run.failures) == ("completed", 2, 0)
    assert site.shop.calls(saga_id) == ["reserve", "charge", "ship", "ship"]
    assert len({entry.key for entry in site.shop.ledger if entry.step == "ship"}) == 1


@case("background", stores=DURABLE, started=False, options=SHORT)
async def a_run_that_was_rolling_back_goes_on_rolling_back(site: Site) -> None:
    async with site:
        saga_id = await site.start("background", context={"order": 1, "fail": "ship", "wait": "undo reserve"})
        await site.called("undo reserve")
    site.shop.gate.set()
    async with site.another() as later:
        run = await later.run(saga_id)
        assert (run.status, run.lease_owner) == ("compensating", None)
        run = await later.ended(saga_id)
        assert run.status == "rolled_back"
        assert "the card was declined" in (run.error or "")
    assert site.shop.calls(saga_id) == [
        "reserve", "charge", "ship", "undo charge", "undo reserve", "undo reserve",
    ]  # fmt: skip


@case("deferred", "embedded_worker", stores=DURABLE, started=False, worker=True, options=SHORT)
async def an_embedded_worker_gives_its_runs_back(site: Site) -> None:
    async with site:
        ids = [await site.start("deferred", context={"order": n, "wait": "reserve"}) for n in range(3)]
        await site.called("reserve", times=3)
    site.shop.gate.set()
    async with site.another() as later:
        assert {run.status for run in await later.runs()} == {"pending"}
        assert {run.saga_id: run.status for run in await later.all_ended()} == dict.fromkeys(ids, "completed")


@case("inline", stores=DURABLE, started=False, options=SHORT)
async def an_inline_run_that_is_interrupted_tells_its_caller_that_it_goes_on(site: Site) -> None:
    async with site:
        request = asyncio.create_task(site.post("/inline/order", {"order": 1, "wait": "reserve"}))
        await site.called("reserve")
        await site.driver.stop()
        answer = await request
    assert (answer.status, answer.json()["error"]) == (503, "RunInterrupted")
    site.shop.gate.set()
    async with site.another() as later:
        [run] = await later.all_ended()
        assert run.status == "completed"
        assert run.saga_id in answer.json()["message"]


@case("background", stores=("memory",), started=False, options=SHORT)
async def a_shutdown_with_runs_in_memory_waits_for_no_step(site: Site) -> None:
    """The steps are never let through; a shutdown that waited for them would have no end."""
    async with site:
        for n in range(5):
            await site.start("background", context={"order": n, "wait": "reserve"})
        await site.called("reserve", times=5)
        async with asyncio.timeout(60):
            await site.driver.stop()


@case("background", stores=DURABLE, started=False, options=SHORT)
async def a_plain_step_is_waited_for_and_not_called_twice_at_once(site: Site) -> None:
    """A thread cannot be cancelled: the run is given back when it has ended, or its lease runs out."""
    async with site:
        saga_id = await site.start("background", context={"order": 1, "wait": "charge"})
        await site.called("charge")
        asyncio.get_running_loop().call_later(0.5, site.shop.gate.set)
    async with site.another() as later:
        run = await later.ended(saga_id)
        assert run.status == "completed"
    assert site.shop.calls(saga_id).count("charge") <= 2
