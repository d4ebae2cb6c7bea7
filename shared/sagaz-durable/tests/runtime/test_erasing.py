"""Workers erase what ended runs were given and have returned, when a setting says so; keys still answer."""

from __future__ import annotations

import asyncio
import pickle
import time
from dataclasses import replace

import pytest
from sagaz import Saga, action

from sagaz_durable.sagas import Sagas
from sagaz_integration_core.context.current_step import current_step
from sagaz_integration_core.contract.request_keys import NewKey
from sagaz_integration_core.errors import RunErased, SignalRefused, StoreUnavailable

pytestmark = pytest.mark.anyio

CALLS = []


class CardSaga(Saga):
    saga_name = "card"

    @action("charge")
    async def charge(self, ctx):
        CALLS.append(ctx["card"])
        if ctx.get("broken"):
            raise ValueError("refused")
        return {"receipt": "r1"}


async def erased(runtime, saga_id):
    deadline = time.monotonic() + 20
    while (record := await runtime.store.load(saga_id)).context != "{}":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    return record


async def test_a_draining_worker_erases_what_has_been_kept_for_long_enough(shared_settings, opened):
    kept = replace(shared_settings, keep_context_seconds=3_600)
    async with opened(shared_settings, sagas=[CardSaga]) as runtime:
        saga_id = await Sagas(runtime).start(CardSaga, {"card": "4111"})
        await runtime.make_worker(drain=True).run()
        assert "4111" in (await runtime.store.load(saga_id)).context
        runtime.runs.environment.settings = kept
        await runtime.make_worker(drain=True).run()
        assert "4111" in (await runtime.store.load(saga_id)).context
        runtime.runs.environment.settings = replace(kept, keep_context_seconds=0)
        await runtime.make_worker(drain=True).run()
        record = await runtime.store.load(saga_id)
        [note] = await runtime.store.load_audit(saga_id)
    assert (record.context, record.status) == ("{}", "completed")
    assert (note.action, note.actor, note.reason) == ("erase", f"worker {runtime.owner}", "keep_context_seconds")


async def test_a_worker_forgets_the_answers_to_requests_whose_time_is_over(shared_settings, opened):
    async with opened(shared_settings, sagas=[CardSaga]) as runtime:
        for number in range(205):
            keep = 86_400.0 if number == 0 else 0.0
            await runtime.store.claim_key(NewKey(f"k{number}", "f", None, "r1", 30.0, keep))
            await runtime.store.answer_key(f"k{number}", "r1", "{}")
        await runtime.make_worker(drain=True).run()
        assert await runtime.store.prune_keys(10) == 0
        assert (await runtime.store.find_key("k0")).answer == "{}"


@pytest.mark.parametrize("error", [StoreUnavailable("away"), RuntimeError("a mistake of ours")])
async def test_what_cannot_be_removed_keeps_a_worker_from_nothing_else(
    shared_settings, opened, monkeypatch, caplog, error
):
    async def refuse(*_):
        raise error

    caplog.set_level("DEBUG", "sagaz_durable.workers.erasing")
    async with opened(replace(shared_settings, keep_context_seconds=0), sagas=[CardSaga]) as runtime:
        saga_id = await Sagas(runtime).start(CardSaga, {"card": "4111"})
        await runtime.make_worker(drain=True).run()
        monkeypatch.setattr(runtime.store, "prune_signals", refuse)
        await runtime.store.claim_key(NewKey("k1", "f", None, "r1", 30.0, 0.0))
        await runtime.store.answer_key("k1", "r1", "{}")
        await runtime.make_worker(drain=True).run()
        assert await runtime.store.prune_keys(10) == 0
        assert (await runtime.store.load(saga_id)).context == "{}"
    [told] = [record for record in caplog.records if "were removed" in record.message]
    assert told.message.startswith("No signals were removed")
    assert told.levelname == ("DEBUG" if isinstance(error, StoreUnavailable) else "ERROR")


async def test_a_worker_erases_beside_its_runs_what_ended_well_and_never_failed_runs(shared_settings, opened, ended):
    async with opened(shared_settings, sagas=[CardSaga]) as runtime:
        saga_id = await Sagas(runtime).start(CardSaga, {"card": "4111"})
        rolled_back = await Sagas(runtime).start(CardSaga, {"card": "4111", "broken": True})
        await runtime.make_worker(drain=True).run()
    async with opened(replace(shared_settings, keep_context_seconds=0), sagas=[CardSaga], worker=True) as runtime:
        assert (await erased(runtime, saga_id)).status == "completed"
        assert (await erased(runtime, rolled_back)).status == "rolled_back"


@pytest.mark.parametrize("again", ["run", "start"])
async def test_a_repeated_key_is_told_the_erased_run_and_calls_nothing(settings, opened, ended, again):
    async with opened(settings, sagas=[CardSaga], worker=True) as runtime:
        run = await Sagas(runtime).run(CardSaga, {"card": "4111"}, idempotency_key="k1")
        from sagaz_durable.operations.operator import Operator

        assert (await Operator(runtime.store, runtime.registry, actor="ann").erase(run.saga_id)).done
        CALLS.clear()
        with pytest.raises(RunErased, match="had ended as completed") as caught:
            await getattr(Sagas(runtime), again)(CardSaga, {"card": "4111"}, idempotency_key="k1")
    assert (caught.value.saga_id, caught.value.status, CALLS) == (run.saga_id, "completed", [])
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.saga_id, copy.status) == (str(caught.value), run.saga_id, "completed")


class PaidSaga(Saga):
    saga_name = "paid"

    @action("wait")
    async def wait(self, ctx):
        return await current_step().signal("paid", key=ctx["key"])


async def test_a_redelivered_signal_of_an_erased_run_is_recognised_and_reaches_no_other_run(shared_settings, opened):
    kept = replace(shared_settings, keep_context_seconds=0)
    async with opened(kept, sagas=[PaidSaga]) as runtime:
        sagas = Sagas(runtime)
        first = await sagas.start(PaidSaga, {"key": "pi_1"})
        assert await sagas.send_signal("paid", {"card": "4111"}, key="pi_1")
        await runtime.make_worker(drain=True).run()
        await erased(runtime, first)
        second = await sagas.start(PaidSaga, {"key": "pi_1"})
        assert not await sagas.send_signal("paid", {"card": "4111"}, key="pi_1")
        await runtime.make_worker(drain=True).run()
        assert (await sagas.status(second)).status == "waiting"
        with pytest.raises(SignalRefused):
            await sagas.send_signal("paid", {"card": "4111"}, saga_id=first)
