"""What workers do with runs that nobody executes: claim, keep, give back, give up."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from sagaz import Saga, action, compensate

from sagaz_durable.runtime.bound_saga import bind
from sagaz_durable.sagas import Sagas
from sagaz_durable.stores.factory import create_store
from sagaz_integration_core.context.current_step import current_step
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.contract.records import Release, RunWrite
from sagaz_integration_core.errors import RunInterrupted, StoreUnavailable


def one_step(work, name="one-step"):
    class OneStep(Saga):
        saga_name = name

        @action("work")
        async def work(self, ctx):
            return await work(ctx)

    return OneStep


async def nothing(ctx):
    return None


async def drained(runtime, **options):
    worker = runtime.make_worker(drain=True, **options)
    async with asyncio.timeout(20):
        await worker.run()
    return worker


async def test_a_started_run_is_executed_by_an_embedded_worker(settings, opened, ended):
    async with opened(settings, worker=True) as runtime:
        saga_id = await Sagas(runtime).start(one_step(nothing), {"n": 1})
        assert (await ended(runtime, saga_id)).status == "completed"


async def test_draining_goes_on_with_a_run_that_came_due_while_a_claim_was_answered(settings, opened):
    go = asyncio.Event()

    async def work(ctx):
        await go.wait()
        return await current_step().signal("paid", key="pi_1")

    async with opened(replace(settings, poll_seconds=0.01)) as runtime:
        sagas = Sagas(runtime)
        saga_id = await sagas.start(one_step(work), {})
        assert await sagas.send_signal("paid", {}, key="pi_1")
        worker = runtime.make_worker(drain=True)
        claim = runtime.runs.claim

        async def answered_late(free, **options):
            runs = await claim(free, **options)
            if worker.running:
                go.set()
            while worker.running:
                await asyncio.sleep(0)
            return runs

        runtime.runs.claim = answered_late
        async with asyncio.timeout(20):
            await worker.run()
        assert (await sagas.status(saga_id)).status == "completed"


@pytest.mark.parametrize(("concurrency", "first"), [(1, 1), (10, 10), (16, 10), (50, 25)])
async def test_a_worker_on_a_server_fills_its_places_in_two_claims_of_not_too_few(
    postgres_url, opened, settings, concurrency, first
):
    begun = asyncio.Semaphore(0)
    go = asyncio.Event()

    async def work(ctx):
        begun.release()
        await go.wait()

    async with opened(replace(settings, storage_url=postgres_url, migrate=True)) as runtime:
        await Sagas(runtime).start_many(one_step(work), [{"n": n} for n in range(60)])
        claims = []
        claim = runtime.runs.claim

        async def noted(free, **options):
            runs = await claim(free, **options)
            claims.append(len(runs))
            return runs

        runtime.runs.claim = noted
        worker = runtime.make_worker(concurrency=concurrency)
        worker.start()
        async with asyncio.timeout(20):
            for _ in range(concurrency):
                await begun.acquire()
        assert claims == [first] + [concurrency - first] * (concurrency > first)
        worker.stop()
        go.set()
        await worker.stopped()


async def test_a_draining_worker_executes_what_is_due_and_returns(shared_settings, opened):
    running, most = 0, 0

    async def work(ctx):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1

    saga = one_step(work)
    async with opened(shared_settings, sagas=[saga]) as runtime:
        await Sagas(runtime).start_many(saga, [{"n": n} for n in range(25)])
        worker = await drained(runtime, concurrency=4)
        assert worker.ended == {"completed": 25}
        assert most == 4


async def test_a_worker_claims_no_more_than_it_has_room_for_beside_what_runs(shared_settings, opened):
    begun: asyncio.Queue[asyncio.Event] = asyncio.Queue()

    async def work(ctx):
        go = asyncio.Event()
        begun.put_nowait(go)
        await go.wait()

    saga, running = one_step(work), []
    async with opened(shared_settings, sagas=[saga]) as runtime:
        await Sagas(runtime).start_many(saga, [{"n": n} for n in range(6)])
        worker = runtime.make_worker(
            concurrency=3, drain=True, on_progress=lambda worker: running.append(worker.running)
        )
        async with asyncio.timeout(20):
            working = asyncio.create_task(worker.run())
            waiting = [await begun.get() for _ in range(3)]
            for _ in range(3):
                # One ends, and the next one begins.
                waiting.pop(0).set()
                waiting.append(await begun.get())
            for go in waiting:
                go.set()
            await working
    assert worker.ended == {"completed": 6}
    assert max(running) == 3


@pytest.fixture
def ends_wait(monkeypatch):
    """Has the ends of a runtime's runs wait until they are let through."""

    def hold(runtime):
        written, write = asyncio.Event(), runtime.store.write

        async def waiting(writes):
            if any(write.status == "completed" for write in writes):
                await written.wait()
            return await write(writes)

        monkeypatch.setattr(runtime.store, "write", waiting)
        return written

    return hold


