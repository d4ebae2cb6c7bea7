"""No run ends as what it is not: whatever user code, hooks, stores and deployments do."""

from __future__ import annotations

import asyncio
import gc
import json
from collections import Counter
from dataclasses import replace

import pytest
from sagaz import Saga, action, compensate
from sagaz.core.listeners import SagaListener

from sagaz_durable.sagas import Sagas
from sagaz_durable.stores.factory import create_store
from sagaz_integration_core.context.current_step import current_step
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.contract.records import FirstStep, NewRun, RunWrite, StepWrite
from sagaz_integration_core.errors import (
    RunFailed,
    RunInterrupted,
    RunWaiting,
    StepError,
    UnstorableValue,
    WriteRefused,
)


class Unprintable(Exception):
    def __str__(self) -> str:
        raise KeyError("value")


async def cancelled_hook(ctx, step, *more):
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def only_run(runtime):
    [record] = await runtime.store.find(RunFilter())
    return record


def chain(ledger, *names, fails=None, name="Chain", after=None, without=()):
    """A saga of steps one after the other, which note what is called."""

    def member(step, before):
        @action(step, depends_on=[before] if before else [])
        async def do(self, ctx):
            ledger.append(step)
            if step == fails:
                raise ValueError("no")
            if after is not None:
                await after(step)
            return {step: 1}

        @compensate(step)
        async def undo(self, ctx):
            ledger.append(f"undo {step}")

        return {f"do_{step}": do} | ({} if step in without else {f"undo_{step}": undo})

    members = {"saga_name": name}
    for before, step in zip((None, *names), names, strict=False):
        members |= member(step, before)
    return type(name, (Saga,), members)


class Refusing:
    """A store that refuses, or cannot store, some writes."""

    def __init__(self, store, refuse):
        self._store, self._refuse = store, refuse

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def write(self, writes):
        for write in writes:
            if (error := self._refuse(write)) is not None:
                raise error
        return await self._store.write(writes)


def refusing(refuse):
    return lambda settings: Refusing(create_store(settings), refuse)


def done(step):
    return lambda write: any((entry.step, entry.status) == (step, "done") for entry in write.steps)


# What comes out of the store.


async def test_a_write_that_is_refused_for_a_while_is_repeated_and_not_the_call(settings, opened, ledger):
    refusals = iter([WriteRefused("a trigger says no")] * 3)
    refuse = lambda write: next(refusals, None) if done("b")(write) else None  # noqa: E731
    saga = chain(ledger, "a", "b", "c")
    async with opened(settings, open_store=refusing(refuse)) as runtime:
        result = await Sagas(runtime).run(saga, {})
    assert (result.status.value, ledger) == ("completed", ["a", "b", "c"])


@pytest.mark.parametrize("error", [WriteRefused("no"), RuntimeError("ours"), LookupError("ours")], ids=repr)
async def test_a_write_that_stays_refused_halts_the_run_and_undoes_nothing(settings, opened, ended, ledger, error):
    settings = replace(settings, lease_seconds=1, renew_seconds=0.2, max_failures=2)
    saga = chain(ledger, "a", "b", "c")
    refuse = lambda write: error if done("b")(write) else None  # noqa: E731
    async with opened(settings, open_store=refusing(refuse), sagas=[saga], worker=True) as runtime:
        record = await ended(runtime, await Sagas(runtime).start(saga, {}))
    assert record.status == "failed"
    assert str(error) in record.error, "the cause is kept"
    assert Counter(ledger) == {"a": 1, "b": 2}, "nothing is compensated, and what had no end is called again"


async def test_the_end_of_a_step_that_is_refused_when_nobody_waits_for_it_halts_the_run(settings, opened, ledger):
    go = asyncio.Event()
    settings = replace(settings, lease_seconds=1, renew_seconds=0.2)
    refused = asyncio.Event()

    class Wide(Saga):
        @action("quick")
        async def quick(self, ctx):
            return {"quick": 1}

        @action("slow")
        async def slow(self, ctx):
            await refused.wait()
            await go.wait()

    def refuse(write):
        if done("quick")(write):
            refused.set()
            return WriteRefused("no")
        return None

    async with opened(settings, open_store=refusing(refuse)) as runtime:
        with pytest.raises(RunInterrupted, match="no"):
            await Sagas(runtime).run(Wide, {})
        record = await only_run(runtime)
        steps = {step.step: step.status for step in await runtime.store.load_steps(record.saga_id)}
    assert record.status == "pending"
    assert steps == {"quick": "started", "slow": "started"}


