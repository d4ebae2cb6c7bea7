"""What follows when a store has refused: a run that is another process's, and a commit whose answer was lost."""

from __future__ import annotations

import pytest
from sagaz import Saga, action

from sagaz_durable.operations.operator import Operator
from sagaz_durable.sagas import Sagas
from sagaz_durable.stores.factory import create_store
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.contract.records import NewRun, RunWrite
from sagaz_integration_core.errors import RunInterrupted


class AnswerLost:
    """A store whose commits lose their answers: they are sent again, and refused, as they have been carried out."""

    def __init__(self, store):
        self._store = store

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def write(self, writes):
        answers = await self._store.write(writes)
        return [answer and write.status is None for write, answer in zip(writes, answers, strict=True)]

    async def intervene(self, intervention):
        await self._store.intervene(intervention)
        return False


def losing(settings):
    return AnswerLost(create_store(settings))


class Order(Saga):
    @action("one")
    async def one(self, ctx):
        return {"one": 1}


async def only_run(runtime):
    [record] = await runtime.store.find(RunFilter())
    return record


async def test_a_run_that_was_taken_away_before_its_end_is_recorded_has_not_completed_here(runtime):
    class Cancelled(Saga):
        @action("one")
        async def one(self, ctx):
            operator = Operator(runtime.store, runtime.registry, actor="ann")
            assert (await operator.cancel(ctx["saga_id"])).done

    with pytest.raises(RunInterrupted, match="another process's now"):
        await Sagas(runtime).run(Cancelled, {})
    assert (await only_run(runtime)).status == "compensating"


async def test_an_end_that_was_recorded_though_its_answer_was_lost_is_an_end(settings, opened):
    async with opened(settings, open_store=losing) as runtime:
        result = await Sagas(runtime).run(Order, {})
        assert (result.status.value, (await only_run(runtime)).status) == ("completed", "completed")


async def test_a_decision_that_was_carried_out_though_its_answer_was_lost_is_told_as_done(settings, opened):
    async with opened(settings, open_store=losing, sagas=[Order]) as runtime:
        await runtime.store.insert([NewRun("run-1", "Order", "{}", "f", lease_owner="gone")], 30)
        await runtime.store.write([RunWrite("run-1", "gone", 1, status="failed")])
        operator = Operator(runtime.store, runtime.registry, actor="ann")
        outcome = await operator.resolve("run-1", "completed", reason="paid by hand")
        assert (outcome.done, outcome.status) == (True, "completed")
        assert [note.reason for note in await runtime.store.load_audit("run-1")] == ["paid by hand"]
