"""What clients send: one class of error for what cannot be used, None for what cannot be there, and a limit."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sagaz import Saga, SagaConfig, action
from scripted_broker import ScriptedBroker

from sagaz_durable.cli.runs import Selection, decide_runs, list_runs, resolve_runs
from sagaz_durable.engine.registry import SagaRegistry
from sagaz_durable.operations.operator import Operator
from sagaz_durable.runtime.bound_saga import bind
from sagaz_durable.sagas import Sagas
from sagaz_durable.serialization.json_body import read_json
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.errors import InvalidInput, Overloaded, RunNotFound, SagaDefinitionError, UsageError

IMPOSSIBLE = ["\0", "a\0b", "\ud800", "\udcff", "", "x" * 10_000, "\u202e", "\x1b[2J", 3, None, b"x", ["x"]]


class Plain(Saga):
    @action("work")
    async def work(self, ctx):
        return None


def nested(depth):
    return {"a": nested(depth - 1)} if depth else {}


@pytest.mark.parametrize(
    "context",
    [
        {"amount": 10**20}, {"a": float("nan")}, {"a": "\0"}, {"a": "\ud800"}, {"\0": 1}, {"a": {1}}, {"saga_id": "x"},
        {"__a": 1}, nested(31), nested(900), {"a": "x" * 2_000_000}, [], "{}", None, 3, {1: 2}, {"a": -0.0},
    ],
    ids=range(17),
)  # fmt: skip
async def test_a_context_that_cannot_be_kept_is_invalid_input_on_every_store(runtime, context):
    with pytest.raises(InvalidInput):
        await Sagas(runtime).start(Plain, context)
    assert await runtime.store.find(RunFilter()) == []


@pytest.mark.parametrize("key", [key for key in IMPOSSIBLE if key is not None], ids=repr)
async def test_a_key_or_an_id_that_cannot_be_kept_is_invalid_input(runtime, key):
    with pytest.raises(InvalidInput) as caught:
        await Sagas(runtime).start(Plain, {}, idempotency_key=key)
    with pytest.raises(InvalidInput):
        await Sagas(runtime).run(Plain, {}, saga_id=key)
    assert str(caught.value).isprintable()


async def test_a_key_or_an_id_has_up_to_200_characters(runtime):
    for longest in ("k" * 200, "\N{SNOWMAN}" * 200):
        await Sagas(runtime).start(Plain, {}, idempotency_key=longest)
        assert (await Sagas(runtime).run(Plain, {}, saga_id=longest)).saga_id == longest
        with pytest.raises(InvalidInput, match="1 to 200 printable characters, got 201"):
            await Sagas(runtime).start(Plain, {}, idempotency_key=longest + "k")


async def test_a_key_that_stands_for_something_else_is_invalid_input(runtime):
    await Sagas(runtime).start(Plain, {"n": 1}, idempotency_key="k")
    with pytest.raises(InvalidInput):
        await Sagas(runtime).start(Plain, {"n": 2}, idempotency_key="k")


@pytest.mark.parametrize(
    "given",
    [{"topic": "\0"}, {"topic": 3}, {"key": "\ud800"}, {"idempotency_key": ""}, {"headers": {"a": 1}}],
    ids=repr,
)
async def test_an_event_that_cannot_be_kept_is_invalid_input(settings, opened, given):
    async with opened(settings, config=SagaConfig(broker=ScriptedBroker())) as runtime:
        with pytest.raises(InvalidInput):
            await Sagas(runtime).publish(**{"topic": "orders", "payload": {}, **given})


@pytest.mark.parametrize("saga_id", IMPOSSIBLE, ids=repr)
async def test_there_is_no_run_under_an_id_that_no_store_can_hold(runtime, saga_id):
    storage, operator = runtime.config.storage, Operator(runtime.store, runtime.registry, actor="me")
    assert await storage.load_saga_state(saga_id) is None
    assert await storage.delete_saga_state(saga_id) is False
    if not isinstance(saga_id, str):
        return
    with pytest.raises(RunNotFound) as caught:
        await operator.show(saga_id)
    assert str(caught.value).isprintable()
    for said in (
        await decide_runs(operator, runtime.store, "retry", Selection([saga_id]), "text", reason="r", dry_run=False),
        await resolve_runs(operator, [saga_id], "completed", "json", reason="r", dry_run=False),
    ):
        assert not said.done


@pytest.mark.parametrize("name", ["\0", "\ud800"], ids=repr)
async def test_a_name_that_no_store_can_hold_finds_nothing(runtime, name):
    assert (await list_runs(runtime.store, RunFilter(saga_name=name), "text")).text == "No runs."
    assert (await list_runs(runtime.store, RunFilter(correlation_id=name), "text")).text == "No runs."
    assert (await list_runs(runtime.store, RunFilter(owner=name), "text")).text == "No runs."
    assert await runtime.config.storage.list_sagas(saga_name=name) == []


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"3", b"null", b'"x"', b"\xff", b'{"a":' * 100_000, b'{"a":' + b"1" * 5_000 + b"}", "nope"],
    ids=range(10),
)
def test_a_body_that_is_no_json_object_is_invalid_input(body):
    with pytest.raises(InvalidInput, match="expected an object"):
        read_json(body)


def test_a_body_that_is_an_object_is_read():
    assert read_json(b'{"a": [1, "\xc3\xa4"]}') == {"a": [1, "ä"]}


@pytest.mark.parametrize(
    ("not_before", "told"),
    [(timedelta(hours=1), r"datetime.now\(UTC\) \+"), (datetime(2026, 1, 1), "no time zone"), (3, "int")],
)
async def test_a_time_that_is_no_aware_datetime_is_a_mistake_of_the_code(runtime, not_before, told):
    with pytest.raises(UsageError, match=told):
        await Sagas(runtime).start(Plain, {}, not_before=not_before)


@pytest.mark.parametrize(
    "given", ["Plain", "shop.sagas.Plain", b"Plain", None, Plain(), ["Plain"], (Plain,)], ids=range(7)
)
def test_what_is_no_saga_class_is_named(given):
    with pytest.raises(SagaDefinitionError, match="Pass the class itself"):
        SagaRegistry([given])


@pytest.mark.parametrize("given", [Plain, "Plain", None, 3], ids=repr)
def test_sagas_are_a_list(given):
    with pytest.raises(SagaDefinitionError, match="takes a list of classes"):
        SagaRegistry(given)


async def test_a_run_that_nobody_awaits_says_what_to_do_instead(runtime):
    saga = bind(runtime, Plain, instead="Use this")
    with pytest.raises(UsageError, match=r"has to be awaited, and nothing was run\. Use this"):
        await asyncio.to_thread(saga.run, {})
    assert await runtime.store.find(RunFilter()) == []


# The limit.


async def test_starts_are_refused_while_too_many_runs_are_due(shared_settings, opened):
    async with opened(replace(shared_settings, max_due=3)) as runtime:
        await Sagas(runtime).start_many(Plain, [{}, {}])
        later = datetime.now(UTC) + timedelta(days=1)
        await Sagas(runtime).start(Plain, {}, not_before=later)
        await Sagas(runtime).start(Plain, {})
        with pytest.raises(Overloaded, match="3 runs wait for workers, and SAGAZ_MAX_DUE allows 3") as caught:
            await Sagas(runtime).start(Plain, {}, idempotency_key="k")
        assert caught.value.retry_after > 0
        with pytest.raises(Overloaded):
            await Sagas(runtime).start_many(Plain, [{}])
        assert (await runtime.store.stats()).due == 3
        assert (await Sagas(runtime).run(Plain, {})).status.value == "completed"


async def test_other_processes_runs_count_and_starts_are_accepted_again_when_they_are_executed(shared_settings, opened):
    async with opened(shared_settings) as other:
        await Sagas(other).start_many(Plain, [{}] * 5)
        limited = replace(shared_settings, max_due=5)
        async with opened(limited) as runtime:
            with pytest.raises(Overloaded):
                await Sagas(runtime).start(Plain, {})
        for run in await other.runs.claim(10):
            await other.runs.execute(other.runs.park(run, time.monotonic()))
        async with opened(limited) as runtime:
            await Sagas(runtime).start(Plain, {})