async def test_a_result_that_the_database_can_never_store_ends_the_run_as_failed_and_names_step_and_path(
    settings, opened, ledger
):
    class Order(Saga):
        @action("reserve")
        async def reserve(self, ctx): ...

        @compensate("reserve")
        async def release(self, ctx):
            ledger.append("undo")

        @action("greet", depends_on=["reserve"])
        async def greet(self, ctx):
            ledger.append("greet")
            return {"card": {"text": "hello \N{PARTY POPPER}"}, "plain": "x"}

        @action("ship", depends_on=["greet"])
        async def ship(self, ctx):
            ledger.append("ship")

    def refuse(write):
        if any("\N{PARTY POPPER}" in (entry.result or "") for entry in write.steps):
            return UnstorableValue("the character has no equivalent in LATIN1")
        return None

    async with opened(settings, open_store=refusing(refuse)) as runtime:
        with pytest.raises(RunFailed, match=r"step 'greet' returned, probably at card\.text"):
            await Sagas(runtime).run(Order, {})
        record = await only_run(runtime)
        steps = {step.step: step.status for step in await runtime.store.load_steps(record.saga_id)}
    assert (record.status, ledger) == ("failed", ["greet"])
    assert steps == {"reserve": "done", "greet": "in_doubt"}


async def test_a_signal_whose_key_the_database_can_never_store_ends_the_run_as_failed_and_names_the_step(
    settings, opened, ledger
):
    class Order(chain(ledger, "a")):
        @action("pay", depends_on=["a"])
        async def pay(self, ctx):
            await current_step().signal("paid", key="\N{PARTY POPPER}")

    def refuse(write):
        if all((wait.key or "").isascii() for wait in write.waits):
            return None
        return UnstorableValue("the character has no equivalent in LATIN1.")

    async with opened(settings, open_store=refusing(refuse)) as runtime:
        with pytest.raises(RunFailed, match="in the name or the key of a signal for which step 'pay' waits"):
            await Sagas(runtime).run(Order, {})
        record = await only_run(runtime)
    assert (record.status, ledger) == ("failed", ["a"])


async def test_an_error_whose_text_the_database_cannot_store_is_kept_in_plain_characters(settings, opened, ledger):
    class Odd(Saga):
        @action("a")
        async def a(self, ctx):
            raise ValueError("no \N{PARTY POPPER}")

    def refuse(write):
        texts = [entry.error or "" for entry in write.steps] + [write.error or ""]
        return None if all(map(str.isascii, texts)) else UnstorableValue("no such character")

    async with opened(settings, open_store=refusing(refuse)) as runtime:
        with pytest.raises(ValueError, match="no"):
            await Sagas(runtime).run(Odd, {})
        record = await only_run(runtime)
    assert record.status == "rolled_back"
    assert r"no \U0001f389" in record.error


@pytest.mark.parametrize(
    ("context", "status", "result", "told"),
    [
        ("[1]", "done", "{}", "expected an object"),
        ('{"n":1}', "done", "[1]", "expected an object"),
        ('{"n":1}', "finished", "{}", "status of step 'a' is 'finished', which this release does not know"),
    ],
    ids=["context", "result", "status"],
)
async def test_what_is_stored_and_cannot_be_read_stops_the_run_and_undoes_nothing(
    shared_settings, opened, ended, ledger, context, status, result, told
):
    settings = replace(shared_settings, max_failures=2)
    saga = chain(ledger, "a", "b")
    async with opened(settings) as runtime:
        store = runtime.store
        await store.insert(
            [NewRun("run-1", "Chain", context, "f", lease_owner="gone", first_steps=(FirstStep("a", True),))], 30
        )
        await store.write([RunWrite("run-1", "gone", 1, (StepWrite("a", "do", status, result),))])
        from sagaz_integration_core.contract.records import Release

        await store.write([RunWrite("run-1", "gone", 1, release=Release())])
    async with opened(settings, sagas=[saga], worker=True) as runtime:
        record = await ended(runtime, "run-1")
    assert (record.status, ledger) == ("failed", [])
    assert told in record.error