async def test_while_the_end_of_a_run_is_written_another_one_has_its_place(shared_settings, opened, ends_wait):
    begun = []

    async def work(ctx):
        begun.append(ctx["n"])

    saga = one_step(work)
    async with opened(shared_settings, sagas=[saga]) as runtime:
        await Sagas(runtime).start_many(saga, [{"n": n} for n in range(2)])
        written = ends_wait(runtime)
        worker = runtime.make_worker(concurrency=1, drain=True)
        async with asyncio.timeout(20):
            working = asyncio.create_task(worker.run())
            try:
                while len(begun) < 2 or worker.running:
                    await asyncio.sleep(0)
                ended = dict(worker.ended)
            finally:
                written.set()
            await working
    assert ended == {}
    assert worker.ended == {"completed": 2}


@pytest.mark.parametrize(
    ("executed", "written", "free"),
    [(3, 0, 0), (2, 0, 1), (2, 1, 1), (0, 3, 3), (3, 3, 0), (0, 4, 2), (1, 5, 0), (0, 6, 0), (0, 9, 0)],
)
async def test_where_ends_cannot_be_written_a_worker_takes_at_most_twice_as_many_as_it_executes(
    settings, opened, executed, written, free
):
    async with opened(settings) as runtime:
        worker = runtime.make_worker(concurrency=3)
        runs = [SimpleNamespace(is_ending=n < written) for n in range(executed + written)]
        worker._running = dict(enumerate(runs))
        assert (worker.running, worker._free) == (executed, free)


async def test_a_run_that_is_not_due_yet_is_left_alone(shared_settings, opened):
    async with opened(shared_settings) as runtime:
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        saga_id = await Sagas(runtime).start(one_step(nothing), {}, not_before=tomorrow)
        assert (await drained(runtime)).ended == {}
        assert (await runtime.store.load(saga_id)).status == "pending"


async def test_an_unknown_saga_is_tried_again_later_and_ends_as_failed_with_its_name(settings, opened, ended):
    """A deployment may be rolling: another worker may know it, and this one may after its restart."""
    settings = replace(settings, max_failures=3)
    async with opened(settings, sagas=[one_step(nothing, "orders")], worker=True) as runtime:
        known = one_step(nothing, "order")
        saga_id = await Sagas(runtime).start(known, {})
        runtime.registry._by_name.pop("order")
        record = await ended(runtime, saga_id)
    assert (record.status, record.failures, record.attempt) == ("failed", 2, 3)
    assert "No saga named 'order' is registered. Did you mean 'orders'?" in record.error


async def test_a_factory_that_fails_once_costs_one_failure_and_no_run(settings, opened, ended):
    made = []
    saga = one_step(nothing)

    def make():
        made.append(1)
        if len(made) == 1:
            raise ConnectionError("collaborator is away")
        return saga()

    async with opened(settings, sagas=[(saga, make)], worker=True) as runtime:
        saga_id = await Sagas(runtime).start(saga, {})
        record = await ended(runtime, saga_id)
        attempts = await runtime.store.load_attempts(saga_id)
    assert [attempt.outcome for attempt in attempts] == ["halted"]
    assert (record.status, record.failures) == ("completed", 0), "a step that is done clears the failures before it"
    assert not record.error, "a completed run does not show an old error"


