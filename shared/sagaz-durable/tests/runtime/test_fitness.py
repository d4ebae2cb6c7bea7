"""What a process does that can execute no more runs, or finds one of its own again; and what it believes of leases."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace

import pytest
from sagaz import Saga, action

from sagaz_durable.concurrency.clock import now
from sagaz_durable.leases.lease import Lease
from sagaz_durable.operations.health import readiness
from sagaz_durable.runtime.bound_saga import bind
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.sagas import Sagas
from sagaz_integration_core.context.current_step import current_step
from sagaz_integration_core.contract.records import ClaimedRun, Renewal
from sagaz_integration_core.errors import LeaseLost, RunInterrupted, RuntimeNotOpen

pytestmark = pytest.mark.anyio


def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Nothing(Saga):
    saga_name = "nothing"

    @action("only")
    async def only(self, ctx):
        pass


async def test_a_process_whose_threads_do_not_come_back_takes_no_more_runs_until_they_do(shared_settings, opened):
    gate = threading.Event()
    async with opened(replace(shared_settings, sync_threads=1), sagas=[Nothing]) as runtime:
        for _ in range(2):
            held = runtime.pool.submit(gate.wait, 30)
            while not held.running():
                await asyncio.sleep(0.01)
            runtime.pool.outlived(held, "step 'hang' of saga 'order'", 1)
        assert not runtime.ready()
        assert "step 'hang' of saga 'order'" in runtime.problems()[0]
        assert "step 'hang'" in (await readiness(runtime)).problem
        with pytest.raises(RuntimeNotOpen, match="takes no new runs: 2 `def` steps have outlived"):
            await bind(runtime, Nothing).run({})
        await Sagas(runtime).start(Nothing, {})
        worker = runtime.make_worker(command=True)
        async with asyncio.timeout(10):
            await worker.run()
        assert "step 'hang'" in worker.failure, "its command exits with 1"
        assert worker.ended == {}
        gate.set()
        while not runtime.ready():
            await asyncio.sleep(0.01)
        assert (await bind(runtime, Nothing).run({})).status.value == "completed"


class Blocking(Saga):
    saga_name = "blocking-a-server"
    gate = threading.Event()

    @action("block", timeout_seconds=0.2)
    async def block(self, ctx):
        if current_step().attempt == 1:
            self.gate.wait(30)


async def test_a_server_whose_event_loop_stands_still_too_long_gives_its_runs_up_and_is_not_ready(
    shared_settings, opened, ended, caplog
):
    """Its loop is in another thread than this test's, as in Flask and Django."""
    Blocking.gate = threading.Event()
    settings = replace(shared_settings, lease_seconds=1, renew_seconds=0.2)
    served, done = [], asyncio.Event()
    loop = asyncio.get_running_loop()

    async def serve():
        runtime = SagazRuntime(settings, sagas=[Blocking])
        await runtime.open()
        served.append(runtime)
        with pytest.raises(RunInterrupted):
            await bind(runtime, Blocking).run({}, saga_id="b")
        await asyncio.to_thread(until, runtime.ready)
        await runtime.close()
        loop.call_soon_threadsafe(done.set)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        await asyncio.to_thread(until, lambda: served and served[0].problems())
        await asyncio.to_thread(until, lambda: any("has blocked the event loop" in p for p in served[0].problems()))
        async with opened(settings, sagas=[Blocking], worker=True) as other:
            record = await ended(other, "b")
            [attempt] = await other.store.load_attempts("b")
        assert (record.status, record.attempt) == ("completed", 2)
        assert attempt.outcome == "halted"
        assert attempt.detail.startswith("step 'block' of saga 'blocking-a-server' (run b) has blocked the event loop")
        assert "self.gate.wait(30)" in caplog.text, "the log has the stack"
    finally:
        Blocking.gate.set()
        await done.wait()
        thread.join()


async def test_a_claim_that_returns_a_run_of_this_process_stops_its_earlier_execution_first(shared_settings, opened):
    told = []

    class Waiting(Saga):
        saga_name = "waiting"

        @action("wait")
        async def wait(self, ctx):
            attempt = current_step().attempt
            told.append(f"begin {attempt}")
            try:
                if attempt == 1:
                    await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                told.append(f"end {attempt}")

    async with opened(shared_settings, sagas=[Waiting]) as runtime:
        await Sagas(runtime).start(Waiting, {})
        tasks = []
        for _ in range(2):
            # A lease that ends in the store at once, whatever this process believes.
            [run] = await runtime.store.claim(runtime.owner, 1, 0.0, runtime.registry.first_steps)
            tasks.append(runtime.runs.execute(runtime.runs.park(run, now())))
            while f"begin {run.attempt}" not in told:
                await asyncio.sleep(0.01)
        with pytest.raises(RunInterrupted, match="claimed it anew"):
            await tasks[0]
        await tasks[1]
    assert told == ["begin 1", "end 1", "begin 2", "end 2"]


class Holding(Saga):
    """Its `def` step is in a thread until a test lets it go on; the second call is free."""

    saga_name = "holding"

    @action("hold", timeout_seconds=0.3)
    def hold(self, ctx):
        attempt = current_step().attempt
        self.told.append(f"begin {attempt}")
        if attempt == 1:
            self.gate.wait(30)
        self.told.append(f"end {attempt}")