# What comes out of user code.


async def test_an_exception_that_cannot_be_printed_fails_its_step_like_any_other(runtime, ledger):
    class Odd(chain(ledger, "a")):
        @action("b", depends_on=["a"])
        async def b(self, ctx):
            raise Unprintable

    with pytest.raises(Unprintable):
        await Sagas(runtime).run(Odd, {})
    record = await only_run(runtime)
    assert (record.status, ledger) == ("rolled_back", ["a", "undo a"])
    assert "Unprintable" in record.error


async def test_a_compensation_whose_exception_cannot_be_printed_has_failed(runtime):
    class Odd(Saga):
        @action("a")
        async def a(self, ctx): ...

        @compensate("a")
        async def undo(self, ctx):
            raise Unprintable

        @action("b", depends_on=["a"])
        async def b(self, ctx):
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await Sagas(runtime).run(Odd, {})
    record = await only_run(runtime)
    assert record.status == "failed"
    assert "compensation of 'a': Unprintable" in record.error


async def test_a_hook_whose_await_was_cancelled_skips_neither_step_nor_compensation(runtime, ledger):
    class Hooked(Saga):
        @action("a", on_enter=cancelled_hook, on_success=cancelled_hook)
        async def a(self, ctx):
            ledger.append("a")

        @compensate("a", on_compensate=cancelled_hook)
        async def undo(self, ctx):
            ledger.append("undo a")

        @action("b", depends_on=["a"], on_enter=cancelled_hook, on_failure=cancelled_hook)
        async def b(self, ctx):
            ledger.append("b")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await Sagas(runtime).run(Hooked, {})
    assert ledger == ["a", "b", "undo a"]
    assert (await only_run(runtime)).status == "rolled_back"


@pytest.mark.parametrize(
    "error", [GeneratorExit(), asyncio.CancelledError(), ValueError("no"), Unprintable()], ids=type
)
async def test_a_listener_that_raises_neither_fails_nor_halts_a_run(runtime, error):
    heard = Counter()

    class Bad(SagaListener):
        async def on_saga_start(self, *values):
            raise error

        on_step_enter = on_step_success = on_saga_complete = on_saga_start

    class Good(SagaListener):
        async def on_step_success(self, *values):
            heard["success"] += 1

    class Told(Saga):
        listeners = [Bad(), Good()]

        @action("a")
        async def a(self, ctx): ...

    assert (await Sagas(runtime).run(Told, {})).status.value == "completed"
    assert heard == {"success": 1}


async def test_a_hook_that_hangs_is_given_up_and_the_run_goes_on(runtime, monkeypatch):
    from sagaz_durable.calls import hooks

    monkeypatch.setattr(hooks, "_SECONDS", 0.05)

    async def hangs(ctx, step):
        await asyncio.Event().wait()

    class Hooked(Saga):
        @action("a", on_enter=hangs)
        async def a(self, ctx):
            return {"a": 1}

    assert (await Sagas(runtime).run(Hooked, {}))["a"] == 1


async def test_keyboard_interrupt_in_a_plain_step_is_that_steps_failure(runtime, ledger):
    class Odd(chain(ledger, "a")):
        @action("b", depends_on=["a"])
        def b(self, ctx):
            raise KeyboardInterrupt

    with pytest.raises(StepError, match="KeyboardInterrupt"):
        await Sagas(runtime).run(Odd, {})
    assert ledger == ["a", "undo a"]