async def test_new_runs_begin_before_those_that_go_on(settings, opened):
    calls = []

    class Order(Saga):
        @action("only")
        async def only(self, ctx):
            calls.append(ctx["which"])

    async with opened(settings, sagas=[Order]) as runtime:
        await Sagas(runtime).start(Order, {"which": "goes on"})
        [run] = await runtime.store.claim("another", 1, 30.0, dict.fromkeys(runtime.registry.first_steps, ()))
        await runtime.store.write([RunWrite(run.saga_id, "another", run.attempt, release=Release())])
        await Sagas(runtime).start(Order, {"which": "is new"})
        await runtime.make_worker(drain=True).run()
    assert calls == ["is new", "goes on"]


async def test_a_run_that_was_given_back_for_a_failure_is_not_due_before_its_pause_is_over(settings, opened):
    tried = asyncio.Event()
    saga = one_step(nothing)

    def make():
        tried.set()
        raise ConnectionError("collaborator is away")

    async with opened(replace(settings, backoff_seconds=60), sagas=[(saga, make)], worker=True) as runtime:
        saga_id = await Sagas(runtime).start(saga, {})
        await tried.wait()
        async with asyncio.timeout(10):
            while (record := await runtime.store.load(saga_id)).lease_owner is not None:
                await asyncio.sleep(0.01)
    assert (record.status, record.failures) == ("pending", 1)
    assert record.available_at - record.updated_at > timedelta(seconds=25)


async def alive(runtime):
    async with asyncio.timeout(10):
        while not (found := await runtime.store.workers()):
            await asyncio.sleep(0.01)
    return [worker.name for worker in found]


async def test_a_worker_is_known_to_live_while_it_works_and_no_longer(settings, opened):
    async with opened(settings, sagas=[one_step(nothing)], worker=True) as runtime:
        assert await alive(runtime) == [runtime.owner]
        runtime._worker.stop()
        await runtime._worker.stopped()
        # Long before its last sign of life ends by itself.
        async with asyncio.timeout(10):
            while await runtime.store.workers():
                await asyncio.sleep(0.01)


async def test_a_process_without_a_worker_is_known_to_live_while_it_executes_runs(shared_settings, opened):
    told = []

    async def work(ctx):
        told.append(await alive(runtime))

    quick = replace(shared_settings, renew_seconds=0.1)
    async with opened(shared_settings) as other:
        async with opened(quick) as runtime:
            await bind(runtime, one_step(work)).run({})
            owner = runtime.owner
        assert told == [[owner]]
        assert await other.store.workers() == []


async def test_draining_lets_runs_end_within_the_grace_period(settings, opened, ended):
    entered, go = asyncio.Event(), asyncio.Event()

    async def work(ctx):
        entered.set()
        await go.wait()

    async with opened(settings, worker=True) as runtime:
        saga_id = await Sagas(runtime).start(one_step(work), {})
        await entered.wait()
        asyncio.get_running_loop().call_later(0.05, go.set)
        await runtime.drain()
        assert (await runtime.store.load(saga_id)).status == "completed"


