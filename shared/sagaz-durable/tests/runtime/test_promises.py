"""What hooks, listeners, compensations and operators may rely on."""

from __future__ import annotations

import asyncio

import pytest
from sagaz import Saga, action, compensate
from sagaz.core.listeners import SagaListener

from sagaz_durable.operations.operator import Operator
from sagaz_durable.sagas import Sagas
from sagaz_integration_core.context.current_step import current_step
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.contract.records import NewRun, Release, RunWrite, StepWrite


class Told(SagaListener):
    """Notes what it is told, in order."""

    def __init__(self, notes):
        self._notes = notes

    async def on_saga_start(self, saga_name, saga_id, ctx):
        self._notes.append("start")

    async def on_step_enter(self, saga_name, step_name, ctx):
        self._notes.append(f"enter {step_name}")

    async def on_step_success(self, saga_name, step_name, ctx, result):
        self._notes.append(f"success {step_name} {result}")

    async def on_step_failure(self, saga_name, step_name, ctx, error):
        self._notes.append(f"failure {step_name} {error}")

    async def on_compensation_start(self, saga_name, step_name, ctx):
        self._notes.append(f"undo {step_name}")

    async def on_compensation_complete(self, saga_name, step_name, ctx):
        self._notes.append(f"undone {step_name}")

    async def on_saga_complete(self, saga_name, saga_id, ctx):
        self._notes.append("complete")

    async def on_saga_failed(self, saga_name, saga_id, ctx, error):
        self._notes.append(f"failed {error}")


def telling(ledger, *, fails=False):
    class Tells(Saga):
        listeners = [Told(ledger)]

        @action("a", on_enter=lambda ctx, step: ledger.append(f"hook enter {step}"))
        async def a(self, ctx):
            ledger.append("call a")
            return {"a": 1}

        @compensate("a", on_compensate=lambda ctx, step: ledger.append(f"hook undo {step}"))
        async def undo(self, ctx):
            ledger.append("call undo a")

        @action("b", depends_on=["a"], on_failure=lambda ctx, step, error: ledger.append(f"hook failure {step}"))
        async def b(self, ctx):
            if fails:
                raise ValueError("no")

    return Tells


async def test_listeners_and_hooks_are_told_of_a_durable_run_in_sagaz_own_order(runtime, ledger):
    await Sagas(runtime).run(telling(ledger), {})
    assert ledger == [
        "start", "enter a", "hook enter a", "call a", "success a {'a': 1}", "enter b", "success b None", "complete"
    ]  # fmt: skip


async def test_they_are_told_of_a_failure_and_of_what_is_undone_because_of_it(runtime, ledger):
    with pytest.raises(ValueError, match="no"):
        await Sagas(runtime).run(telling(ledger, fails=True), {})
    assert ledger[5:] == [
        "enter b", "hook failure b", "failure b no", "undo a", "hook undo a", "call undo a", "undone a", "failed no"
    ]  # fmt: skip


async def resumed(settings, opened, ended, saga, *, died):
    """A run of which a process has begun step a, and died or given it back."""
    async with opened(settings) as runtime:
        await runtime.store.insert([NewRun("run-1", "Tells", "{}", "f", lease_owner="gone")], 0.05)
        await runtime.store.write([RunWrite("run-1", "gone", 1, (StepWrite("a", "do", "started", compensated=True),))])
        if not died:
            await runtime.store.write([RunWrite("run-1", "gone", 1, release=Release())])
    async with opened(settings, sagas=[saga], worker=True) as runtime:
        return await ended(runtime, "run-1")


@pytest.mark.parametrize("died", [True, False])
async def test_after_a_death_they_are_told_again_of_what_was_under_way_and_after_a_release_not(
    shared_settings, opened, ended, ledger, died
):
    await resumed(shared_settings, opened, ended, telling(ledger), died=died)
    again = ["enter a", "hook enter a"] if died else []
    assert ledger == [*again, "call a", "success a {'a': 1}", "enter b", "success b None", "complete"]


async def test_compensations_get_a_copy_of_their_own_at_each_try_and_max_retries_holds_for_them(runtime, ledger):
    class Retried(Saga):
        retry_steps = True

        @action("a", max_retries=2)
        async def a(self, ctx): ...

        @compensate("a")
        async def undo(self, ctx):
            ledger.append((current_step().retry, list(ctx["items"])))
            ctx["items"].append("changed")
            if current_step().retry < 2:
                raise OSError("away")

        @action("b", depends_on=["a"], max_retries=0)
        async def b(self, ctx):
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await Sagas(runtime).run(Retried, {"items": ["x"]})
    assert ledger == [(0, ["x"]), (1, ["x"]), (2, ["x"])]
    [record] = await runtime.store.find(RunFilter())
    assert record.status == "rolled_back"