@pytest.fixture
def holding():
    Holding.told, Holding.gate = [], threading.Event()
    yield Holding
    Holding.gate.set()


async def claimed_and_begun(runtime):
    """Execute the only run under a lease that ends in the store at once, whatever this process believes."""
    [run] = await runtime.store.claim(runtime.owner, 1, 0.0, runtime.registry.first_steps)
    return runtime.runs.execute(runtime.runs.park(run, now()))


async def seen(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_run_that_is_claimed_anew_is_not_called_while_a_thread_is_still_in_its_step(
    shared_settings, opened, holding, caplog
):
    async with opened(shared_settings, sagas=[holding]) as runtime:
        await Sagas(runtime).start(holding, {})
        first = await claimed_and_begun(runtime)
        await seen(lambda: holding.told)
        second = await claimed_and_begun(runtime)
        with pytest.raises(RunInterrupted, match="claimed it anew"):
            await first
        await seen(lambda: "has outlived its time limit" in caplog.text)
        assert holding.told == ["begin 1"], "its thread is told of, although nobody waits for it any more"
        third = await claimed_and_begun(runtime)
        with pytest.raises(RunInterrupted, match="claimed it anew"):
            await second
        assert not third.done()
        holding.gate.set()
        assert (await third).status.value == "completed"
    assert holding.told == ["begin 1", "end 1", "begin 3", "end 3"]


async def test_neither_is_one_that_was_given_back_before(shared_settings, opened, holding, ended):
    async with opened(shared_settings, sagas=[holding]) as runtime:
        saga_id = await Sagas(runtime).start(holding, {})
        first = await claimed_and_begun(runtime)
        await seen(lambda: holding.told)
        [halted] = runtime.runs._active.values()
        halted.halt(RuntimeError("a bug of ours"))
        with pytest.raises(RunInterrupted, match="a bug of ours"):
            await first
        worker = runtime.make_worker()
        worker.start()
        await seen(lambda: worker.running)
        await asyncio.sleep(0.1)
        assert holding.told == ["begin 1"]
        holding.gate.set()
        assert (await ended(runtime, saga_id)).status == "completed"
        worker.stop()
        await worker.stopped()
    assert holding.told == ["begin 1", "end 1", "begin 2", "end 2"]


async def test_a_process_that_ends_gives_back_what_waits_for_a_thread_to_leave_its_step(
    shared_settings, opened, holding
):
    async with opened(replace(shared_settings, drain_seconds=0.1), sagas=[holding]) as runtime:
        saga_id = await Sagas(runtime).start(holding, {})
        await claimed_and_begun(runtime)
        await seen(lambda: holding.told)
        second = await claimed_and_begun(runtime)
        await runtime.drain()
        with pytest.raises(RunInterrupted, match="shutting down"):
            await second
        record = await runtime.store.load(saga_id)
        assert (record.status, record.lease_owner, record.attempt) == ("pending", None, 2)
    assert holding.told == ["begin 1"]


@pytest.mark.parametrize(("seconds", "margin"), [(10, 1), (60, 2)])
async def test_a_process_gives_a_run_up_a_tenth_of_its_lease_before_the_store_does_and_at_most_two_seconds(
    shared_settings, opened, seconds, margin
):
    async with opened(replace(shared_settings, lease_seconds=seconds, renew_seconds=3), sagas=[Nothing]) as runtime:
        await Sagas(runtime).start(Nothing, {})
        taken_at = now()
        [run] = await runtime.store.claim(runtime.owner, 1, seconds, runtime.registry.first_steps)
        execution = runtime.runs.park(run, taken_at)
        assert runtime.leases.held[run.saga_id].ends_at == pytest.approx(taken_at + seconds - margin, rel=0, abs=0.01)
        await runtime.runs.execute(execution)


class TestLease:
    """What a process believes of one lease."""

    @pytest.fixture
    def lease(self):
        return Lease(ClaimedRun("s", "S", "executing", "{}", None, None, 1, 0), now(), 30, 2)

    def test_it_ends_a_margin_before_the_store_ends_it(self, lease):
        assert 27 < lease.remaining <= 28

    def test_a_late_answer_to_an_older_renewal_does_not_move_its_end_back(self, lease):
        lease.prolong(now() + 10, 30)
        lease.prolong(now() + 5, 30)
        assert lease.remaining > 37

    def test_nothing_may_be_done_any_more_from_the_moment_that_it_is_lost(self, lease):
        reasons = []
        lease.on_stop = reasons.append
        lease.answered(Renewal(set(), set()), now(), 30)
        assert lease.remaining < 0
        lease.prolong(now() + 10, 30)
        assert lease.remaining < 0
        assert isinstance(reasons[0], LeaseLost)

    def test_a_locked_row_is_neither_renewed_nor_lost(self, lease):
        lease.on_stop = pytest.fail
        before = lease.ends_at
        lease.answered(Renewal(set(), {"s"}), now() + 5, 30)
        assert (lease.ends_at, lease.locked, lease.lost) == (before, True, False)
        lease.answered(Renewal({"s"}, set()), now() + 5, 30)
        assert lease.ends_at > before
        assert not lease.locked

    def test_where_nobody_else_sees_the_run_it_does_not_end(self):
        run = ClaimedRun("s", "S", "executing", "{}", None, None, 1, 0)
        assert Lease(run, now() - 100, 30, 2, endless=True).remaining > 1e9
