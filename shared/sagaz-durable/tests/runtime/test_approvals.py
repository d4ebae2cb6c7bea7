"""Approvals decide once, whoever holds their tokens, with who and why in the audit; on every store."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import aiosqlite
import pytest
from sagaz import Saga, action

from sagaz_durable.runtime.launching import finished_run
from sagaz_durable.sagas import Sagas
from sagaz_durable.settings.settings import Settings
from sagaz_integration_core.context.current_step import current_step
from sagaz_integration_core.contract.decisions import Erasure
from sagaz_integration_core.contract.waits import SignalFilter
from sagaz_integration_core.errors import (
    ApprovalDecided,
    ApprovalEnded,
    ApprovalExpired,
    ApprovalInvalid,
    ContextValueError,
    UsageError,
)

pytestmark = pytest.mark.anyio

YES, NO = {"approved": True}, {"approved": False}


class Order(Saga):
    saga_name = "order"

    @action("approve")
    async def approve(self, ctx):
        return {"decision": dict(await current_step().signal("approval", key=ctx.get("key")))}


@pytest.fixture
def settings(settings):
    return replace(settings, signing_keys=("k" * 32,))


@pytest.fixture
async def sagas(runtime):
    worker = runtime.make_worker()
    worker.start()
    yield Sagas(runtime)
    worker.stop()
    await worker.stopped()


async def waiting(sagas, **context):
    saga_id = await sagas.start(Order, context)
    async with asyncio.timeout(20):
        while (await sagas.status(saga_id)).status != "waiting":
            await asyncio.sleep(0.01)
    return saga_id


async def audit(sagas, saga_id):
    return [(note.action, note.actor, note.reason, note.found) for note in (await sagas.status(saga_id)).audit]


async def test_a_decision_reaches_its_run_with_who_and_why_in_the_audit(sagas, runtime, ended):
    saga_id = await waiting(sagas)
    token = sagas.approval_token("approval", saga_id=saga_id, expires=timedelta(hours=1))
    assert sagas.read_approval(token).saga_id == saga_id
    assert await sagas.decide_approval(token, YES, by="mia\n", reason="a good\x1b customer") is True
    await ended(runtime, saga_id)
    assert (await finished_run(runtime, saga_id))["decision"] == YES
    assert await audit(sagas, saga_id) == [("signal", r"mia\n", r"a good\x1b customer", "waiting")]


async def test_reading_a_token_decides_nothing(sagas, runtime):
    saga_id = await waiting(sagas)
    token = sagas.approval_token("approval", saga_id=saga_id)
    for _ in range(3):
        sagas.read_approval(token)
    assert (await sagas.status(saga_id)).status == "waiting"
    assert await runtime.store.find_signals(SignalFilter(state=None)) == []


async def test_the_same_decision_again_is_harmless_and_another_one_is_refused(sagas, runtime, ended):
    saga_id = await waiting(sagas)
    tokens = [sagas.approval_token("approval", saga_id=saga_id, expires=timedelta(hours=n)) for n in (1, 2)]
    assert await sagas.decide_approval(tokens[0], YES, by="mia") is True
    for _ in range(2):
        for token in tokens:
            assert await sagas.decide_approval(token, YES, by="max") is False
            with pytest.raises(ApprovalDecided, match="decided before, and otherwise"):
                await sagas.decide_approval(token, NO, by="max")
        await ended(runtime, saga_id)
    assert (await finished_run(runtime, saga_id))["decision"] == YES
    assert [actor for _, actor, *_ in await audit(sagas, saga_id)] == ["mia"]


async def test_of_different_decisions_at_once_one_counts_and_the_others_are_told(sagas, runtime, ended):
    saga_id = await waiting(sagas)
    token = sagas.approval_token("approval", saga_id=saga_id)

    async def decide(n):
        try:
            return await sagas.decide_approval(token, {"n": n}, by=f"m{n}")
        except ApprovalDecided:
            return "decided"

    answers = await asyncio.gather(*map(decide, range(12)))
    assert sorted(map(str, answers)) == ["True", *["decided"] * 11]
    await ended(runtime, saga_id)
    winner = answers.index(True)
    assert (await finished_run(runtime, saga_id))["decision"] == {"n": winner}
    assert [actor for _, actor, *_ in await audit(sagas, saga_id)] == [f"m{winner}"]


async def test_a_run_that_has_ended_without_a_decision_takes_none(sagas, runtime, ended):
    saga_id = await waiting(sagas)
    token = sagas.approval_token("approval", saga_id=saga_id)
    await sagas.cancel(saga_id, by="ada")
    await ended(runtime, saga_id)
    with pytest.raises(ApprovalEnded, match="ended meanwhile"):
        await sagas.decide_approval(token, YES, by="mia")


async def test_a_key_leads_to_whoever_waits_and_the_note_stands_in_that_runs_audit(sagas, runtime, ended):
    saga_id, other = await waiting(sagas, key="order-1"), await waiting(sagas, key="order-2")
    token = sagas.approval_token("approval", key="order-1")
    assert await sagas.decide_approval(token, YES, by="mia", reason="fine")
    await ended(runtime, saga_id)
    assert await audit(sagas, saga_id) == [("signal", "mia", "fine", "waiting")]
    assert await audit(sagas, other) == []


async def test_where_a_decision_was_erased_every_other_one_is_told_that_it_was_decided(sagas, runtime, ended):
    saga_id = await waiting(sagas)
    token = sagas.approval_token("approval", saga_id=saga_id)
    await sagas.decide_approval(token, YES, by="mia")
    await ended(runtime, saga_id)
    assert await runtime.store.erase(Erasure("ann", "", saga_ids=(saga_id,)), 1) == 1
    for payload in (YES, NO):
        with pytest.raises(ApprovalDecided, match="how is not known any more"):
            await sagas.decide_approval(token, payload, by="mia")


async def test_a_signal_id_makes_it_another_approval(sagas, runtime):
    saga_id = await waiting(sagas)
    for name in ("first", "second"):
        token = sagas.approval_token("unasked", saga_id=saga_id, signal_id=name)
        assert await sagas.decide_approval(token, {"of": name}, by="mia")
    assert [one.signal_id for one in await runtime.store.find_signals(SignalFilter())] == ["second", "first"]


async def test_what_is_wrong_with_a_decision_leaves_nothing(sagas, runtime):
    saga_id = await waiting(sagas)
    token = sagas.approval_token("approval", saga_id=saga_id)
    for payload, by, error in (
        (YES, "", UsageError),
        (YES, None, UsageError),
        ({"a": {1, 2}}, "mia", ContextValueError),
    ):
        with pytest.raises(error):
            await sagas.decide_approval(token, payload, by=by)
    for reason in (5, None):
        with pytest.raises(UsageError, match=f"reason={reason}: expected a text"):
            await sagas.decide_approval(token, YES, by="mia", reason=reason)
    with pytest.raises(ApprovalInvalid):
        await sagas.decide_approval(f"{token}x", YES, by="mia")
    over = sagas.signer().sign(["approval", saga_id, None, "", 1.0])
    with pytest.raises(ApprovalExpired):
        await sagas.decide_approval(over, YES, by="mia")
    assert await runtime.store.find_signals(SignalFilter(state=None)) == []
    assert await audit(sagas, saga_id) == []


async def test_synchronous_code_decides_too(sagas, runtime, ended):
    saga_id = await waiting(sagas)
    token = sagas.approval_token("approval", saga_id=saga_id)

    def decide(payload):
        return sagas.decide_approval_sync(token, payload, by="mia")

    assert await asyncio.to_thread(decide, YES)
    with pytest.raises(ApprovalDecided):
        await asyncio.to_thread(decide, NO)
    await ended(runtime, saga_id)
    assert len(await audit(sagas, saga_id)) == 1


async def test_a_decision_is_taken_with_the_callers_transaction_or_not_at_all(opened, tmp_path):
    url = f"sqlite:///{tmp_path / 'sagaz.db'}"
    async with opened(Settings(storage_url=url, signing_keys=("k" * 32,))) as runtime:
        sagas = Sagas(runtime)
        saga_id = await sagas.start(Order, {})
        token = sagas.approval_token("approval", saga_id=saga_id)
        async with aiosqlite.connect(tmp_path / "sagaz.db") as session:
            assert await sagas.decide_approval(token, YES, by="mia", session=session)
            await session.rollback()
            assert await audit(sagas, saga_id) == []
            assert await sagas.decide_approval(token, YES, by="mia", session=session)
            with pytest.raises(ApprovalDecided):
                await sagas.decide_approval(token, NO, by="max", session=session)
            await session.commit()
        assert await audit(sagas, saga_id) == [("signal", "mia", "", "pending")]
