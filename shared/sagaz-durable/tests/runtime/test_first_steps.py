"""The steps with which a run begins: journaled together with its lease, and then called like any other."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from sagaz import Saga, action, compensate

from sagaz_durable.operations.operator import Operator
from sagaz_durable.runtime import launching
from sagaz_durable.runtime.bound_saga import bind
from sagaz_durable.sagas import Sagas
from sagaz_integration_core.context.current_step import current_step


def order_saga(ledger, look=None):
    class OrderSaga(Saga):
        saga_name = "order"

        @action("reserve")
        async def reserve(self, ctx):
            ledger.append("reserve")
            if look is not None:
                await look()

        @compensate("reserve")
        async def release(self, ctx):
            ledger.append("release")

    return OrderSaga


async def worked(runtime):
    async with asyncio.timeout(20):
        await runtime.make_worker(drain=True).run()


def known(steps):
    return [(step.step, step.phase, step.status, step.attempt) for step in steps]


@pytest.mark.parametrize("inline", [True, False])
async def test_a_first_step_is_in_the_journal_before_it_is_called_without_a_write_of_its_own(settings, opened, inline):
    found, writes = [], []

    async def look():
        found.extend(known(await runtime.store.load_steps(current_step().saga_id)))
        found.append(len(writes))

    async with opened(settings) as runtime:
        write = runtime.store.write

        async def counted(batch):
            writes.append(batch)
            return await write(batch)

        runtime.store.write = counted
        saga = order_saga([], look)
        if inline:
            await bind(runtime, saga).run({})
        else:
            await Sagas(runtime).start(saga, {})
            await worked(runtime)
    assert found == [("reserve", "do", "started", 1), 0]


async def test_a_run_that_was_given_back_before_its_first_step_is_executed_by_the_next_worker(shared_settings, opened):
    ledger: list[str] = []
    saga = order_saga(ledger)
    async with opened(replace(shared_settings, drain_seconds=0)) as runtime:
        saga_id, _ = await launching.launch(runtime, saga, {})
    assert ledger == []
    async with opened(shared_settings, sagas=[saga]) as runtime:
        assert (await runtime.store.load(saga_id)).status == "pending"
        [entry] = await runtime.store.load_steps(saga_id)
        assert (entry.status, entry.error) == ("failed", "It was not called.")
        await worked(runtime)
        assert (await runtime.store.load(saga_id)).status == "completed"
        assert known(await runtime.store.load_steps(saga_id)) == [("reserve", "do", "done", 2)]
    assert ledger == ["reserve"]


async def test_a_run_that_is_cancelled_after_it_was_given_back_has_nothing_to_compensate(shared_settings, opened):
    """The journal says that its first step was not called."""
    ledger: list[str] = []
    saga = order_saga(ledger)
    async with opened(replace(shared_settings, drain_seconds=0)) as runtime:
        saga_id, _ = await launching.launch(runtime, saga, {})
    async with opened(shared_settings, sagas=[saga]) as runtime:
        await Operator(runtime.store, runtime.registry, actor="ann").cancel(saga_id)
        await worked(runtime)
        assert (await runtime.store.load(saga_id)).status == "rolled_back"
    assert ledger == []


async def test_a_first_step_before_whose_call_another_has_failed_is_neither_called_nor_undone(settings, opened):
    ledger: list[str] = []
    failed = asyncio.Event()

    async def slowly(ctx, step):
        await failed.wait()

    class Forked(Saga):
        @action("charge")
        async def charge(self, ctx):
            asyncio.get_running_loop().call_later(0.01, failed.set)
            raise ValueError("card declined")

        @action("reserve", on_enter=slowly)
        async def reserve(self, ctx):
            ledger.append("reserve")

        @compensate("reserve")
        async def release(self, ctx):
            ledger.append("release")

    async with opened(settings) as runtime:
        saga_id, execution = await launching.launch(runtime, Forked, {})
        with pytest.raises(ValueError, match="card declined"):
            await runtime.runs.execute(execution)
        ends = {(step.step, step.phase): step.status for step in await runtime.store.load_steps(saga_id)}
    assert ledger == []
    assert ends == {("charge", "do"): "failed", ("reserve", "do"): "failed"}