async def charge_card():
    return {"charged": True}


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (charge_card, r"a coroutine \(charge_card\) that nobody awaited.*`return await …`"),
        (lambda: asyncio.ensure_future(charge_card()), "a Task that nobody awaited"),
        (lambda: [1], "returned a list; a step returns a dict"),
        (object, "returned a object; a step returns a dict"),
        (lambda: "ok", "returned a str"),
    ],
    ids=["coroutine", "task", "list", "object", "str"],
)
async def test_what_a_step_returns_is_a_dict_or_none_or_it_has_failed_in_doubt_and_is_not_retried(
    runtime, ledger, make, told
):
    class Odd(Saga):
        retry_steps = True

        @action("charge", max_retries=3)
        async def charge(self, ctx):
            ledger.append("charge")
            return make()

        @compensate("charge")
        async def refund(self, ctx):
            ledger.append("refund")

    with pytest.raises(StepError, match=told):
        await Sagas(runtime).run(Odd, {})
    assert ledger == ["charge", "refund"]
    gc.collect()


async def test_a_compensation_that_forgets_to_await_has_failed(runtime):
    class Odd(chain([], "a")):
        @compensate("a")
        async def undo_a(self, ctx):
            return charge_card()

        @action("b", depends_on=["a"])
        async def b(self, ctx):
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await Sagas(runtime).run(Odd, {})
    assert (await only_run(runtime)).status == "failed"


async def test_a_plain_step_around_an_async_one_is_awaited(runtime):
    class Wrapped(Saga):
        @action("a")
        def a(self, ctx):
            return charge_card()

    assert (await Sagas(runtime).run(Wrapped, {}))["charged"] is True


@pytest.mark.parametrize("waits", [True, False])
async def test_a_step_that_cancels_its_own_task_has_failed(runtime, waits):
    class Odd(Saga):
        @action("a")
        async def a(self, ctx):
            asyncio.current_task().cancel()
            if waits:
                await asyncio.sleep(0)

    with pytest.raises(StepError, match="cancelled its own task"):
        await Sagas(runtime).run(Odd, {})
    assert (await only_run(runtime)).status == "rolled_back"


async def test_a_hook_that_cancels_the_task_that_calls_it_changes_nothing(runtime, ledger):
    class Odd(Saga):
        @action("a", on_success=lambda ctx, step, result: asyncio.current_task().cancel())
        async def a(self, ctx): ...

        @action("b", depends_on=["a"], on_enter=lambda ctx, step: asyncio.current_task().cancel())
        async def b(self, ctx):
            await asyncio.sleep(0)
            ledger.append("b")

    assert (await Sagas(runtime).run(Odd, {})).status.value == "completed"
    assert ledger == ["b"]


async def test_each_try_of_a_step_gets_a_fresh_copy_of_the_context(runtime):
    tries = []

    class Retried(Saga):
        retry_steps = True

        @action("a", max_retries=2)
        async def a(self, ctx):
            ctx["items"].append("x")
            tries.append(1)
            if len(tries) < 3:
                raise ValueError("again")

    assert (await Sagas(runtime).run(Retried, {"items": []}))["items"] == ["x"]


@pytest.mark.parametrize(
    ("old", "new"), [(1, True), (1, 1.0), (True, 1), (0, False), ([1], [True]), ({"a": 1}, {"a": 1.0})]
)
async def test_a_value_that_changes_its_type_alone_has_changed(runtime, old, new):
    class Typed(Saga):
        @action("a")
        async def a(self, ctx):
            return {"paid": new}

    result = await Sagas(runtime).run(Typed, {"paid": old})
    assert json.dumps(result["paid"]) == json.dumps(new)


async def test_a_step_sees_what_it_depends_on_and_nothing_of_what_runs_beside_it(runtime):
    seen = {}

    class Wide(Saga):
        @action("price")
        async def price(self, ctx):
            return {"price": 9}

        @action("stock")
        async def stock(self, ctx):
            return {"stock": 1}

        @action("charge", depends_on=["price"])
        async def charge(self, ctx):
            seen.update(ctx)

        @action("ship", depends_on=["charge", "stock"])
        async def ship(self, ctx):
            assert (ctx["price"], ctx["stock"]) == (9, 1)

    await Sagas(runtime).run(Wide, {"order": 1})
    assert seen.keys() == {"order", "price", "saga_id"}


