"""Calls of steps: under a live lease, within their time, and what comes out of them told from what is ours."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from sagaz_durable.calls import step_caller, thread_call
from sagaz_durable.calls.limits import NO_LIMITS, NotCalled
from sagaz_durable.calls.step_caller import StepCaller
from sagaz_durable.calls.thread_call import as_exception
from sagaz_durable.concurrency.cancellation import Halt
from sagaz_integration_core.errors import LeaseLost, RunInterrupted, StepError

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Threads(ThreadPoolExecutor):
    """One thread, which notes what outlives its limit."""

    exhausted = None

    def __init__(self) -> None:
        super().__init__(1)
        self.told, self.told_one = [], asyncio.Event()

    def outlived(self, future, what, seconds):
        self.told.append((what, seconds))
        self.told_one.set()


class Scope:
    """What is entered around a call: notes where, and what it saw."""

    def __init__(self) -> None:
        self.threads, self.saw, self.fails = [], [], {}

    @contextmanager
    def __call__(self):
        self.threads.append(threading.get_ident())
        if "enter" in self.fails:
            raise self.fails["enter"]
        try:
            yield
        except BaseException as error:
            self.saw.append(error)
            raise
        finally:
            if "exit" in self.fails:
                raise self.fails["exit"]


@pytest.fixture
async def scene():
    pool, scope, halt = Threads(), Scope(), Halt()
    lease = SimpleNamespace(remaining=1.0, saga_id="run-1")
    caller = StepCaller(pool, scope, lease, halt)

    limits = SimpleNamespace(shorten=lambda seconds: seconds, is_over=lambda: False)

    async def call(function, timeout=10.0, name="pay", context=None):
        given = {} if context is None else context
        async with asyncio.timeout(20):
            return await caller.call(name, function, given, timeout, limits)

    yield SimpleNamespace(pool=pool, scope=scope, halt=halt, lease=lease, caller=caller, call=call, limits=limits)
    pool.shutdown(cancel_futures=True)


async def pays(ctx):
    ctx["paid"] = True
    return {"n": 1}


def pays_plainly(ctx):
    ctx["paid"] = threading.get_ident()
    return {"n": 1}


class Paying:
    async def __call__(self, ctx):
        return threading.get_ident()


async def where(ctx, more=None):
    return threading.get_ident()


# Where it is called.


async def test_an_async_step_is_called_on_the_loop_within_its_scope(scene):
    context = {}
    outcome = await scene.call(pays, context=context)
    assert (outcome.value, outcome.error, outcome.interrupted) == ({"n": 1}, None, False)
    assert context == {"paid": True}
    assert scene.scope.threads == [threading.get_ident()]


@pytest.mark.parametrize("function", [where, Paying(), functools.partial(where, more=1)], ids=["def", "object", "part"])
async def test_whatever_is_async_is_called_on_the_loop(scene, function):
    assert (await scene.call(function)).value == threading.get_ident()
    assert len(scene.scope.threads) == 1


async def test_a_plain_step_is_called_in_a_thread_with_scope_and_context_variables(scene):
    variable = contextvars.ContextVar("variable")
    variable.set("mine")
    context, seen = {}, []
    outcome = await scene.call(lambda ctx: seen.append(variable.get()) or pays_plainly(ctx), context=context)
    assert (outcome.value, seen) == ({"n": 1}, ["mine"])
    assert scene.scope.threads == [context["paid"]] != [threading.get_ident()]
    assert scene.caller.in_threads == []


async def test_what_a_plain_step_returns_to_be_awaited_is_awaited_on_the_loop(scene):
    assert (await scene.call(lambda ctx: where(ctx))).value == threading.get_ident()
    assert len(scene.scope.threads) == 2


# A live lease.


@pytest.mark.parametrize("function", [pays, pays_plainly])
async def test_nothing_is_called_when_the_lease_has_ended(scene, function):
    scene.lease.remaining = 0
    context = {}
    with pytest.raises(LeaseLost, match="Run run-1: its lease ended before step 'pay' was called"):
        await scene.call(function, context=context)
    assert context == {}


async def test_a_lease_that_ends_while_a_plain_step_makes_a_coroutine_ends_the_call(scene):
    made = []

    def makes(ctx):
        scene.lease.remaining = 0
        made.append(where(ctx))
        return made[0]

    with pytest.raises(LeaseLost):
        await scene.call(makes)
    made[0].close()


# What it raises.


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize(
    "error", [ValueError("no"), GeneratorExit("no"), StopIteration("no"), StopAsyncIteration("no")]
)
async def test_what_a_step_raises_is_its_outcome_and_seen_by_its_scope(scene, error, plain):
    def fails(ctx):
        raise error

    async def fails_async(ctx):
        raise error

    outcome = await scene.call(fails if plain else fails_async)
    assert (outcome.value, outcome.interrupted) == (None, False)
    if isinstance(error, ValueError):
        assert outcome.error is error
    elif plain or not isinstance(error, StopIteration | StopAsyncIteration):
        assert isinstance(outcome.error, StepError)
        assert outcome.error.__cause__ is error
    assert scene.scope.saw == [outcome.error]


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("when", ["enter", "exit"])
async def test_what_the_scope_raises_is_no_fault_of_the_step(scene, plain, when):
    scene.scope.fails[when] = RuntimeError("ours")
    with pytest.raises(RuntimeError, match="ours"):
        await scene.call(pays_plainly if plain else pays)


class Stops(BaseException):
    """As Ctrl-C in the main thread."""


@pytest.mark.parametrize("plain", [True, False])
async def test_what_stops_the_process_goes_on(scene, monkeypatch, plain):
    for module in (step_caller, thread_call):
        monkeypatch.setattr(module, "stops_the_process", lambda error: isinstance(error, Stops))

    def stops(ctx):
        raise Stops

    async def stops_async(ctx):
        raise Stops

    with pytest.raises(Stops):
        await scene.call(stops if plain else stops_async)


def test_a_traceback_that_grows_with_each_time_is_cut():
    kept = ValueError("no")
    for _ in range(300):
        try:
            raise kept
        except ValueError:
            pass

    def frames():
        count, last = 0, kept.__traceback__
        while last is not None:
            count, last = count + 1, last.tb_next
        return count

    before = frames()
    assert before >= 300
    assert as_exception("pay", kept) is kept
    assert frames() == 101
    short = ValueError("no")
    assert as_exception("pay", short).__traceback__ is None


# Its time.


async def test_an_async_step_that_takes_too_long_is_stopped_on_its_way(scene):
    outcome = await scene.call(lambda ctx: asyncio.Event().wait(), 0.01)
    assert (type(outcome.error), str(outcome.error)) == (TimeoutError, "Step 'pay' timed out after 0.01 s.")
    assert outcome.interrupted


async def test_what_is_to_end_earlier_stops_an_async_step_and_no_plain_one(scene):
    async def stands(ctx):
        await asyncio.Event().wait()

    scene.limits.shorten = lambda seconds: 0.01
    assert (await scene.call(stands)).interrupted
    entered = threading.Event()
    outcome = await scene.call(lambda ctx: entered.wait(0.05))
    assert (outcome.value, outcome.interrupted) == (False, False)


@pytest.mark.parametrize("plain", [True, False])
async def test_a_step_is_not_called_when_nothing_is_called_any_more(scene, plain):
    context, scene.limits.is_over = {}, lambda: True
    with pytest.raises(NotCalled, match="Step 'pay' was not called: the run had turned back by then"):
        await scene.call(pays_plainly if plain else pays, context=context)
    assert context == {}


async def test_a_step_that_waits_for_a_thread_meanwhile_is_not_called_either(scene):
    go, busy, context = threading.Event(), threading.Event(), {}
    scene.pool.submit(lambda: busy.set() or go.wait(10))
    waiting = asyncio.create_task(scene.call(pays_plainly, context=context))
    await asyncio.to_thread(busy.wait, 10)
    scene.limits.is_over = lambda: True
    go.set()
    with pytest.raises(NotCalled):
        await waiting
    assert context == {}


async def test_a_time_limit_of_the_steps_own_is_no_limit_of_ours(scene):
    async def impatient(ctx):
        raise TimeoutError("mine")

    outcome = await scene.call(impatient)
    assert (str(outcome.error), outcome.interrupted) == ("mine", False)


async def test_a_plain_step_that_takes_too_long_goes_on_in_its_thread_and_is_told_of(scene):
    go = threading.Event()
    outcome = await scene.call(lambda ctx: go.wait(10), 0.01)
    assert (str(outcome.error), outcome.interrupted) == ("Step 'pay' timed out after 0.01 s.", True)
    assert scene.pool.told == [("step 'pay' of run run-1", 0.01)]
    assert len(scene.caller.in_threads) == 1
    again = asyncio.create_task(scene.call(pays))
    other = await scene.call(pays, name="ship")
    assert other.value == {"n": 1}
    for _ in range(5):
        await asyncio.sleep(0)
    assert not again.done(), "the same step is not called beside itself"
    go.set()
    assert (await again).value == {"n": 1}
    assert scene.caller.in_threads == []


async def test_its_time_is_over_as_soon_as_the_function_has_taken_longer(scene, monkeypatch):
    go, times = threading.Event(), iter([100.0])
    monkeypatch.setattr(thread_call, "time", SimpleNamespace(monotonic=lambda: next(times, 100.5)))
    outcome = await scene.call(lambda ctx: go.wait(10), 0.01)
    assert outcome.interrupted
    go.set()


async def test_a_call_that_came_back_in_time_is_not_told_of_later(scene):
    await scene.call(pays_plainly, 0.01)
    await asyncio.sleep(0.05)  # What is waited for is that nothing happens.
    assert scene.pool.told == []


async def test_what_comes_out_of_a_thread_that_nobody_waits_for_is_lost_in_silence(scene, caplog):
    go = threading.Event()
    scene.scope.fails["exit"] = RuntimeError("ours")
    assert (await scene.call(lambda ctx: go.wait(10), 0.01)).interrupted
    go.set()
    await asyncio.wait([asyncio.wrap_future(scene.pool.submit(int))])
    scene.caller._threads.clear()
    gc.collect()
    assert caplog.records == []


async def test_a_pool_that_does_not_watch_its_threads_is_no_trouble(scene):
    go = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        caller = StepCaller(pool, scene.scope, scene.lease, scene.halt)
        assert (await caller.call("pay", lambda ctx: go.wait(10), {}, 0.01, NO_LIMITS)).interrupted
        go.set()


async def test_waiting_for_a_thread_is_not_the_steps_time(scene):
    go, busy = threading.Event(), threading.Event()
    scene.pool.submit(lambda: busy.set() or go.wait(10))
    waiting = asyncio.create_task(scene.call(pays_plainly, 0.05))
    await asyncio.wait([waiting], timeout=0.2)
    assert not waiting.done()
    go.set()
    assert (await waiting).value == {"n": 1}


async def test_a_call_that_is_stopped_while_it_waits_for_a_thread_is_not_made(scene):
    go, context = threading.Event(), {}
    scene.pool.submit(go.wait, 10)
    waiting = asyncio.create_task(scene.call(pays_plainly, context=context))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    go.set()
    scene.pool.shutdown()
    assert (context, scene.pool.told, scene.caller.in_threads) == ({}, [], [])
    assert not scene.caller.has_begun("pay")


async def test_a_call_that_a_thread_has_taken_counts_as_begun_before_its_function_is(scene):
    """Nothing stops it then: that it was not called may not be said."""
    taken, go, context = threading.Event(), threading.Event(), {}

    class Slow(ThreadPoolExecutor):
        def submit(self, work, *given):
            return super().submit(lambda: (taken.set(), go.wait(10)) and work(*given))

    with Slow(1) as pool:
        caller = StepCaller(pool, scene.scope, scene.lease, scene.halt)
        waiting = asyncio.create_task(caller.call("pay", pays_plainly, context, 10.0, NO_LIMITS))
        await asyncio.to_thread(taken.wait, 10)
        assert not caller.has_begun("ship")
        waiting.cancel()
        await asyncio.wait([waiting])
        assert (context, caller.has_begun("pay")) == ({}, True)
        go.set()
    assert "paid" in context


async def test_a_call_that_nobody_waits_for_any_more_is_told_of_when_its_time_is_over(scene):
    go, entered = threading.Event(), threading.Event()
    waiting = asyncio.create_task(scene.call(lambda ctx: entered.set() or go.wait(10), 0.2))
    await asyncio.to_thread(entered.wait, 10)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert scene.pool.told == [], "it has some time left"
    async with asyncio.timeout(10):
        await scene.pool.told_one.wait()
    assert scene.pool.told == [("step 'pay' of run run-1", 0.2)]
    go.set()


async def test_a_pool_whose_threads_do_not_come_back_gets_no_more_plain_steps(scene):
    scene.pool.exhausted = "3 threads are gone"
    with pytest.raises(RunInterrupted, match="calls no more `def` steps: 3 threads are gone"):
        await scene.call(pays_plainly)
    assert (await scene.call(pays)).value == {"n": 1}


# Its own cancellation.


async def test_a_step_that_cancels_itself_has_failed_on_its_way(scene):
    async def raises(ctx):
        raise asyncio.CancelledError("me")

    async def waits(ctx):
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    async def returns(ctx):
        asyncio.current_task().cancel()
        return {"n": 1}

    for function in (raises, waits, returns):
        outcome = await scene.call(function)
        assert "Step 'pay' raised CancelledError, or cancelled its own task" in str(outcome.error)
        assert (outcome.interrupted, outcome.value) == (True, None)
        assert isinstance(outcome.error.__cause__, asyncio.CancelledError) is (function is not returns)
        assert asyncio.current_task().cancelling() == 0


async def test_a_step_of_a_run_that_is_stopped_is_cancelled_and_has_not_failed(scene):
    entered = asyncio.Event()

    async def waits(ctx):
        entered.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(scene.call(waits))
    await entered.wait()
    scene.halt.reason = RunInterrupted("stopping")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_step_that_goes_on_although_its_run_is_stopped_returns_what_it_has(scene):
    entered = asyncio.Event()

    async def goes_on(ctx):
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return {"n": 1}

    task = asyncio.create_task(scene.call(goes_on))
    await entered.wait()
    scene.halt.reason = RunInterrupted("stopping")
    task.cancel()
    assert (await task).value == {"n": 1}
