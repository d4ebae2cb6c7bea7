"""Values that JSON has not, and models, on their way through a run and to those who read it."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import json
import sys
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pydantic
import pytest
from sagaz import Saga, SagaConfig, action
from sagaz.core.storage.base import SagaStorage
from sagaz.core.types import SagaStatus

from sagaz_durable.cli.render_runs import report_json, report_text
from sagaz_durable.http.documents import run_document
from sagaz_durable.operations.operator import Operator
from sagaz_durable.sagas import Sagas
from sagaz_durable.sagaz_storage import StoreSagaStorage
from sagaz_integration_core.contract.events import EventFilter
from sagaz_integration_core.errors import ContextValueError, StepError


class Currency(enum.StrEnum):
    EUR = "EUR"


class Order(pydantic.BaseModel):
    order: UUID
    amount: Decimal
    currency: Currency


@dataclasses.dataclass
class Receipt:
    total: Decimal
    within: timedelta


ORDER = Order(order=UUID(int=1), amount=Decimal("12.50"), currency=Currency.EUR)


class Pay(Saga):
    saga_name = "pay"

    @action("charge")
    async def charge(self, ctx):
        assert (ctx["order"], ctx["amount"], ctx["currency"]) == (UUID(int=1), Decimal("12.50"), Currency.EUR)
        assert type(ctx["currency"]) is Currency
        return Receipt(ctx["amount"], timedelta(hours=1))

    @action("ship", depends_on=["charge"])
    def ship(self, ctx):
        assert (ctx["total"], ctx["within"]) == (Decimal("12.50"), timedelta(hours=1))
        ctx["orders"] = [ORDER]


WHOLE = {
    "order": UUID(int=1),
    "amount": Decimal("12.50"),
    "currency": Currency.EUR,
    "total": Decimal("12.50"),
    "within": timedelta(hours=1),
    "orders": [{"order": UUID(int=1), "amount": Decimal("12.50"), "currency": Currency.EUR}],
}


async def test_a_model_is_a_context_and_a_result_and_its_values_keep_their_types(runtime):
    sagas = Sagas(runtime)
    result = await sagas.run(Pay, ORDER, idempotency_key="k")
    assert result == {**WHOLE, "saga_id": result.saga_id}
    assert type(result["currency"]) is Currency
    # Read from the store, by the same key.
    again = await sagas.run(Pay, ORDER, idempotency_key="k")
    assert again == result
    assert type(again["orders"][0]["currency"]) is Currency
    with pytest.raises(ContextValueError, match=r"the saga's context: expected a dict or a model, not .*int"):
        await sagas.run(Pay, 3)  # type: ignore[arg-type]


async def test_readers_get_texts_or_the_tagged_form(runtime):
    sagas = Sagas(runtime)
    saga_id = (await sagas.run(Pay, ORDER)).saga_id
    report = await Operator(runtime.store, runtime.registry, actor="ann").show(saga_id)

    class Rules:
        shows = ("amount", "currency", "within", "orders")
        tells_errors = True

    context = run_document(report, Rules)["context"]  # type: ignore[arg-type]
    order = {"order": str(UUID(int=1)), "amount": "12.50", "currency": "EUR"}
    assert context == {"amount": "12.50", "currency": "EUR", "within": "P0DT3600S", "orders": [order]}
    shown = json.loads(report_json(report, values=True))
    assert shown["context"]["amount"] == {"$sagaz.decimal": "12.50"}
    assert shown["context"]["currency"] == {"$sagaz.enum": ["Currency", "EUR"]}
    assert '"amount": {"$sagaz.decimal": "12.50"}' in report_text(report, values=True)
    stored = await StoreSagaStorage(runtime.store).load_saga_state(saga_id)
    assert stored is not None
    assert stored["context"] == {**WHOLE, "orders": [ORDER.model_dump()]}
    assert type(stored["context"]["currency"]) is str


async def test_what_a_step_returned_is_published_in_the_tagged_form(settings, opened):
    from dataclasses import replace

    async with opened(replace(settings, broker_url="memory://"), sagas=[Pay]) as runtime:
        saga_id = (await Sagas(runtime).run(Pay, ORDER)).saga_id
        events = await runtime.store.find_events(EventFilter(saga_id=saga_id))
        [charged] = [event for event in events if event.topic == "pay.charge.success"]
        result = {"total": {"$sagaz.decimal": "12.50"}, "within": {"$sagaz.timedelta": "P0DT3600S"}}
        assert json.loads(charged.payload)["result"] == result
        await Sagas(runtime).publish("paid", ORDER.model_copy(update={"currency": "EUR"}))
        with pytest.raises(ContextValueError, match="currency: a member of the enum Currency is not kept here"):
            await Sagas(runtime).publish("paid", ORDER)


async def test_sagaz_own_storages_get_what_json_has(shared_settings, opened):
    saved = []

    class Storage(SagaStorage):
        async def save_saga_state(self, saga_id, saga_name, status, steps, context, metadata=None):
            saved.append((status, context))

        async def load_saga_state(self, saga_id): ...
        async def delete_saga_state(self, saga_id): ...
        async def list_sagas(self, status=None, saga_name=None, limit=100, offset=0): ...
        async def update_step_state(self, *_, **__): ...
        async def get_saga_statistics(self): ...
        async def cleanup_completed_sagas(self, older_than, statuses=None): ...
        async def health_check(self): ...

    async with opened(shared_settings, config=SagaConfig(storage=Storage())) as runtime:
        await Sagas(runtime).run(Pay, ORDER)
    assert [status for status, _ in saved] == [SagaStatus.EXECUTING, SagaStatus.COMPLETED]
    order = {"order": str(UUID(int=1)), "amount": "12.50", "currency": "EUR"}
    assert saved[0][1] == order
    assert json.loads(json.dumps(saved[1][1])) | order == {
        **order, "saga_id": saved[1][1]["saga_id"], "total": "12.50", "within": "P0DT3600S", "orders": [order],
    }  # fmt: skip


async def test_a_step_that_returns_something_else_fails_and_is_told_what_it_may_return(runtime):
    class Odd(Saga):
        saga_name = "odd"

        @action("list")
        async def list(self, ctx):
            return [Receipt]

    with pytest.raises(StepError, match=r"returned a .*list; a step returns a dict or a model"):
        await Sagas(runtime).run(Odd)


async def test_a_deployment_without_the_enum_halts_and_neither_calls_nor_compensates_anything(
    shared_settings, opened, monkeypatch
):
    async with opened(shared_settings, sagas=[Pay]) as runtime:
        saga_id = await Sagas(runtime).start(Pay, ORDER)
        with monkeypatch.context() as patched:
            patched.delattr(sys.modules[__name__], "Currency")
            async with opened(shared_settings, sagas=[Pay], worker=True) as other, asyncio.timeout(20):
                while (record := await other.store.load(saga_id)) is None or not record.failures:
                    await asyncio.sleep(0.02)
        assert "member of the enum 'Currency', which the module of Pay has not" in (record.error or "")
        steps = await runtime.store.load_steps(saga_id)
        assert {(entry.phase, entry.error) for entry in steps} <= {("do", "It was not called.")}
        async with opened(shared_settings, sagas=[Pay], worker=True) as other, asyncio.timeout(20):
            while (record := await other.store.load(saga_id)) is None or record.status != "completed":
                await asyncio.sleep(0.02)


async def test_a_change_of_spelling_alone_is_kept(runtime):
    seen = []

    class Round(Saga):
        saga_name = "round"

        @action("round")
        async def round(self, ctx):
            ctx["amount"] = ctx["amount"].quantize(Decimal("1.00"))

        @action("look", depends_on=["round"])
        async def look(self, ctx):
            seen.append(str(ctx["amount"]))

    await Sagas(runtime).run(Round, {"amount": Decimal("1.5")})
    assert seen == ["1.50"]