async def test_a_failure_after_a_call_without_a_known_end_is_in_doubt_and_is_undone(
    shared_settings, opened, ended, ledger
):
    async with opened(shared_settings) as runtime:
        from sagaz_integration_core.contract.records import Release

        store = runtime.store
        await store.insert(
            [NewRun("run-1", "Chain", "{}", "f", lease_owner="gone", first_steps=(FirstStep("a", True),))], 30
        )
        await store.write([RunWrite("run-1", "gone", 1, release=Release())])
    saga = chain(ledger, "a", fails="a")
    async with opened(shared_settings, sagas=[saga], worker=True) as runtime:
        record = await ended(runtime, "run-1")
    assert (record.status, ledger) == ("rolled_back", ["a", "undo a"])


async def test_a_step_that_the_timeout_struck_once_is_undone_although_its_last_try_failed_otherwise(runtime, ledger):
    class Retried(Saga):
        retry_steps = True

        @action("charge", max_retries=1)
        async def charge(self, ctx):
            ledger.append(current_step().retry)
            raise TimeoutError("no answer") if current_step().retry == 0 else ValueError("no")

        @compensate("charge")
        async def refund(self, ctx):
            ledger.append("refund")

    with pytest.raises(ValueError, match="no"):
        await Sagas(runtime).run(Retried, {})
    assert ledger == [0, 1, "refund"]


async def test_a_timeout_in_a_task_group_of_the_steps_own_leaves_it_in_doubt(runtime, ledger):
    class Grouped(Saga):
        @action("charge")
        async def charge(self, ctx):
            ledger.append("charge")
            async with asyncio.TaskGroup() as group:
                group.create_task(self.call_the_provider())

        async def call_the_provider(self):
            raise TimeoutError("no answer")

        @compensate("charge")
        async def refund(self, ctx):
            ledger.append("refund")

    with pytest.raises(ExceptionGroup):
        await Sagas(runtime).run(Grouped, {})
    assert ledger == ["charge", "refund"]


async def test_an_exception_that_a_module_keeps_does_not_grow_with_each_run(runtime):
    kept = ValueError("no")

    class Odd(Saga):
        @action("a")
        async def a(self, ctx):
            raise kept

    for _ in range(30):
        with pytest.raises(ValueError, match="no"):
            await Sagas(runtime).run(Odd, {})
    assert len(kept.__notes__) == 1
    frames = 0
    traceback = kept.__traceback__
    while traceback is not None:
        frames, traceback = frames + 1, traceback.tb_next
    assert frames < 200


# What deployments change.


async def half_done(store, *done, started=(), status="executing"):
    """A run whose process has died: some steps are done, some had begun."""
    from sagaz_integration_core.contract.records import Release

    await store.insert([NewRun("run-1", "Chain", "{}", "f", lease_owner="gone")], 30)
    entries = [StepWrite(step, "do", "started", compensated=True) for step in (*done, *started)]
    entries += [StepWrite(step, "do", "done", f'{{"{step}":1}}') for step in done]
    await store.write([RunWrite("run-1", "gone", 1, tuple(entries))])
    if status == "compensating":
        await store.write([RunWrite("run-1", "gone", 1, status="compensating", error="step 'z': ValueError: no")])
    await store.write([RunWrite("run-1", "gone", 1, release=Release())])


async def resumed(settings, opened, ended, saga, *done, started=(), status="executing"):
    async with opened(settings) as runtime:
        await half_done(runtime.store, *done, started=started, status=status)
    async with opened(settings, sagas=[saga], worker=True) as runtime:
        return await ended(runtime, "run-1")


async def test_a_step_that_a_deployment_gained_and_that_fails_leaves_nothing_that_was_done_before(
    shared_settings, opened, ended, ledger
):
    saga = chain(ledger, "a", "y", "b", "c", fails="y")
    record = await resumed(shared_settings, opened, ended, saga, "a", "b", started=["c"])
    assert record.status == "rolled_back"
    assert ledger == ["y", "undo c", "undo b", "undo a"]


