"""Background runs of a process: so many at once, and what waits is a row that anybody may take."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from sagaz import Saga, action

from sagaz_durable.runtime import launching
from sagaz_durable.sagas import Sagas
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.errors import RunInProgress

pytestmark = pytest.mark.anyio


class Gated:
    """A saga whose runs are counted, and go on when they are let."""

    def __init__(self):
        self.go, self.running, self.most, self.calls = asyncio.Event(), 0, 0, 0
        gated = self

        class Work(Saga):
            saga_name = "gated"

            @action("work")
            async def work(self, ctx):
                gated.calls += 1
                gated.running += 1
                gated.most = max(gated.most, gated.running)
                try:
                    await gated.go.wait()
                finally:
                    gated.running -= 1

        self.saga = Work


async def launched(runtime, saga, count):
    ids = []
    for n in range(count):
        saga_id, execution = await launching.launch_in_background(runtime, saga, {"n": n})
        ids.append(saga_id)
        if execution is not None:
            runtime.runs.execute(execution)
    return ids


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_no_more_are_executed_at_once_than_there_are_places_and_all_end_without_a_worker(
    shared_settings, opened, ended
):
    gated = Gated()
    async with opened(replace(shared_settings, background_runs=3), sagas=[gated.saga]) as runtime:
        ids = await launched(runtime, gated.saga, 20)
        await until(lambda: gated.running == 3)
        waiting = await runtime.store.find(RunFilter(statuses=("pending",)))
        assert len(waiting) == 17
        assert {record.attempt for record in waiting} == {0}, "what waits is a row without a lease"
        gated.go.set()
        assert {(await ended(runtime, saga_id)).status for saga_id in ids} == {"completed"}
    assert (gated.most, gated.calls) == (3, 20)


async def test_what_waits_may_be_taken_by_any_worker(shared_settings, opened, ended):
    gated, elsewhere = Gated(), Gated()
    elsewhere.go.set()
    settings = replace(shared_settings, background_runs=1)
    async with opened(settings, sagas=[gated.saga]) as web:
        ids = await launched(web, gated.saga, 5)
        await until(lambda: gated.running == 1)
        async with opened(settings, sagas=[elsewhere.saga], worker=True):
            assert {(await ended(web, saga_id)).status for saga_id in ids[1:]} == {"completed"}
        gated.go.set()
        assert (await ended(web, ids[0])).status == "completed"
    assert (gated.calls, elsewhere.calls) == (1, 4)


async def test_a_process_that_stops_leaves_what_waits_to_workers(shared_settings, opened, ended):
    gated = Gated()
    settings = replace(shared_settings, background_runs=1, drain_seconds=0)
    async with opened(settings, sagas=[gated.saga]) as web:
        ids = await launched(web, gated.saga, 5)
        await until(lambda: gated.running == 1)
    gated.go.set()
    async with opened(settings, sagas=[gated.saga], worker=True) as worker:
        assert {(await ended(worker, saga_id)).status for saga_id in ids} == {"completed"}


async def test_what_waits_for_a_place_belongs_to_its_owner(shared_settings, opened):
    gated = Gated()
    async with opened(replace(shared_settings, background_runs=1), sagas=[gated.saga]) as runtime:
        ids = [await Sagas(runtime).run_background(gated.saga, owner="user:42") for _ in range(2)]
        runs = [await runtime.store.load(saga_id) for saga_id in ids]
        assert [(run.status, run.owner) for run in runs] == [("executing", "user:42"), ("pending", "user:42")]
        gated.go.set()


@pytest.mark.parametrize(("seconds", "calls"), [(10, 1), (0, 0)])
async def test_a_run_that_waits_for_its_turn_begins_when_its_end_is_waited_for(shared_settings, opened, seconds, calls):
    gated = Gated()
    gated.go.set()
    async with opened(shared_settings, sagas=[gated.saga]) as runtime:
        saga_id, execution = await launching.launch_in_background(runtime, gated.saga, {})
        _, parked = await launching.launch_in_background(runtime, gated.saga, {})
        if seconds:
            assert (await Sagas(runtime).wait(saga_id, seconds)).saga_id == saga_id
        else:
            with pytest.raises(RunInProgress):
                await Sagas(runtime).wait(saga_id, 0)
        assert gated.calls == calls
        assert runtime.runs.is_parked(execution) == (not calls)
        assert runtime.runs.is_parked(parked), "nobody waits for that one"


async def test_a_start_that_fails_takes_no_place(shared_settings, opened, ended):
    gated = Gated()
    async with opened(replace(shared_settings, background_runs=1), sagas=[gated.saga]) as runtime:
        with pytest.raises(ValueError, match="JSON"):
            await launching.launch_in_background(runtime, gated.saga, {"n": object()})
        saga_id, execution = await launching.launch_in_background(runtime, gated.saga, {})
        assert execution is not None
        runtime.runs.execute(execution)
        gated.go.set()
        await ended(runtime, saga_id)
