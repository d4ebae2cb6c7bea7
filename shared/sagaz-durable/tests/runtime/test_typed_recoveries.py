"""Recoveries of sagas that declare their context: what people set by hand, and what a skipped step leaves out."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import json
from decimal import Decimal

import pytest
from sagaz import RecoveryAction, Saga, action, compensate, forward_recovery

from sagaz_durable.sagas import Sagas
from sagaz_integration_core.errors import InvalidInput, RunWaiting


class Carrier(enum.Enum):
    OX = "ox"


@dataclasses.dataclass
class Parcel:
    order: str
    price: Decimal | None = None
    carrier: Carrier | None = None


@dataclasses.dataclass
class Label:
    label: str


@dataclasses.dataclass
class Labelled:
    order: str
    label: str


def shipping(seen, outcome, undo=False):
    """Return a saga whose step ``ship`` fails until its price is known, and that returns what ``tell`` needs."""

    class Shipping(Saga):
        saga_name = "shipping"
        context = Parcel

        @action("charge", pivot=True)
        async def charge(self, ctx): ...

        @action("ship", depends_on=["charge"])
        async def ship(self, ctx: Parcel) -> Label:
            if ctx.price is None:
                raise ValueError("no price")
            seen.append((ctx.price, ctx.carrier))
            return Label("L-1")

        @forward_recovery("ship")
        async def recover(self, ctx, error):
            return outcome

    async def tell(self, ctx: Labelled):
        seen.append(ctx.label)

    async def tell_plainly(self, ctx: dict):
        seen.append("told")

    async def untell(self, ctx: Labelled): ...

    Shipping.tell = action("tell", depends_on=["ship"])(tell_plainly if undo else tell)
    if undo:
        Shipping.untell = compensate("tell")(untell)
    return Shipping


async def decide(sagas, saga_id, payload):
    """Decide as people do, by JSON."""
    [wait] = [one for one in (await sagas.status(saga_id)).waits if one.outcome is None]
    await sagas.signal_run(saga_id, wait.name, json.loads(json.dumps(payload)), by="kim")


async def until(sagas, saga_id, holds):
    """Wait until something holds of a run and its recovery's entry."""
    async with asyncio.timeout(20):
        while True:
            report = await sagas.status(saga_id)
            [entry] = [one for one in report.steps if (one.step, one.phase) == ("ship", "redo")]
            if holds(report.run, entry):
                return
            await asyncio.sleep(0.01)


def completed(run, entry):
    return run.status == "completed"


@pytest.fixture
async def sagas(runtime):
    worker = runtime.make_worker()
    worker.start()
    yield Sagas(runtime)
    worker.stop()
    await worker.stopped()


async def test_what_json_has_not_is_set_by_hand_in_the_tagged_form(sagas):
    seen = []
    saga_class = shipping(seen, RecoveryAction.MANUAL_INTERVENTION)
    with pytest.raises(RunWaiting) as caught:
        await sagas.run(saga_class, {"order": "1"})
    changes = {"price": {"$sagaz.decimal": "12.50"}, "carrier": {"$sagaz.enum": ["Carrier", "ox"]}}
    await decide(sagas, caught.value.saga_id, {"action": "retry_alt", "context": changes})
    await until(sagas, caught.value.saga_id, completed)
    assert seen == [(Decimal("12.50"), Carrier.OX), "L-1"]


@pytest.mark.parametrize(
    "value", [{"$sagaz.decimal": "much"}, {"$sagaz.decimal": 1}, {"$sagaz.amount": "1"}, {"$sagaz.enum": "OX"}]
)
async def test_a_tag_that_says_nothing_is_refused_when_it_is_sent(sagas, value):
    with pytest.raises(RunWaiting) as caught:
        await sagas.run(shipping([], RecoveryAction.MANUAL_INTERVENTION), {"order": "1"})
    payload = {"action": "retry_alt", "context": {"price": value}}
    with pytest.raises(InvalidInput, match="changes the context, and A stored value is tagged"):
        await sagas.signal_run(caught.value.saga_id, "sagaz:redo:ship:1", payload, by="kim")


@pytest.mark.parametrize("undo", [False, True])
async def test_a_step_is_not_skipped_when_one_behind_it_would_lack_what_it_returns(sagas, undo):
    seen = []
    saga_class = shipping(seen, RecoveryAction.SKIP, undo)
    with pytest.raises(RunWaiting) as caught:
        await sagas.run(saga_class, {"order": "1"})
    saga_id = caught.value.saga_id
    why = "wants to skip it, and step 'tell' takes Labelled, whose field 'label' is missing then; set it in the context"
    await until(sagas, saga_id, lambda run, entry: run.status == "waiting" and entry.error == f"its handler {why}")
    await decide(sagas, saga_id, {"action": "skip"})
    await until(sagas, saga_id, lambda run, entry: run.status == "waiting" and entry.error == f"a person {why}")
    await decide(sagas, saga_id, {"action": "skip", "context": {"label": "by hand"}})
    await until(sagas, saga_id, completed)
    assert seen == ["told" if undo else "by hand"]
