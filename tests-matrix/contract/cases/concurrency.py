"""Many runs at once, in one application and in several."""

from __future__ import annotations

import asyncio
from collections import Counter

from contract.case import DURABLE, case
from contract.site import Site


@case("inline")
async def concurrent_inline_runs_keep_their_contexts_apart(site: Site) -> None:
    contexts = [{"order": n} for n in range(20)]
    answers = await asyncio.gather(*(site.post("/inline/order", context) for context in contexts))
    results = [answer.json()["result"] for answer in answers]
    assert [(result["order"], result["parcel"]) for result in results] == [(n, f"p-{n}") for n in range(20)]
    assert len({result["saga_id"] for result in results}) == 20


@case("inline")
async def runs_that_fail_do_not_touch_those_beside_them(site: Site) -> None:
    contexts = [{"order": n, **({"fail": "ship"} if n % 2 else {})} for n in range(16)]
    answers = await asyncio.gather(*(site.post("/inline/order", context) for context in contexts))
    assert [answer.status for answer in answers] == [200, 500] * 8
    assert Counter(run.status for run in await site.runs()) == {"completed": 8, "rolled_back": 8}


@case("background")
async def plain_steps_of_different_runs_run_side_by_side(site: Site) -> None:
    ids = [await site.start("background", context={"order": n, "wait": "charge"}) for n in range(4)]
    await site.called("charge", times=4)
    site.shop.gate.set()
    for saga_id in ids:
        assert (await site.ended(saga_id)).status == "completed"


# Six runs on one thread, each of which holds it for 0.4 s: the last one waits for 2 s, longer than the step's limit.
_WAITING = {"stores": ("memory", "postgres"), "options": {"SYNC_THREADS": 1}}


@case("inline", **_WAITING)
async def waiting_for_a_thread_is_not_the_time_of_a_plain_step(site: Site) -> None:
    contexts = [{"order": n, "seconds": 0.4} for n in range(6)]
    answers = await asyncio.gather(*(site.post("/inline/limited", context) for context in contexts))
    assert [answer.status for answer in answers] == [200] * 6
    runs = await site.runs()
    assert {run.status for run in runs} == {"completed"}
    assert {tuple(site.shop.calls(run.saga_id)) for run in runs} == {("reserve", "charge")}, "nothing was compensated"


@case("inline", **_WAITING)
async def waiting_for_a_thread_is_not_the_time_of_a_plain_compensation(site: Site) -> None:
    contexts = [{"order": n, "undo_seconds": 0.4, "fail": "charge"} for n in range(6)]
    answers = await asyncio.gather(*(site.post("/inline/limited", context) for context in contexts))
    assert [answer.status for answer in answers] == [500] * 6
    runs = await site.runs()
    assert {run.status for run in runs} == {"rolled_back"}
    assert {tuple(site.shop.calls(run.saga_id)) for run in runs} == {("reserve", "charge", "undo reserve")}


@case("background")
async def a_run_that_waits_does_not_hold_up_requests_or_other_runs(site: Site) -> None:
    slow = await site.start("background", context={"order": 1, "wait": "reserve"})
    quick = await site.start("background", context={"order": 2})
    site.worker = True
    assert (await site.ended(quick)).status == "completed"
    assert (await site.run(slow)).status == "executing"
    site.shop.gate.set()
    await site.ended(slow)


@case("deferred", "embedded_worker", worker=True)
async def a_worker_runs_many_side_by_side(site: Site) -> None:
    ids = [await site.start("deferred", context={"order": n, "wait": "reserve"}) for n in range(8)]
    await site.called("reserve", times=8)
    site.shop.gate.set()
    assert {run.saga_id: run.status for run in await site.all_ended()} == dict.fromkeys(ids, "completed")


@case("deferred", "embedded_worker", worker=True, options={"CONCURRENCY": 2})
async def a_worker_runs_no_more_at_once_than_it_is_allowed(site: Site) -> None:
    waiting = await site.start("deferred", context={"order": 0, "wait": "reserve"})
    await site.called("reserve")
    # Beside that one there is room for one more.
    ids = await asyncio.gather(*(site.start("deferred", context={"order": n}) for n in range(1, 9)))
    for saga_id in ids:
        assert (await site.ended(saga_id)).status == "completed"
    beside = [entry.saga_id for entry in site.shop.ledger if entry.saga_id != waiting]
    assert beside == sorted(beside, key=beside.index), "one after the other"
    site.shop.gate.set()
    await site.all_ended()
    assert len(site.shop.ledger) == 27


@case("deferred", "embedded_worker", stores=DURABLE, started=False)
async def several_workers_share_the_runs_and_none_is_run_twice(site: Site) -> None:
    async with site, site.another(worker=True) as one, site.another(worker=True) as two:
        ids = await asyncio.gather(*(site.start("deferred", context={"order": n}) for n in range(30)))
        await one.all_ended()
        calls = Counter((entry.saga_id, entry.step) for entry in site.shop.ledger)
        assert calls == Counter((saga_id, step) for saga_id in ids for step in ("reserve", "charge", "ship"))
        apps = {saga_id: {e.app for e in site.shop.ledger if e.saga_id == saga_id} for saga_id in ids}
        assert all(len(workers) == 1 for workers in apps.values())
        assert set.union(*apps.values()) <= {one.driver.app, two.driver.app}


@case("background", "deferred", "embedded_worker", stores=DURABLE, started=False)
async def a_worker_leaves_the_runs_of_living_processes_alone(site: Site) -> None:
    quick = {"LEASE_SECONDS": 0.6, "RENEW_SECONDS": 0.1}
    async with site.another(options=quick) as busy, site.another(worker=True, options=quick) as idle:
        saga_id = await busy.start("background", context={"order": 1, "wait": "reserve"})
        await asyncio.sleep(1.3)  # Two leases: what is waited for is that nothing happens.
        other = await idle.start("deferred", saga="parcel", context={})
        assert (await idle.ended(other)).status == "completed"
        assert (await idle.run(saga_id)).attempt == 1
        site.shop.gate.set()
        assert (await idle.ended(saga_id)).attempt == 1
    assert site.shop.calls(saga_id) == ["reserve", "charge", "ship"]
