"""What a step may do, return and raise, and what becomes of the run."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import replace

import pytest
from sagaz import Saga, SagaStatus, action, compensate

from sagaz_durable.runtime.bound_saga import bind
from sagaz_integration_core.context.current_step import current_step
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.errors import ContextValueError, RunInterrupted, StepError


async def only_run(runtime):
    [record] = await runtime.store.find(RunFilter())
    return record


async def test_plain_def_steps_run_in_threads_and_see_their_run(runtime):
    class Plain(Saga):
        @action("one")
        def one(self, ctx):
            return {"thread": threading.current_thread() is threading.main_thread(), "key": current_step().step}

    result = await bind(runtime, Plain).run({})
    assert (result["thread"], result["key"]) == (False, "one")


async def test_a_step_keeps_what_it_returns_and_what_it_assigns_even_deep_inside(runtime):
    class Mutating(Saga):
        @action("one")
        async def one(self, ctx):
            ctx["items"].append({"n": 2})
            ctx["new"] = True
            return {"returned": 1}

        @action("two", depends_on=["one"])
        async def two(self, ctx):
            return dict(ctx)

    result = await bind(runtime, Mutating).run({"items": [{"n": 1}]})
    assert result["items"] == [{"n": 1}, {"n": 2}]
    assert (result["new"], result["returned"]) == (True, 1)
    steps = await runtime.store.load_steps(result.saga_id)
    assert json.loads(steps[0].result) == {"items": [{"n": 1}, {"n": 2}], "new": True, "returned": 1}
    assert steps[1].result is None, "returning the whole context writes nothing anew"


async def test_a_key_that_a_step_deletes_is_there_again_for_the_next_one_and_in_the_end(runtime):
    class Deleting(Saga):
        @action("one")
        async def one(self, ctx):
            del ctx["given"]
            return {"one": 1}

        @action("two", depends_on=["one"])
        async def two(self, ctx):
            return {"seen": ctx["given"], "one": ctx.pop("one")}

    result = await bind(runtime, Deleting).run({"given": "x"})
    assert (result["given"], result["seen"], result["one"]) == ("x", "x", 1)
    steps = await runtime.store.load_steps(result.saga_id)
    assert [json.loads(step.result) for step in steps] == [{"one": 1}, {"seen": "x"}]


async def test_what_a_step_returns_counts_more_than_what_it_assigns(runtime):
    class Both(Saga):
        @action("one")
        async def one(self, ctx):
            ctx["n"], ctx["assigned"] = "assigned", True
            return {"n": "returned"}

    result = await bind(runtime, Both).run({"n": "given"})
    assert (result["n"], result["assigned"]) == ("returned", True)


@pytest.mark.parametrize("bad", [{"when": object()}, {"saga_id": "mine"}, {"__x": 1}])
async def test_a_result_that_cannot_be_kept_fails_the_step_and_undoes_it(runtime, bad, ledger):
    class Odd(Saga):
        @action("one")
        async def one(self, ctx):
            return bad

        @compensate("one")
        async def undo(self, ctx):
            ledger.append("undo")

    with pytest.raises(ContextValueError):
        await bind(runtime, Odd).run({})
    assert ledger == ["undo"]
    assert (await only_run(runtime)).status == "rolled_back"


async def test_a_timed_out_step_is_in_doubt_and_is_compensated(runtime, ledger):
    class Slow(Saga):
        @action("charge", timeout_seconds=0.05)
        async def charge(self, ctx):
            await asyncio.Event().wait()

        @compensate("charge")
        async def refund(self, ctx):
            ledger.append(current_step().idempotency_key)

    with pytest.raises(TimeoutError, match=r"'charge' timed out after 0\.05 s"):
        await bind(runtime, Slow).run({})
    record = await only_run(runtime)
    assert ledger == [f"{record.saga_id}:charge:undo"]
    assert [s.status for s in await runtime.store.load_steps(record.saga_id)] == ["in_doubt", "done"]


async def test_a_timed_out_plain_step_is_compensated_only_after_its_thread_has_ended(runtime, ledger):
    release = threading.Event()

    class Slow(Saga):
        @action("charge", timeout_seconds=0.05)
        def charge(self, ctx):
            release.wait(10)
            ledger.append("charged")

        @compensate("charge")
        def refund(self, ctx):
            ledger.append("refunded")

    run = asyncio.create_task(bind(runtime, Slow).run({}))
    async with asyncio.timeout(10):
        while not await runtime.store.find(RunFilter(statuses=("compensating",))):
            await asyncio.sleep(0.01)
    release.set()
    with pytest.raises(TimeoutError):
        await run
    assert ledger == ["charged", "refunded"]


async def test_a_step_that_raises_cancelled_error_fails_instead_of_passing_for_success(runtime):
    class Odd(Saga):
        @action("one")
        async def one(self, ctx):
            raise asyncio.CancelledError

    with pytest.raises(StepError, match="without having been stopped"):
        await bind(runtime, Odd).run({})


async def test_a_failed_compensation_ends_as_failed_and_keeps_every_error(runtime, ledger):
    class Sad(Saga):
        @action("a")
        async def a(self, ctx):
            return None

        @compensate("a")
        async def undo_a(self, ctx):
            ledger.append("undo a")

        @action("b", depends_on=["a"])
        async def b(self, ctx):
            return None

        @compensate("b")
        async def undo_b(self, ctx):
            raise OSError("provider is away")

        @action("c", depends_on=["b"])
        async def c(self, ctx):
            raise ValueError("no")

    with pytest.raises(ValueError, match="no") as caught:
        await bind(runtime, Sad).run({})
    record = await only_run(runtime)
    assert record.status == SagaStatus.FAILED.value
    assert "step 'c': ValueError: no" in record.error
    assert "compensation of 'b': OSError: provider is away" in record.error
    assert ledger == ["undo a"], "the other compensations are attempted all the same"
    assert "failed" in caught.value.__notes__[0]


async def test_undoing_keeps_its_order_across_a_step_without_compensation(runtime, ledger):
    class Chain(Saga):
        @action("a")
        async def a(self, ctx): ...

        @compensate("a")
        async def undo_a(self, ctx):
            ledger.append("a")

        @action("b", depends_on=["a"])
        async def b(self, ctx): ...

        @action("c", depends_on=["b"])
        async def c(self, ctx): ...

        @compensate("c")
        async def undo_c(self, ctx):
            await asyncio.sleep(0)
            ledger.append("c")

        @action("d", depends_on=["c"])
        async def d(self, ctx):
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await bind(runtime, Chain).run({})
    assert ledger == ["c", "a"]


async def test_max_retries_are_honoured_only_when_the_saga_asks_for_it(runtime):
    calls = {"asks": 0, "does not": 0}

    class Base(Saga):
        @action("one", max_retries=2)
        async def one(self, ctx):
            calls[ctx["who"]] += 1
            assert current_step().retry == calls[ctx["who"]] - 1
            raise ValueError("no")

    class Asks(Base):
        retry_steps = True

    class DoesNot(Base):
        saga_name = "does-not"

    for saga, who in ((Asks, "asks"), (DoesNot, "does not")):
        with pytest.raises(ValueError, match="no"):
            await bind(runtime, saga).run({"who": who})
    assert calls == {"asks": 3, "does not": 1}


async def test_a_step_is_not_tried_again_before_its_pause_is_over(settings, opened):
    calls = []
    failed = asyncio.Event()

    class Retried(Saga):
        retry_steps = True

        @action("one", max_retries=2)
        async def one(self, ctx):
            calls.append(current_step().retry)
            failed.set()
            raise ValueError("no")

    async with opened(replace(settings, backoff_seconds=60)) as runtime:
        run = asyncio.create_task(bind(runtime, Retried).run({}))
        await failed.wait()
        await runtime.drain(0.2)
        with pytest.raises(RunInterrupted):
            await run
    assert calls == [0]


async def test_a_failure_behind_a_pivot_needs_a_person(runtime, ledger):
    class Pivoted(Saga):
        @action("a")
        async def a(self, ctx): ...

        @compensate("a")
        async def undo_a(self, ctx):
            ledger.append("a")

        @action("pay", depends_on=["a"], pivot=True)
        async def pay(self, ctx): ...

        @action("ship", depends_on=["pay"])
        async def ship(self, ctx):
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await bind(runtime, Pivoted).run({})
    record = await only_run(runtime)
    assert (record.status, ledger) == ("failed", [])
    assert "pivot pay" in record.error


async def test_concurrent_runs_of_one_bound_saga_do_not_mix(runtime):
    class Echo(Saga):
        @action("one")
        async def one(self, ctx):
            self.mine = ctx["n"]
            await asyncio.sleep(0)
            return {"seen": self.mine}

    saga = bind(runtime, Echo)
    results = await asyncio.gather(*(saga.run({"n": n}) for n in range(20)))
    assert [r["seen"] for r in results] == list(range(20))
    assert len({r.saga_id for r in results}) == 20


async def test_a_cancelled_caller_does_not_cancel_the_run(runtime, ended):
    entered, go = asyncio.Event(), asyncio.Event()

    class Waiting(Saga):
        @action("one")
        async def one(self, ctx):
            entered.set()
            await go.wait()

    caller = asyncio.create_task(bind(runtime, Waiting).run({}))
    await entered.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    go.set()
    record = await ended(runtime, (await only_run(runtime)).saga_id)
    assert record.status == "completed"


async def test_parallel_steps_each_keep_their_own_result(runtime):
    class Wide(Saga):
        @action("a")
        async def a(self, ctx):
            return {"a": 1}

        @action("b")
        async def b(self, ctx):
            return {"b": 2}

    result = await bind(runtime, Wide).run({})
    assert (result["a"], result["b"]) == (1, 2)
    results = {s.step: json.loads(s.result) for s in await runtime.store.load_steps(result.saga_id)}
    assert results == {"a": {"a": 1}, "b": {"b": 2}}


def test_current_step_outside_a_step_says_so():
    with pytest.raises(LookupError, match="outside a step"):
        current_step()


@pytest.mark.parametrize("error", [GeneratorExit(), BaseExceptionGroup("group", [GeneratorExit()])], ids=repr)
@pytest.mark.parametrize("plain", [False, True])
async def test_a_step_that_raises_what_is_no_exception_fails_and_leaves_the_process_alone(runtime, error, plain):
    class Odd(Saga):
        if plain:

            @action("one")
            def one(self, ctx):
                raise error
        else:

            @action("one")
            async def one(self, ctx):
                raise error

    with pytest.raises(StepError, match=type(error).__name__):
        await bind(runtime, Odd).run({})
    assert (await only_run(runtime)).status == "rolled_back"


async def test_a_plain_step_that_raises_stop_iteration_fails_instead_of_hanging(runtime):
    class Odd(Saga):
        @action("one")
        def one(self, ctx):
            next(iter([]))

    with pytest.raises(StepError, match="StopIteration"):
        await bind(runtime, Odd).run({})


async def test_a_run_whose_insertion_is_answered_after_a_shutdown_is_given_back_uncalled(
    shared_settings, opened, ledger, monkeypatch
):
    class Noting(Saga):
        @action("one")
        def one(self, ctx):
            ledger.append(ctx["n"])

    async with opened(shared_settings) as runtime:
        inserted, answered = asyncio.Event(), asyncio.Event()
        insert = runtime.store.insert

        async def slow(*args):
            answer = await insert(*args)
            inserted.set()
            await answered.wait()
            return answer

        monkeypatch.setattr(runtime.store, "insert", slow)
        run = asyncio.create_task(bind(runtime, Noting).run({"n": 1}))
        await inserted.wait()
        await runtime.drain()
        answered.set()
        with pytest.raises(RunInterrupted):
            await run
        [record] = await runtime.store.find(RunFilter())
    assert (record.status, ledger) == ("pending", [])


async def test_a_plain_step_that_still_waits_for_a_thread_is_not_called_after_its_run_was_stopped(
    settings, opened, ledger
):
    go, entered = threading.Event(), threading.Event()

    class Blocking(Saga):
        @action("one")
        def one(self, ctx):
            ledger.append(ctx["n"])
            entered.set()
            go.wait(10)

    async with opened(replace(settings, sync_threads=1, drain_seconds=0)) as runtime:
        saga = bind(runtime, Blocking)
        first = asyncio.create_task(saga.run({"n": 1}))
        await asyncio.to_thread(entered.wait, 10)
        second = asyncio.create_task(saga.run({"n": 2}))
        async with asyncio.timeout(10):
            while len(await runtime.store.find(RunFilter(statuses=("executing",)))) < 2:
                await asyncio.sleep(0.01)
        await runtime.drain()
        assert isinstance((await asyncio.gather(first, second, return_exceptions=True))[1], RunInterrupted)
        go.set()
    assert ledger == [1]