async def test_draining_gives_the_rest_back_at_no_cost_and_another_worker_resumes_it(shared_settings, opened):
    entered = asyncio.Event()
    calls = []

    class TwoSteps(Saga):
        @action("first")
        async def first(self, ctx):
            calls.append("first")

        @action("second", depends_on=["first"])
        async def second(self, ctx):
            calls.append(current_step().attempt)
            entered.set()
            if current_step().attempt == 1:
                await asyncio.Event().wait()

    async with opened(replace(shared_settings, drain_seconds=0), worker=True) as runtime:
        run = asyncio.create_task(bind(runtime, TwoSteps).run({}))
        await entered.wait()
    with pytest.raises(RunInterrupted, match="shutting down"):
        await run
    async with opened(shared_settings, sagas=[TwoSteps]) as runtime:
        [record] = await runtime.store.find(RunFilter())
        assert (record.status, record.failures, record.lease_owner) == ("pending", 0, None)
        await drained(runtime)
        [record] = await runtime.store.find(RunFilter())
    assert (record.status, record.failures) == ("completed", 0)
    assert calls == ["first", 1, 2], "what was done is not done again"


async def test_a_lease_is_renewed_while_its_run_goes_on(shared_settings, opened):
    settings = replace(shared_settings, renew_seconds=0.1)
    seen = asyncio.Event()

    async def work(ctx):
        async with asyncio.timeout(10):
            first = (await runtime.store.load(current_step().saga_id)).lease_expires_at
            while (await runtime.store.load(current_step().saga_id)).lease_expires_at <= first:
                await asyncio.sleep(0.01)
        seen.set()

    async with opened(settings) as runtime:
        await bind(runtime, one_step(work)).run({})
    assert seen.is_set()


async def away():
    raise StoreUnavailable("The store is unreachable.")


async def broken():
    raise RuntimeError("Nobody has thought of this.")


async def silent():
    await asyncio.Event().wait()


class Unwilling:
    """A store that can be told to be away, with all others of its runtime."""

    def __init__(self, store, switch, methods, how):
        self._store, self.switch, self._methods, self._how = store, switch, methods, how

    def __getattr__(self, name):
        attribute = getattr(self._store, name)
        if name not in self._methods:
            return attribute

        async def call(*args, **options):
            if self.switch.away:
                await self._how()
            return await attribute(*args, **options)

        return call


def unwilling(*methods, how=away):
    """Makes the stores of one runtime: its own, and that of its keeper."""
    switch = SimpleNamespace(away=False)
    return lambda settings: Unwilling(create_store(settings), switch, methods, how)


async def test_an_error_that_nobody_thought_of_ends_neither_leases_nor_the_signs_of_life(
    shared_settings, opened, caplog
):
    settings = replace(shared_settings, lease_seconds=2, renew_seconds=0.1)

    stores = unwilling("renew", "heartbeat", how=broken)

    async def work(ctx):
        runtime.store.switch.away = True
        async with asyncio.timeout(10):
            while not all(said in caplog.text for said in ("heartbeat was not noted", "leases could not be renewed")):
                await asyncio.sleep(0.01)
            runtime.store.switch.away = False
            first = (await runtime.store.load(current_step().saga_id)).lease_expires_at
            while (await runtime.store.load(current_step().saga_id)).lease_expires_at <= first:
                await asyncio.sleep(0.01)

    saga = one_step(work)
    async with opened(settings, sagas=[saga], open_store=stores) as runtime:
        await Sagas(runtime).start(saga, {})
        assert (await drained(runtime)).ended == {"completed": 1}
    assert "Nobody has thought of this." in caplog.text


async def test_such_an_error_does_not_end_a_worker_either_unless_it_was_to_end(shared_settings, opened, ended, caplog):
    stores = unwilling("claim", how=broken)

    saga = one_step(nothing)
    async with opened(shared_settings, sagas=[saga], open_store=stores) as runtime:
        runtime.store.switch.away = True
        saga_id = await Sagas(runtime).start(saga, {})
        with pytest.raises(RuntimeError, match="Nobody"):
            await drained(runtime)
        worker = runtime.make_worker()
        worker.start()
        async with asyncio.timeout(10):
            while "Nobody has thought of this." not in caplog.text:
                await asyncio.sleep(0.01)
        runtime.store.switch.away = False
        assert (await ended(runtime, saga_id)).status == "completed"
        worker.stop()
        await worker.stopped()


