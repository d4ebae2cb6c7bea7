"""What a start accepts and refuses, and what the same key means."""

from __future__ import annotations

import asyncio
from datetime import datetime
from decimal import Decimal

import pytest
from sagaz import Saga, action

from sagaz_durable.runtime.bound_saga import bind
from sagaz_durable.sagas import Sagas
from sagaz_durable.serialization import codec
from sagaz_integration_core.context import correlation as context
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.errors import (
    ContextValueError,
    IdempotencyConflict,
    RunFailed,
    RunInProgress,
    RuntimeNotOpen,
    SagaDefinitionError,
    SagazError,
    UsageError,
)


class Plain(Saga):
    @action("work")
    async def work(self, ctx):
        if ctx.get("fail"):
            raise ValueError("no")
        return {"worked": ctx["n"]}


class Other(Saga):
    @action("work")
    async def work(self, ctx):
        return None


async def runs(runtime):
    return await runtime.store.find(RunFilter())


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"items": [{"price": 1}, {"price": object()}]}, "items[1].price"),
        ({"amount": Decimal("NaN")}, "amount"),
        ({"nan": float("nan")}, "nan"),
        ({"saga_id": "mine"}, "saga_id"),
        ({"__charge_completed": True}, "__charge_completed"),
        ({"pair": (1, 2)}, "pair"),
    ],
    ids=["object", "decimal", "nan", "saga_id", "bookkeeping", "tuple"],
)
async def test_a_value_that_some_store_would_bend_is_refused_by_its_path_and_nothing_is_written(runtime, given, path):
    for attempt in (Sagas(runtime).start(Plain, given), bind(runtime, Plain).run(given)):
        with pytest.raises(ContextValueError) as caught:
            await attempt
        assert caught.value.path == path
    assert await runs(runtime) == []


async def test_a_context_over_the_limit_is_refused_and_the_setting_is_named(runtime):
    with pytest.raises(ContextValueError, match="SAGAZ_MAX_CONTEXT_BYTES"):
        await Sagas(runtime).start(Plain, {"blob": "x" * 1_100_000})
    assert await runs(runtime) == []


@pytest.mark.parametrize("key", ["", "x" * 201, "a\nb", 7], ids=["empty", "long", "control", "number"])
async def test_a_malformed_idempotency_key_is_refused(runtime, key):
    with pytest.raises(SagazError, match="idempotency_key must be a string of 1 to 200 printable characters"):
        await Sagas(runtime).start(Plain, {}, idempotency_key=key)


async def test_a_time_without_zone_is_refused(runtime):
    with pytest.raises(SagazError, match="has no time zone"):
        await Sagas(runtime).start(Plain, {}, not_before=datetime(2030, 1, 1))


@pytest.mark.parametrize("wrong", [Plain(), "Plain", int, None], ids=["instance", "name", "type", "none"])
async def test_what_is_no_saga_class_is_refused(runtime, wrong):
    with pytest.raises(SagaDefinitionError, match=r"Expected a subclass of sagaz\.Saga"):
        await Sagas(runtime).start(wrong, {})


async def test_concurrent_starts_with_one_key_are_one_run(runtime):
    ids = await asyncio.gather(*(Sagas(runtime).start(Plain, {"n": 1}, idempotency_key="k") for _ in range(20)))
    assert len(set(ids)) == 1
    assert len(await runs(runtime)) == 1


async def test_another_payload_under_a_key_is_refused_and_leaves_the_run_alone(runtime):
    saga_id = await Sagas(runtime).start(Plain, {"n": 1}, idempotency_key="k")
    with pytest.raises(IdempotencyConflict, match="another payload"):
        await Sagas(runtime).start(Plain, {"n": 2}, idempotency_key="k")
    [record] = await runs(runtime)
    assert (record.saga_id, codec.decode(record.context)["n"]) == (saga_id, 1)


async def test_a_key_belongs_to_its_saga(runtime):
    first = await Sagas(runtime).start(Plain, {"n": 1}, idempotency_key="k")
    assert first != await Sagas(runtime).start(Other, {"n": 1}, idempotency_key="k")


async def test_a_saga_id_of_another_saga_is_refused(runtime):
    await bind(runtime, Plain).run({"n": 1}, saga_id="same")
    with pytest.raises(IdempotencyConflict):
        await bind(runtime, Other).run({"n": 1}, saga_id="same")


async def test_the_correlation_id_of_a_request_is_not_part_of_the_payload(runtime):
    with context.bound("first"):
        saga_id = await Sagas(runtime).start(Plain, {"n": 1}, idempotency_key="k")
    with context.bound("second"):
        assert saga_id == await Sagas(runtime).start(Plain, {"n": 1}, idempotency_key="k")
    [record] = await runs(runtime)
    assert (record.correlation_id, codec.decode(record.context)["correlation_id"]) == ("first", "first")


async def test_an_inline_run_is_repeated_by_its_key_from_the_journal(runtime):
    saga = bind(runtime, Plain)
    first = await saga.run({"n": 3}, idempotency_key="k")
    again = await saga.run({"n": 3}, idempotency_key="k")
    assert (again, again.saga_id, again.status) == (first, first.saga_id, first.status)


async def test_an_inline_run_that_ended_badly_says_so_to_its_key(runtime):
    saga = bind(runtime, Plain)
    with pytest.raises(ValueError, match="no"):
        await saga.run({"fail": True}, idempotency_key="k")
    with pytest.raises(RunFailed, match="ended as rolled_back: step 'work': ValueError: no"):
        await saga.run({"fail": True}, idempotency_key="k")


async def test_an_inline_run_that_has_not_ended_says_so_to_its_key(runtime):
    entered, go = asyncio.Event(), asyncio.Event()

    class Slow(Saga):
        @action("work")
        async def work(self, ctx):
            entered.set()
            await go.wait()

    saga = bind(runtime, Slow)
    first = asyncio.create_task(saga.run({}, idempotency_key="k"))
    await entered.wait()
    with pytest.raises(RunInProgress, match="has not ended"):
        await saga.run({}, idempotency_key="k")
    go.set()
    await first


async def test_a_closed_runtime_refuses_work_by_name(settings, opened):
    async with opened(settings) as runtime:
        saga = bind(runtime, Plain)
    for attempt in (lambda: Sagas(runtime).start(Plain, {}), lambda: saga.run({})):
        with pytest.raises(RuntimeNotOpen, match="not open"):
            await attempt()


async def test_the_synchronous_form_on_the_event_loop_is_refused_instead_of_waiting_for_itself(runtime):
    with pytest.raises(UsageError, match="would wait for itself"):
        Sagas(runtime).start_sync(Plain, {})


async def test_the_synchronous_form_works_from_a_thread(runtime):
    saga_id = await asyncio.to_thread(Sagas(runtime).start_sync, Plain, {"n": 1})
    assert [record.saga_id for record in await runs(runtime)] == [saga_id]