async def test_of_several_failures_the_first_in_time_is_kept_and_raised(runtime):
    first = asyncio.Event()

    class Wide(Saga):
        @action("a_later")
        async def later(self, ctx):
            await first.wait()
            raise ValueError("second")

        @action("z_first")
        async def sooner(self, ctx):
            first.set()
            raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        await Sagas(runtime).run(Wide, {})
    [record] = await runtime.store.find(RunFilter())
    assert record.error == "step 'z_first': ValueError: first"


async def test_a_listener_that_changes_its_context_changes_nothing(runtime):
    class Meddling(SagaListener):
        async def on_step_enter(self, saga_name, step_name, ctx):
            ctx["items"].append("meddled")

    class Meddled(Saga):
        listeners = [Meddling()]

        @action("a")
        async def a(self, ctx):
            return {"seen": list(ctx["items"])}

    result = await Sagas(runtime).run(Meddled, {"items": []})
    assert (result["seen"], result["items"]) == ([], [])


def pivoted(ledger):
    class Pivoted(Saga):
        broken = True

        @action("pay", pivot=True)
        async def pay(self, ctx): ...

        @action("pack", depends_on=["pay"])
        async def pack(self, ctx): ...

        @compensate("pack")
        async def unpack(self, ctx):
            ledger.append("unpack")
            if Pivoted.broken:
                raise OSError("away")

        @action("ship", depends_on=["pack"])
        async def ship(self, ctx):
            ledger.append("ship")
            raise ValueError("no")

    return Pivoted


async def test_retry_of_a_run_that_was_undoing_behind_a_pivot_goes_on_undoing(settings, opened, ended, ledger):
    saga = pivoted(ledger)
    async with opened(settings, sagas=[saga], worker=True) as runtime:
        saga_id = await Sagas(runtime).start(saga, {})
        assert (await ended(runtime, saga_id)).status == "failed"
        saga.broken = False
        operator = Operator(runtime.store, runtime.registry, actor="ann")
        assert (await operator.retry(saga_id)).message == "Its compensation is tried again."
        record = await ended(runtime, saga_id)
    assert ledger == ["ship", "unpack", "unpack"]
    assert record.status == "failed", "what the pivot keeps is not rolled back"


async def test_a_compensation_that_failed_is_final_until_somebody_retries(shared_settings, opened, ended, ledger):
    saga = telling(ledger)
    async with opened(shared_settings) as runtime:
        store = runtime.store
        await store.insert([NewRun("run-1", "Tells", "{}", "f", lease_owner="gone")], 30)
        entries = [StepWrite("a", "do", "started", compensated=True), StepWrite("a", "do", "done")]
        await store.write([RunWrite("run-1", "gone", 1, tuple(entries), status="compensating", error="no")])
        failed = [StepWrite("a", "undo", "started"), StepWrite("a", "undo", "failed", error="OSError: away")]
        await store.write([RunWrite("run-1", "gone", 1, tuple(failed))])
        await store.write([RunWrite("run-1", "gone", 1, release=Release())])
    async with opened(shared_settings, sagas=[saga], worker=True) as runtime:
        record = await ended(runtime, "run-1")
    assert record.status == "failed"
    assert "compensation of 'a': OSError: away" in record.error
    assert "call undo a" not in ledger


@pytest.mark.parametrize("undone", [(), ("pay",), ("pay", "reserve")])
async def test_after_a_resume_a_pivot_in_doubt_is_undone_and_no_compensation_that_is_done_is_called_again(
    shared_settings, opened, ended, ledger, undone
):
    class Order(Saga):
        @action("reserve")
        async def reserve(self, ctx):
            ledger.append("reserve")

        @compensate("reserve")
        async def release(self, ctx):
            ledger.append("undo reserve")

        @action("pay", depends_on=["reserve"], pivot=True)
        async def pay(self, ctx):
            ledger.append("pay")

        @compensate("pay")
        async def refund(self, ctx):
            ledger.append("undo pay")

    async with opened(shared_settings) as runtime:
        await runtime.store.insert([NewRun("run-1", "Order", "{}", "f", lease_owner="gone")], 30)
        entries = [StepWrite(step, "do", "started", compensated=True) for step in ("reserve", "pay")]
        entries += [StepWrite("reserve", "do", "done"), StepWrite("pay", "do", "in_doubt", error="TimeoutError")]
        entries += [StepWrite(step, "undo", status) for step in undone for status in ("started", "done")]
        await runtime.store.write([RunWrite("run-1", "gone", 1, tuple(entries), status="compensating", error="no")])
        await runtime.store.write([RunWrite("run-1", "gone", 1, release=Release())])
    async with opened(shared_settings, sagas=[Order], worker=True) as runtime:
        assert (await ended(runtime, "run-1")).status == "rolled_back"
    assert ledger == [f"undo {step}" for step in ("pay", "reserve") if step not in undone]
