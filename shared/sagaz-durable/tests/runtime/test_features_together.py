"""Typed contexts, recovery behind a pivot and transactional steps, in one saga."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from decimal import Decimal

import pytest
import sqlalchemy as sa
from sagaz import RecoveryAction, forward_recovery
from sqlalchemy.orm import sessionmaker

from sagaz_durable import Saga, action, compensate, effect
from sagaz_durable.operations.operator import Operator
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.sagas import Sagas
from sagaz_durable.settings.settings import Settings
from sagaz_integration_core.context.current_step import current_step

pytestmark = pytest.mark.anyio


@dataclass
class Order:
    price: Decimal
    carrier: str = "express"
    surcharge: Decimal = Decimal(0)


def order_saga(ledger, *decisions, fails=1):
    """Return a saga whose ``ship`` fails so often, and whose handler does these things one after the other."""
    left = list(decisions)

    class OrderSaga(Saga):
        saga_name = "order"
        context = Order

        @action("charge", pivot=True)
        async def charge(self, ctx):
            ledger.append(f"charge {ctx.price}")

        @action("ship", depends_on=["charge"])
        async def ship(self, ctx):
            ledger.append(f"ship by {ctx.carrier} for {ctx.surcharge!r}")
            if sum(one.startswith("ship") for one in ledger) <= fails:
                raise OSError("no carrier")

        @forward_recovery("ship")
        async def decide(self, ctx, error):
            assert type(ctx) is Order
            return left.pop(0)(ctx)

    return OrderSaga


def cheaper(ctx):
    ctx.carrier, ctx.surcharge = "standard", Decimal("0.50")
    return RecoveryAction.RETRY_WITH_ALTERNATE


def wrong(ctx):
    ctx.carrier = 7
    return RecoveryAction.RETRY


def ask(ctx):
    return RecoveryAction.MANUAL_INTERVENTION


async def asked(runtime, saga_id, before=""):
    async with asyncio.timeout(20):
        while True:
            for wait in await runtime.store.load_waits(saga_id):
                if wait.outcome is None and wait.name != before:
                    return wait.name
            await asyncio.sleep(0.01)


async def decide(runtime, saga_id, name, payload):
    operator = Operator(runtime.store, runtime.registry, actor="kim")
    outcome = await operator.send_signal(runtime.settings, name, payload, saga_id=saga_id, reason="-")
    assert outcome.done, outcome.message


@pytest.fixture
async def working(settings, opened):
    async with opened(replace(settings, backoff_seconds=0.01, poll_seconds=0.02), worker=True) as runtime:
        yield runtime


async def test_a_recovery_gets_an_instance_and_what_it_sets_reaches_the_step_with_its_type(working, ended):
    ledger = []
    saga_id = await Sagas(working).start(order_saga(ledger, cheaper), {"price": Decimal("12.50")})
    assert (await ended(working, saga_id)).status == "completed"
    assert ledger == ["charge 12.50", "ship by express for Decimal('0')", "ship by standard for Decimal('0.50')"]


async def test_what_a_recovery_sets_and_the_type_does_not_allow_has_a_person_asked(working, ended):
    ledger = []
    saga_id = await Sagas(working).start(order_saga(ledger, wrong), {"price": Decimal(1)})
    await asked(working, saga_id)
    journal = {(step.step, step.phase): step for step in await working.store.load_steps(saga_id)}
    assert "carrier" in journal["ship", "redo"].error
    assert len(ledger) == 2


async def test_what_a_person_sets_and_the_type_does_not_allow_is_asked_for_again(working, ended):
    ledger = []
    saga_id = await Sagas(working).start(order_saga(ledger, ask), {"price": Decimal(1)})
    first = await asked(working, saga_id)
    await decide(working, saga_id, first, {"action": "retry_alt", "context": {"carrier": 7}})
    second = await asked(working, saga_id, before=first)
    await decide(working, saga_id, second, {"action": "retry_alt", "context": {"carrier": "standard"}})
    assert (await ended(working, saga_id)).status == "completed"
    assert ledger[-1] == "ship by standard for Decimal('0')"


async def test_a_transactional_step_of_a_typed_saga_is_recovered_and_has_its_effect_once(tmp_path, ended):
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE parcels (carrier TEXT)"))

    class OrderSaga(Saga):
        saga_name = "order"
        context = Order

        @action("charge", pivot=True)
        @effect("transactional")
        def charge(self, ctx):
            return replace(ctx, surcharge=Decimal("0.10"))

        @compensate("charge")
        def refund(self, ctx): ...

        @action("ship", depends_on=["charge"])
        @effect("transactional")
        def ship(self, ctx):
            current_step().session.execute(sa.text("INSERT INTO parcels VALUES (:carrier)"), {"carrier": ctx.carrier})
            assert ctx.surcharge == Decimal("0.10")
            if ctx.carrier == "express":
                raise OSError("no carrier")

        @forward_recovery("ship")
        def decide(self, ctx, error):
            ctx.carrier = "standard"
            return RecoveryAction.RETRY

    given = Settings(storage_url=f"sqlite:///{tmp_path / 'shop.db'}", backoff_seconds=0.01, poll_seconds=0.02)
    runtime = SagazRuntime(given, sagas=[OrderSaga], session_factory=sessionmaker(engine), worker=True)
    await runtime.open()
    await runtime.begin()
    try:
        saga_id = await Sagas(runtime).start(OrderSaga, {"price": Decimal(1)})
        assert (await ended(runtime, saga_id)).status == "completed"
    finally:
        await runtime.close()
    with engine.begin() as connection:
        assert connection.execute(sa.text("SELECT carrier FROM parcels")).scalars().all() == ["standard"]
    engine.dispose()
