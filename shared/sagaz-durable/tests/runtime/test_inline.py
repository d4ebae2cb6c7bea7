from __future__ import annotations

import asyncio
import gc
import weakref

import pytest
from sagaz import Saga, SagaStatus, action, compensate

from sagaz_durable.runtime.bound_saga import bind
from sagaz_durable.sagas import Sagas
from sagaz_integration_core.context.current_step import current_step
from sagaz_integration_core.contract.listings import RunFilter


def order_saga(ledger, fail=None):
    class OrderSaga(Saga):
        saga_name = "order"

        @action("reserve")
        async def reserve(self, ctx):
            ledger.append(("reserve", current_step().idempotency_key))
            return {"reservation": f"r-{ctx['order']}"}

        @compensate("reserve")
        async def release(self, ctx):
            ledger.append(("release", ctx["reservation"]))

        @action("charge", depends_on=["reserve"])
        def charge(self, ctx):
            ledger.append(("charge", ctx["reservation"]))
            if fail == "charge":
                raise ValueError("card declined")
            ctx["charged"] = [1]

        @compensate("charge")
        def refund(self, ctx):
            ledger.append(("refund", ctx["charged"]))

        @action("ship", depends_on=["charge"])
        async def ship(self, ctx):
            ledger.append(("ship", ctx["charged"]))
            if fail == "ship":
                raise RuntimeError("no truck")
            return {"parcel": 7}

    return OrderSaga


async def test_a_run_returns_its_final_context_and_knows_its_id_and_status(runtime, ledger):
    result = await bind(runtime, order_saga(ledger)).run({"order": 5})
    assert result == {
        "order": 5, "reservation": "r-5", "charged": [1], "parcel": 7, "saga_id": result.saga_id,
    }  # fmt: skip
    assert result.status is SagaStatus.COMPLETED
    assert [name for name, _ in ledger] == ["reserve", "charge", "ship"]
    record = await runtime.store.load(result.saga_id)
    assert (record.status, record.lease_owner, record.error) == ("completed", None, None)
    steps = await runtime.store.load_steps(result.saga_id)
    assert [(s.step, s.phase, s.status) for s in steps] == [
        ("reserve", "do", "done"), ("charge", "do", "done"), ("ship", "do", "done"),
    ]  # fmt: skip


async def test_a_failed_saga_raises_the_steps_own_exception_after_compensation(runtime, ledger):
    with pytest.raises(RuntimeError, match="no truck") as caught:
        await bind(runtime, order_saga(ledger, "ship")).run({"order": 5})
    assert ledger[-2:] == [("refund", [1]), ("release", "r-5")]
    assert "rolled_back" in caught.value.__notes__[0]
    [record] = await runtime.store.find(RunFilter())
    assert record.status == "rolled_back"
    assert "no truck" in record.error


@pytest.fixture
def uncollected():
    """Nothing is freed meanwhile but what nothing refers to."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def test_what_a_completed_run_has_used_is_freed_without_the_garbage_collector(runtime, ledger, uncollected):
    made = []

    def make():
        saga = saga_class()
        made.append(weakref.ref(saga))
        return saga

    saga_class = order_saga(ledger)
    runtime.registry.add((saga_class, make))
    await Sagas(runtime).run(saga_class, {"order": 5})
    async with asyncio.timeout(10):
        while made[0]() is not None:
            await asyncio.sleep(0.01)
