"""What blocked event loops, stopped processes and locked rows do to runs, and to their neighbours; real processes."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import replace

import pytest
from worker_processes import workers
from worker_program import SAGAS

from sagaz_durable.sagas import Sagas
from sagaz_integration_core.contract.records import FINISHED

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


@pytest.fixture
async def scene(shared_settings, opened, tmp_path):
    """A runtime that starts runs and executes none, and workers to be started."""
    async with opened(shared_settings) as runtime:
        with workers(tmp_path, shared_settings.storage_url) as found:
            yield runtime, found


async def begun(runtime, name, *contexts):
    return await Sagas(runtime).start_many(SAGAS[name], contexts)


async def all_ended(runtime, *ids):
    records = [await runtime.store.load(saga_id) for saga_id in ids]
    return records if all(record.status in FINISHED for record in records) else None


def statuses(records):
    return [record.status for record in records]


async def test_a_step_that_blocks_its_event_loop_is_called_once_and_so_are_its_neighbours(scene):
    runtime, found = scene
    ids = await begun(runtime, "blocking", {"seconds": 4})
    ids += await begun(runtime, "quick", *[{"seconds": 0.2}] * 3)
    found.start("blocking", "quick")
    found.start("blocking", "quick")
    records = await found.until(lambda: all_ended(runtime, *ids), "all runs end")
    assert statuses(records) == ["completed"] * 4
    assert found.counts() == {"blocking.block": 1, "quick.only": 3}
    assert "Step 'block' of saga 'blocking'" in found.logs
    assert "blocks the event loop" in found.logs
    assert "Make it a plain `def` step" in found.logs
    assert "The event loop turns again" in found.logs


async def test_a_step_that_blocks_for_ever_ends_as_failed_and_everything_else_completes(scene):
    runtime, found = scene
    [poison] = await begun(runtime, "forever", {})
    quick = await begun(runtime, "quick", *[{"seconds": 0.1}] * 20)
    for _ in range(3):
        found.start("forever", "quick", max_failures=3)
    records = await found.until(lambda: all_ended(runtime, poison, *quick), "all runs end", 120)
    assert statuses(records) == ["failed", *["completed"] * 20]
    assert found.counts()["forever.block"] == 3
    assert 1 in found.exit_codes, "a supervisor is told that the process cannot go on"
    assert "time.sleep(0.1)" in found.logs, "the log has the stack of what blocks"
    outcomes = [attempt.outcome for attempt in await runtime.store.load_attempts(poison)]
    assert outcomes.count("halted") == 3
    assert {record.failures for record in records[1:]} == {0}, "the neighbours are not charged"


async def test_a_process_that_was_stopped_between_two_tries_calls_nothing_that_others_have_done(scene):
    runtime, found = scene
    [saga_id] = await begun(runtime, "pausing", {})
    first = found.start("pausing", backoff_seconds=3, backoff_max_seconds=3)
    await found.until(lambda: found.counts()["pausing.again"] == 1, "the first try")
    await found.stop(first)
    found.start("pausing")
    [record] = await found.until(lambda: all_ended(runtime, saga_id), "another worker ends it")
    assert record.status == "completed"
    calls = len(found.calls())
    found.signal(first, signal.SIGCONT)
    await found.until(lambda: "stopped in this process before its end" in found.logs, "the first one notices")
    assert len(found.calls()) == calls


async def test_plain_steps_that_waited_for_a_thread_while_their_leases_ended_are_not_called(scene):
    runtime, found = scene
    ids = await begun(runtime, "threads", *[{"seconds": 1}] * 3)
    first = found.start("threads", sync_threads=1)
    await found.until(lambda: found.counts()["threads.hold"] == 1, "one has the thread")
    await found.stop(first)
    found.start("threads")
    records = await found.until(lambda: all_ended(runtime, *ids), "another worker ends them")
    assert statuses(records) == ["completed"] * 3
    found.signal(first, signal.SIGCONT)
    given_up = "stopped in this process before its end"
    await found.until(lambda: found.logs.count(given_up) == 3, "the first one notices")
    assert found.counts()["threads.hold"] == 4, "only the step that had begun there was called twice"


async def test_a_run_that_gets_a_step_further_each_time_is_not_given_up(scene):
    runtime, found = scene
    [saga_id] = await begun(runtime, "deadly", {})
    found.start("deadly", max_failures=4)
    [record] = await found.until(lambda: all_ended(runtime, saga_id), "it ends", 120)
    assert record.status == "completed"
    assert found.counts() == {f"deadly.step-{n}": 2 for n in range(6)}


async def test_workers_of_another_service_leave_runs_alone_that_they_do_not_know(scene):
    runtime, found = scene
    for _ in range(3):
        found.start("blocking", max_failures=1)
    ids = await begun(runtime, "quick", *[{"seconds": 0.01}] * 40)
    await asyncio.sleep(0.5)
    untouched = [await runtime.store.load(saga_id) for saga_id in ids]
    assert {(record.status, record.attempt, record.failures) for record in untouched} == {("pending", 0, 0)}
    found.start("quick")
    records = await found.until(lambda: all_ended(runtime, *ids), "all runs end")
    assert {(record.status, record.attempt) for record in records} == {("completed", 1)}


async def test_a_poisoned_run_ends_as_failed_and_takes_no_other_with_it(scene):
    runtime, found = scene
    [poison] = await begun(runtime, "poisoned", {})
    quick = await begun(runtime, "quick", *[{"seconds": 0.6}] * 9)
    for _ in range(2):
        found.start("poisoned", "quick", max_failures=3)
    records = await found.until(lambda: all_ended(runtime, poison, *quick), "all runs end", 120)
    assert statuses(records) == ["failed", *["completed"] * 9]


async def test_a_stopped_process_that_finds_its_run_still_its_own_goes_on(scene):
    runtime, found = scene
    [saga_id] = await begun(runtime, "quick", {"seconds": 4})
    first = found.start("quick")
    await found.until(lambda: found.counts()["quick.only"] == 1, "its step begins")
    await found.stop(first)
    await asyncio.sleep(2)
    found.signal(first, signal.SIGCONT)
    [record] = await found.until(lambda: all_ended(runtime, saga_id), "it ends")
    assert (record.status, record.failures) == ("completed", 0)


class TestOnPostgreSQL:
    """Where others can lock a row."""

    @pytest.fixture
    async def scene(self, postgres_url, opened, tmp_path, shared_settings):
        async with opened(replace(shared_settings, storage_url=postgres_url)) as runtime:
            with workers(tmp_path, postgres_url) as found:
                yield runtime, found

    @pytest.mark.parametrize("shared_settings", ["postgres"], indirect=True)
    async def test_a_row_that_somebody_has_locked_holds_up_no_other_run_and_charges_none(self, scene, postgres_url):
        import psycopg

        runtime, found = scene
        ids = await begun(runtime, "quick", *[{"seconds": 3}] * 10)
        found.start("quick", max_failures=2)
        await found.until(lambda: found.counts()["quick.only"] == 10, "all steps begin")
        async with await psycopg.AsyncConnection.connect(postgres_url) as connection:
            await connection.execute("SELECT 1 FROM sagaz_run WHERE saga_id = %s FOR UPDATE", [ids[0]])
            await found.until(lambda: all_ended(runtime, *ids[1:]), "the others end")
            assert (await runtime.store.load(ids[0])).status == "executing"
            await asyncio.sleep(2)
        records = await found.until(lambda: all_ended(runtime, *ids), "it ends, too")
        assert statuses(records) == ["completed"] * 10
        assert {record.failures for record in records} == {0}
        assert {record.attempt for record in records[1:]} == {1}