async def test_turned_dependencies_leave_nothing_that_was_done_before(shared_settings, opened, ended, ledger):
    saga = chain(ledger, "c", "b", "a", fails="c")
    record = await resumed(shared_settings, opened, ended, saga, "a", "b", started=["c"])
    assert record.status == "rolled_back"
    assert sorted(ledger) == ["c", "undo a", "undo b", "undo c"]


async def test_a_compensation_that_a_deployment_has_lost_is_named_and_the_run_has_failed(
    shared_settings, opened, ended, ledger
):
    saga = chain(ledger, "a", "b", "c", without=["a"])
    record = await resumed(shared_settings, opened, ended, saga, "a", "b", status="compensating")
    assert (record.status, ledger) == ("failed", ["undo b"])
    assert "step 'a' is not undone: this deployment has no compensation of step 'a'" in record.error


@pytest.mark.parametrize("fails", ["b", "c"], ids=["it_fails", "what_follows_fails"])
async def test_a_compensation_that_was_lost_while_its_step_was_in_doubt_is_owed_although_the_step_is_called_again(
    shared_settings, opened, ended, ledger, fails
):
    saga = chain(ledger, "a", "b", "c", fails=fails, without=["b"])
    record = await resumed(shared_settings, opened, ended, saga, "a", started=["b"])
    assert record.status == "failed"
    assert "step 'b' is not undone: this deployment has no compensation of step 'b'" in record.error
    assert ledger == (["b", "undo a"] if fails == "b" else ["b", "c", "undo a"])


async def test_a_compensation_that_was_lost_while_its_step_waited_is_owed_although_the_step_goes_on(
    shared_settings, opened, ended
):
    def deployment(*, compensated):
        class Approved(Saga):
            saga_name = "Approved"

            @action("pay")
            async def pay(self, ctx):
                await current_step().signal("approved")

            if compensated:

                @compensate("pay")
                async def refund(self, ctx): ...

            @action("ship", depends_on=["pay"])
            async def ship(self, ctx):
                raise ValueError("no")

        return Approved

    old, new = deployment(compensated=True), deployment(compensated=False)
    async with opened(shared_settings, sagas=[old]) as runtime:
        with pytest.raises(RunWaiting):
            await Sagas(runtime).run(old, {})
        waiting = await only_run(runtime)
    async with opened(shared_settings, sagas=[new], worker=True) as runtime:
        assert await Sagas(runtime).send_signal("approved", saga_id=waiting.saga_id)
        record = await ended(runtime, waiting.saga_id)
    assert record.status == "failed"
    assert "this deployment has no compensation of step 'pay'" in record.error


async def test_a_step_that_a_deployment_has_renamed_is_not_called_under_its_new_name(
    shared_settings, opened, ended, ledger
):
    saga = chain(ledger, "a", "renamed")
    record = await resumed(replace(shared_settings, max_failures=2), opened, ended, saga, "a", "b")
    assert (record.status, ledger) == ("failed", [])
    assert "the steps b, which saga 'Chain' has not in this deployment" in record.error


async def test_a_run_that_rolls_back_undoes_what_it_can_when_a_step_was_renamed(shared_settings, opened, ended, ledger):
    saga = chain(ledger, "a", "renamed")
    record = await resumed(shared_settings, opened, ended, saga, "a", "b", status="compensating")
    assert (record.status, ledger) == ("failed", ["undo a"])
    assert "this deployment has no step 'b'" in record.error


async def test_a_step_whose_slow_hook_is_overtaken_by_a_failure_beside_it_is_not_called(runtime, ledger):
    failed = asyncio.Event()

    async def slow(ctx, step):
        await failed.wait()

    class Wide(Saga):
        @action("slow", on_enter=slow)
        async def slow_step(self, ctx):
            ledger.append("slow")

        @compensate("slow")
        async def undo(self, ctx):
            ledger.append("undo slow")

        @action("bad")
        async def bad(self, ctx):
            failed.set()
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await Sagas(runtime).run(Wide, {})
    assert ledger == []
    assert (await only_run(runtime)).status == "rolled_back"