@pytest.mark.parametrize(("how", "methods"), [(away, ["renew", "write"]), (broken, ["renew"]), (silent, ["renew"])])
async def test_a_process_that_cannot_renew_stops_its_steps_before_the_lease_ends(
    shared_settings, opened, ended, how, methods
):
    settings = replace(shared_settings, lease_seconds=4, renew_seconds=0.1)
    stopped = []

    async def work(ctx):
        if current_step().attempt > 1:
            return
        first.store.switch.away = True
        try:
            await asyncio.Event().wait()
        finally:
            record = await other.store.load(current_step().saga_id)
            stopped.append(record.attempt)

    stores = unwilling(*methods, how=how)

    saga = one_step(work)
    async with opened(settings, open_store=stores) as first, opened(settings, sagas=[saga], worker=True) as other:
        # Seconds early, so that a machine that is slow stops it before the end, too.
        first.keeper.margin = 3.5
        with pytest.raises(RunInterrupted, match="renewed"):
            await bind(first, saga).run({})
        [record] = await other.store.find(RunFilter())
        record = await ended(other, record.saga_id)
    assert stopped == [1], "its step was cancelled while the lease was still its own"
    assert (record.status, record.attempt, record.failures) == ("completed", 2, 0)


async def test_a_short_outage_of_the_store_only_delays_a_run(settings, opened):
    stores = unwilling("write")

    calls = []

    class TwoSteps(Saga):
        @action("first")
        async def first(self, ctx):
            calls.append("first")
            runtime.store.switch.away = True
            asyncio.get_running_loop().call_later(0.15, setattr, runtime.store.switch, "away", False)

        @compensate("first")
        async def undo(self, ctx):
            calls.append("undo")

        @action("second", depends_on=["first"])
        async def second(self, ctx):
            calls.append("second")

    async with opened(settings, open_store=stores) as runtime:
        result = await bind(runtime, TwoSteps).run({})
    assert (result.status.value, calls) == ("completed", ["first", "second"])


async def test_a_store_that_stays_away_stops_the_run_without_compensating(shared_settings, opened):
    settings = replace(shared_settings, lease_seconds=0.4, renew_seconds=0.1)

    stores = unwilling("write", "renew")

    calls = []

    class TwoSteps(Saga):
        @action("first")
        async def first(self, ctx):
            runtime.store.switch.away = True

        @compensate("first")
        async def undo(self, ctx):
            calls.append("undo")

        @action("second", depends_on=["first"])
        async def second(self, ctx):
            calls.append("second")

    async with opened(settings, open_store=stores) as runtime:
        with pytest.raises(RunInterrupted):
            await bind(runtime, TwoSteps).run({})
        assert calls == []
        runtime.store.switch.away = False


async def test_a_run_whose_process_died_too_often_ends_as_failed(shared_settings, opened, ended):
    settings = replace(shared_settings, max_failures=2)
    saga = one_step(nothing)
    async with opened(settings, sagas=[saga]) as runtime:
        saga_id = await Sagas(runtime).start(saga, {})
        for n in range(2):
            assert await runtime.store.claim(f"dead-{n}", 1, 0.0, dict.fromkeys(runtime.registry.first_steps, ()))
        worker = await drained(runtime)
        record = await runtime.store.load(saga_id)
    assert worker.ended == {"failed": 1}
    assert "Given up after 2 failures" in record.error


async def test_a_run_whose_process_died_less_often_is_executed(shared_settings, opened, ended):
    settings = replace(shared_settings, max_failures=2)
    saga = one_step(nothing)
    async with opened(settings, sagas=[saga]) as runtime:
        await Sagas(runtime).start(saga, {})
        assert await runtime.store.claim("dead", 1, 0.0, dict.fromkeys(runtime.registry.first_steps, ()))
        worker = await drained(runtime)
    assert worker.ended == {"completed": 1}


class TestRollingDeployments:
    """Two versions of a saga, as the workers of a rolling deployment have them."""

    @staticmethod
    def version(steps, calls, *, fail=None):
        def make(name):
            async def work(self, ctx):
                calls.append(name)
                if name == fail:
                    raise ValueError(f"{name} fails")

            async def undo(self, ctx):
                calls.append(f"undo {name}")

            return action(name, depends_on=steps[steps.index(name) - 1 : steps.index(name)])(work), compensate(name)(
                undo
            )

        body = {"saga_name": "rolling"}
        for name in steps:
            body[name], body[f"undo_{name}"] = make(name)
        return type("Rolling", (Saga,), body)

    async def interrupted_after(self, settings, opened, steps, calls, last):
        """A run of the old version that stopped right before ``last``."""
        reached = asyncio.Event()
        old = self.version(steps, calls)

        async def block(saga, ctx):
            reached.set()
            await asyncio.Event().wait()

        setattr(old, last, action(last, depends_on=[steps[steps.index(last) - 1]])(block))
        async with opened(replace(settings, drain_seconds=0)) as runtime:
            run = asyncio.create_task(bind(runtime, old).run({}))
            await reached.wait()
        with pytest.raises(RunInterrupted):
            await run

    async def test_a_gained_step_runs_and_what_was_done_is_not_done_again(self, shared_settings, opened):
        calls = []
        await self.interrupted_after(shared_settings, opened, ["a", "b"], calls, "b")
        new = self.version(["a", "x", "b"], calls)
        async with opened(shared_settings, sagas=[new]) as runtime:
            assert (await drained(runtime)).ended == {"completed": 1}
        assert calls == ["a", "x", "b"]

    async def test_a_lost_step_backs_off_for_a_worker_that_has_it_and_ends_as_failed(self, shared_settings, opened):
        calls = []
        await self.interrupted_after(shared_settings, opened, ["a", "b", "c"], calls, "c")
        new = self.version(["a", "c"], calls)
        settings = replace(shared_settings, max_failures=2)
        async with opened(settings, sagas=[new], worker=True) as runtime:
            async with asyncio.timeout(20):
                while not (found := await runtime.store.find(RunFilter(statuses=("failed",)))):
                    await asyncio.sleep(0.01)
        assert "has the steps b, which saga 'rolling' has not in this deployment" in found[0].error
        assert calls == ["a", "b"]

    async def test_a_rollback_is_complete_although_the_class_gained_a_step(self, shared_settings, opened):
        calls = []
        old = self.version(["a", "b", "c"], calls, fail="c")
        reached = asyncio.Event()

        async def block(saga, ctx):
            reached.set()
            await asyncio.Event().wait()

        old.undo_b = compensate("b")(block)
        async with opened(replace(shared_settings, drain_seconds=0)) as runtime:
            run = asyncio.create_task(bind(runtime, old).run({}))
            await reached.wait()
        with pytest.raises(RunInterrupted):
            await run
        new = self.version(["x", "a", "b", "c"], calls)
        async with opened(shared_settings, sagas=[new]) as runtime:
            assert (await drained(runtime)).ended == {"rolled_back": 1}
        assert calls == ["a", "b", "c", "undo b", "undo a"]

    async def test_workers_of_both_versions_side_by_side_end_every_run(self, shared_settings, opened, ended):
        """The new version lost step b: what has it in its journal goes back until the old version takes it."""
        calls = []
        await self.interrupted_after(shared_settings, opened, ["a", "b", "c"], calls, "c")
        old, new = self.version(["a", "b", "c"], calls), self.version(["a", "c"], calls)
        async with (
            opened(shared_settings, sagas=[old], worker=True) as first,
            opened(shared_settings, sagas=[new], worker=True) as second,
        ):
            ids = [await Sagas(runtime).start(saga, {}) for runtime, saga in ((first, old), (second, new)) * 10]
            ids += [record.saga_id for record in await first.store.find(RunFilter())]
            records = [await ended(first, saga_id) for saga_id in ids]
        assert {record.status for record in records} == {"completed"}
