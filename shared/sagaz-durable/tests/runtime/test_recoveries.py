"""Forward recovery behind a pivot, and compensations of people, on every store."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace

import pytest
from sagaz import CompensationType, RecoveryAction, Saga, action, compensate, forward_recovery

from sagaz_durable.cli.render_health import health_text
from sagaz_durable.operations.checking import Limits, check
from sagaz_durable.operations.operator import Operator
from sagaz_durable.problem_types import RUNS_ASKING
from sagaz_durable.sagas import Sagas
from sagaz_durable.settings.settings import Settings
from sagaz_integration_core.context.current_step import current_step
from sagaz_integration_core.contract.events import EventFilter
from sagaz_integration_core.errors import InvalidInput, RunWaiting, UsageError

pytestmark = pytest.mark.anyio


def shipping(ledger, *outcomes, max_retries=3, refunds=True, plain=False, fails=99):
    """Return a saga whose step ``ship`` fails so often, and whose handler returns, or raises, these one by one."""
    left = list(outcomes)

    def decide(self, ctx, error):
        ledger.append(f"recover {type(error).__name__}: {error}")
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        if isinstance(found, tuple):
            ctx["carrier"] = found[1]
            found = found[0]
        return found

    async def decide_async(self, ctx, error):
        return decide(self, ctx, error)

    members = {
        "saga_name": "shipping",
        "decide": forward_recovery("ship", max_retries=max_retries)(decide if plain else decide_async),
    }

    def step(name, function, **options):
        members[f"do_{name}"] = action(name, **options)(function)

    def undo(name):
        async def function(self, ctx):
            ledger.append(f"undo {name}")

        members[f"undo_{name}"] = compensate(name)(function)

    async def reserve(self, ctx):
        ledger.append("reserve")

    async def charge(self, ctx):
        ledger.append("charge")
        return {"charge": "ch_1"}

    async def pack(self, ctx):
        ledger.append("pack")

    async def ship(self, ctx):
        ledger.append(f"ship by {ctx.get('carrier')}")
        if sum(one.startswith("ship by") for one in ledger) <= fails:
            raise OSError("no carrier")
        return {"parcel": 1}

    async def notify(self, ctx):
        ledger.append(f"notify of {ctx.get('parcel')} by {ctx.get('carrier')}")

    step("reserve", reserve)
    step("charge", charge, depends_on=["reserve"], pivot=True)
    step("pack", pack, depends_on=["charge"])
    step("ship", ship, depends_on=["pack"])
    step("notify", notify, depends_on=["ship"])
    for name in ("reserve", "pack", *(["charge"] if refunds else [])):
        undo(name)
    return type("Shipping", (Saga,), members)


def refunding(ledger, *, plain=False):
    """Return a saga that rolls back, and whose step ``charge`` a person compensates."""

    async def refund(self, ctx):
        ledger.append("refund")

    def refund_plainly(self, ctx):
        ledger.append("refund")

    def tell(ctx, step):
        ledger.append(f"asked by {current_step().decision_signal}")

    class Refunding(Saga):
        saga_name = "refunding"

        @action("reserve")
        async def reserve(self, ctx):
            ledger.append("reserve")

        @compensate("reserve")
        async def release(self, ctx):
            ledger.append("release")

        @action("charge", depends_on=["reserve"])
        async def charge(self, ctx):
            ledger.append("charge")

        by_hand = compensate("charge", compensation_type=CompensationType.MANUAL, on_compensate=tell)(
            refund_plainly if plain else refund
        )

        @action("ship", depends_on=["charge"])
        async def ship(self, ctx):
            raise ValueError("no parcel")

    return Refunding


async def asked(runtime, saga_id):
    """Wait until a run waits for a person, and return the name of the signal that it waits for."""
    async with asyncio.timeout(20):
        while True:
            open_ = [wait for wait in await runtime.store.load_waits(saga_id) if wait.outcome is None]
            if open_ and (await runtime.store.load(saga_id)).status == "waiting":
                return open_[0].name
            await asyncio.sleep(0.01)


async def journal(runtime, saga_id):
    return {(one.step, one.phase): one for one in await runtime.store.load_steps(saga_id)}


async def decide(runtime, saga_id, payload, reason=""):
    name = await asked(runtime, saga_id)
    outcome = await Operator(runtime.store, runtime.registry, actor="kim").send_signal(
        runtime.settings, name, payload, saga_id=saga_id, reason=reason
    )
    assert outcome.done, outcome.message
    return name


BEGINNING = ["reserve", "charge", "pack", "ship by None"]


@pytest.mark.parametrize("plain", [False, True])
async def test_a_step_that_failed_behind_a_pivot_is_called_again_as_its_handler_decides(runtime, ledger, plain):
    saga = shipping(ledger, RecoveryAction.RETRY, RecoveryAction.RETRY, fails=2, plain=plain)
    run = await Sagas(runtime).run(saga, {})
    assert run["parcel"] == 1
    again = ["recover OSError: no carrier", "ship by None"]
    assert ledger == [*BEGINNING, *again, *again, "notify of 1 by None"]


async def test_what_a_handler_sets_is_seen_by_the_step_its_next_recovery_and_those_behind_it(runtime, ledger):
    saga = shipping(ledger, (RecoveryAction.RETRY_WITH_ALTERNATE, "ox"), (RecoveryAction.RETRY, "mule"), fails=2)
    run = await Sagas(runtime).run(saga, {})
    assert run["carrier"] == "mule"
    assert [one for one in ledger if "by" in one] == [
        "ship by None", "ship by ox", "ship by mule", "notify of 1 by mule"
    ]  # fmt: skip


async def test_a_skipped_step_is_journaled_as_failed_and_the_run_completes_without_it(runtime, ledger):
    run = await Sagas(runtime).run(shipping(ledger, RecoveryAction.SKIP), {})
    assert ledger[len(BEGINNING) :] == ["recover OSError: no carrier", "notify of None by None"]
    report = await Sagas(runtime).status(run.saga_id)
    assert report.status == "completed"
    assert report.views["ship"].state == "skipped"
    entries = await journal(runtime, run.saga_id)
    assert (entries["ship", "do"].status, entries["ship", "do"].error) == ("failed", "OSError: no carrier")
    assert json.loads(entries["ship", "redo"].result)["action"] == "skip"


async def test_a_pivot_is_compensated_with_all_before_it_when_the_handler_asks_for_that(runtime, ledger):
    with pytest.raises(OSError, match="no carrier") as raised:
        await Sagas(runtime).run(shipping(ledger, RecoveryAction.COMPENSATE_PIVOT), {"saga": 1})
    assert ledger[len(BEGINNING) + 1 :] == ["undo pack", "undo charge", "undo reserve"]
    assert "ended as rolled_back" in raised.value.__notes__[0]


async def test_a_handler_before_whom_no_pivot_can_be_compensated_has_a_person_asked(runtime, ledger):
    saga = shipping(ledger, RecoveryAction.COMPENSATE_PIVOT, refunds=False)
    with pytest.raises(RunWaiting):
        await Sagas(runtime).run(saga, {}, idempotency_key="k")
    assert not any(one.startswith("undo") for one in ledger)


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        (RecoveryAction.MANUAL_INTERVENTION, "its handler wants a person"),
        (ValueError("oops"), "its handler raised ValueError: oops"),
        ("retry", "its handler returned a str, and no RecoveryAction"),
        ((RecoveryAction.RETRY, object()), "its handler changed the context, and"),
    ],
)
async def test_a_handler_that_decides_nothing_has_a_person_asked_and_the_journal_says_why(
    working, ledger, caplog, outcome, why
):
    saga_id = await Sagas(working).start(shipping(ledger, outcome, fails=1), {})
    name = await asked(working, saga_id)
    assert ledger == [*BEGINNING, "recover OSError: no carrier"]
    entry = (await journal(working, saga_id))["ship", "redo"]
    assert entry.status == "waiting"
    assert entry.error.startswith(why)
    assert (await Sagas(working).status(saga_id)).views["ship"].state == "recovering"
    [told] = [one.getMessage() for one in caplog.records if "waits for a person" in one.getMessage()]
    assert name in told
    assert "retry, retry_alt, skip, compensate, give_up" in told


async def test_a_handler_that_returns_what_nobody_awaited_has_a_person_asked_and_it_is_closed(working, ledger):
    async def later(): ...

    saga_id = await Sagas(working).start(shipping(ledger, found := later()), {})
    await asked(working, saga_id)
    assert "its handler returned a coroutine" in (await journal(working, saga_id))["ship", "redo"].error
    with pytest.raises(RuntimeError, match="cannot reuse"):
        found.send(None)


async def test_a_handler_gets_no_more_retries_than_it_was_declared_with(working, ledger):
    saga = shipping(ledger, *[RecoveryAction.RETRY, RecoveryAction.RETRY_WITH_ALTERNATE] * 2, max_retries=2)
    saga_id = await Sagas(working).start(saga, {})
    await asked(working, saga_id)
    assert ledger.count("ship by None") == 3
    assert "further retry after 2" in (await journal(working, saga_id))["ship", "redo"].error


@pytest.mark.parametrize(
    ("payload", "after", "status"),
    [
        ({"action": "retry"}, ["ship by None", "notify of 1 by None"], "completed"),
        (
            {"action": "retry_alt", "context": {"carrier": "kim"}},
            ["ship by kim", "notify of 1 by kim"],
            "completed",
        ),
        ({"action": "skip"}, ["notify of None by None"], "completed"),
        ({"action": "compensate"}, ["undo pack", "undo charge", "undo reserve"], "rolled_back"),
        ({"action": "give_up"}, ["undo pack"], "failed"),
    ],
)
async def test_a_person_decides_about_a_step_and_the_audit_tells_who_and_why(
    working, ended, ledger, payload, after, status
):
    saga_id = await Sagas(working).start(shipping(ledger, RecoveryAction.MANUAL_INTERVENTION, fails=1), {})
    await decide(working, saga_id, payload, reason="called the carrier")
    assert (await ended(working, saga_id)).status == status
    assert ledger == [*BEGINNING, "recover OSError: no carrier", *after]
    [note] = (await Sagas(working).status(saga_id)).audit
    assert (note.action, note.actor, note.reason) == ("signal", "kim", "called the carrier")


async def test_a_decision_begins_the_count_of_retries_anew_and_the_next_question_has_another_name(
    working, ended, ledger
):
    saga = shipping(ledger, *[RecoveryAction.RETRY] * 4, max_retries=1, fails=4)
    saga_id = await Sagas(working).start(saga, {})
    first = await decide(working, saga_id, {"action": "retry"})
    async with asyncio.timeout(20):
        while (second := await asked(working, saga_id)) == first:
            await asyncio.sleep(0.01)
    assert ledger.count("ship by None") == 4
    await decide(working, saga_id, {"action": "retry"})
    assert (await ended(working, saga_id)).status == "completed"
    assert second.startswith("sagaz:redo:ship:")


async def test_a_run_that_was_given_up_behind_its_pivot_can_be_retried_from_the_step(working, ended, ledger):
    saga = shipping(ledger, RecoveryAction.MANUAL_INTERVENTION, fails=1)
    saga.undo_pack = None
    saga_id = await Sagas(working).start(saga, {})
    await decide(working, saga_id, {"action": "give_up"})
    assert "it is given up, as a person has decided" in (await ended(working, saga_id)).error
    await Operator(working.store, working.registry, actor="kim").retry(saga_id)
    assert (await ended(working, saga_id)).status == "completed"


async def test_a_failure_before_the_pivot_calls_no_handler(runtime, ledger):
    class Early(shipping(ledger)):
        saga_name = "early"

        @action("charge", depends_on=["reserve"], pivot=True)
        async def do_charge(self, ctx):
            raise ValueError("no money")

    with pytest.raises(ValueError, match="no money"):
        await Sagas(runtime).run(Early, {})
    assert ledger == ["reserve", "undo reserve"]


async def test_a_handler_knows_its_step_and_has_an_idempotency_key_of_its_own(runtime, ledger):
    class Knows(shipping(ledger)):
        saga_name = "knows"

        @forward_recovery("ship")
        def decide(self, ctx, error):
            step = current_step()
            ledger.append((step.step, step.phase, step.idempotency_key.removeprefix(step.saga_id)))
            assert ctx["charge"] == "ch_1"
            return RecoveryAction.SKIP

    await Sagas(runtime).run(Knows, {})
    assert ("ship", "redo", ":ship:redo") in ledger


async def test_a_handler_may_wait_for_a_signal_before_it_decides(working, ended, ledger):
    class Patient(shipping(ledger)):
        saga_name = "patient"

        @forward_recovery("ship")
        async def decide(self, ctx, error):
            said = await current_step().signal("carrier back", timeout=60)
            return RecoveryAction.SKIP if said["gone"] else RecoveryAction.RETRY

    saga_id = await Sagas(working).start(Patient, {})
    assert await asked(working, saga_id) == "carrier back"
    await Sagas(working).send_signal("carrier back", {"gone": True}, saga_id=saga_id)
    assert (await ended(working, saga_id)).status == "completed"


async def test_a_handler_that_takes_too_long_has_a_person_asked(working, ledger):
    class Slow(shipping(ledger)):
        saga_name = "slow"

        @forward_recovery("ship", timeout_seconds=0.05)
        async def decide(self, ctx, error):
            await asyncio.sleep(60)

    saga_id = await Sagas(working).start(Slow, {})
    await asked(working, saga_id)
    assert "its handler raised TimeoutError" in (await journal(working, saga_id))["ship", "redo"].error


async def test_a_step_beside_that_fails_ends_the_recovery_and_the_run_rolls_back_to_its_pivot(working, ended, ledger):
    class Beside(shipping(ledger, RecoveryAction.MANUAL_INTERVENTION)):
        saga_name = "beside"

        @action("label", depends_on=["charge"])
        async def label(self, ctx):
            async with asyncio.timeout(20):
                while not any(one.startswith("recover") for one in ledger):
                    await asyncio.sleep(0.01)
            raise ValueError("no ink")

    saga_id = await Sagas(working).start(Beside, {})
    record = await ended(working, saga_id)
    assert record.status == "failed"
    assert "no ink" in record.error
    assert ledger[-1] == "undo pack"
    assert not await working.store.load_waits(saga_id)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(
    ("act", "after", "status"),
    [
        ("done", ["release"], "rolled_back"),
        ("run", ["refund", "release"], "rolled_back"),
        ("give_up", ["release"], "failed"),
    ],
)
async def test_a_manual_compensation_waits_for_a_person_who_says_what_becomes_of_it(
    working, ended, ledger, plain, act, after, status
):
    saga_id = await Sagas(working).start(refunding(ledger, plain=plain), {})
    name = await decide(working, saga_id, {"action": act}, reason="by bank transfer")
    record = await ended(working, saga_id)
    assert record.status == status
    # Whoever is told of the compensation can tell a person by which signal it is decided.
    assert ledger == ["reserve", "charge", f"asked by {name}", *after]
    [note] = (await Sagas(working).status(saga_id)).audit
    assert (note.actor, note.reason) == ("kim", "by bank transfer")
    if act == "give_up":
        assert "compensation of 'charge': A person has given it up." in record.error


async def test_a_manual_compensation_that_was_given_up_is_asked_about_again_when_the_run_is_retried(
    working, ended, ledger
):
    saga_id = await Sagas(working).start(refunding(ledger), {})
    first = await decide(working, saga_id, {"action": "give_up"})
    await ended(working, saga_id)
    await Operator(working.store, working.registry, actor="kim").retry(saga_id)
    assert await decide(working, saga_id, {"action": "done"}) != first
    assert (await ended(working, saga_id)).status == "rolled_back"
    assert "refund" not in ledger


@pytest.mark.parametrize(
    ("name", "payload", "told"),
    [
        ("sagaz:undo:charge:1", {}, r'has to say what is decided\. \{"action": "done"\}'),
        ("sagaz:undo:charge:1", {"action": "retry"}, "has to say what is decided"),
        ("sagaz:undo:charge:1", {"action": "done", "context": {}}, "has to say what is decided"),
        ("sagaz:redo:ship:1", {"action": "retry", "context": 1}, '"context" that is no object'),
        ("sagaz:redo:ship:1", {"action": "retry", "context": {"saga_id": "x"}}, "saga_id"),
        ("sagaz:redo:ship:1", {"action": ["retry"]}, "has to say what is decided"),
        ("sagaz:else", {"action": "done"}, "use the name that the run shows"),
    ],
)
async def test_a_decision_that_says_nothing_is_refused_when_it_is_sent(runtime, name, payload, told):
    with pytest.raises(InvalidInput, match=told):
        await Sagas(runtime).send_signal(name, payload, saga_id="some")


async def test_no_step_waits_by_itself_for_what_a_person_decides(runtime):
    class Steals(Saga):
        @action("a")
        async def a(self, ctx):
            await current_step().signal("sagaz:undo:b:1")

    with pytest.raises(UsageError, match="decisions of people"):
        await Sagas(runtime).run(Steals, {})


async def test_an_on_exit_hook_is_told_last_whatever_came_of_the_step(runtime, ledger):
    def hook(what):
        return lambda ctx, step, *more: ledger.append(f"{what} {step}")

    class Exits(Saga):
        @action("a", on_success=hook("success"), on_exit=hook("exit"))
        async def a(self, ctx):
            ledger.append("call a")

        @action("b", depends_on=["a"], on_failure=hook("failure"), on_exit=hook("exit"))
        def b(self, ctx):
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await Sagas(runtime).run(Exits, {})
    assert ledger == ["call a", "success a", "exit a", "failure b", "exit b"]


async def test_a_run_that_waits_for_a_person_is_told_of_at_warning_level(working, ledger, caplog):
    saga_id = await Sagas(working).start(refunding(ledger), {})
    name = await asked(working, saga_id)
    told = [one for one in caplog.records if name in one.getMessage() and saga_id in one.getMessage()]
    assert [one.levelno for one in told] == [logging.WARNING]


async def test_check_counts_runs_that_wait_for_a_person_and_finds_them_where_that_is_asked_for(working, ended, ledger):
    saga_id = await Sagas(working).start(refunding(ledger), {})
    await asked(working, saga_id)
    health = await check(working)
    assert (health.stats.asking, RUNS_ASKING in [one.kind for one in health.findings]) == (1, False)
    assert "people     1 runs wait for one\n" in health_text(health)
    [found] = [one for one in (await check(working, Limits(max_asking=0))).findings if one.kind == RUNS_ASKING]
    assert found.text.startswith("1 runs wait for a person to decide; at most 0 was asked for.")
    await decide(working, saga_id, {"action": "done"})
    await ended(working, saga_id)
    assert (await check(working)).stats.asking == 0


async def test_each_failure_of_a_step_that_is_called_again_has_an_event_of_its_own(settings, opened, ledger):
    saga = shipping(ledger, RecoveryAction.RETRY, RecoveryAction.RETRY, fails=2)
    async with opened(replace(settings, broker_url="memory://")) as runtime:
        run = await Sagas(runtime).run(saga, {})
        events = await runtime.store.find_events(EventFilter(limit=100))
    told = [event.topic for event in events if event.saga_id == run.saga_id]
    assert told.count("shipping.ship.failed") == 2
    assert told.count("shipping.ship.success") == 1


async def test_an_error_that_an_earlier_attempt_has_met_is_told_by_its_text(working, ended, ledger):
    class Elsewhere(shipping(ledger)):
        saga_name = "elsewhere"

        @forward_recovery("ship")
        async def decide(self, ctx, error):
            ledger.append(f"recover {type(error).__name__}: {error}")
            if current_step().attempt == 1:
                await current_step().sleep(0)
            return RecoveryAction.SKIP

    saga_id = await Sagas(working).start(Elsewhere, {})
    assert (await ended(working, saga_id)).status == "completed"
    assert [one for one in ledger if one.startswith("recover")] == [
        "recover OSError: no carrier", "recover StepError: OSError: no carrier"
    ]  # fmt: skip


async def test_a_step_is_called_again_after_pauses_that_grow_and_one_that_is_skipped_is_not_waited_for(
    settings, opened, ledger, monkeypatch
):
    pauses = []
    monkeypatch.setattr(Settings, "backoff", lambda self, failures: pauses.append(failures) or 0.0)
    async with opened(settings) as runtime:
        await Sagas(runtime).run(shipping(ledger, *[RecoveryAction.RETRY] * 2, RecoveryAction.SKIP), {})
    assert ledger.count("ship by None") == 3
    assert pauses == [1, 2]


async def test_a_handler_that_a_deployment_has_lost_has_a_person_asked(shared_settings, opened, ended, ledger):
    class Patient(shipping(ledger)):
        @forward_recovery("ship")
        async def decide(self, ctx, error):
            await current_step().signal("carrier")

    async with opened(shared_settings, sagas=[Patient], worker=True) as before:
        saga_id = await Sagas(before).start(Patient, {})
        assert await asked(before, saga_id) == "carrier"
    lost = type("Lost", (shipping(ledger),), {"decide": None})
    async with opened(shared_settings, sagas=[lost], worker=True) as after:
        await Sagas(after).send_signal("carrier", saga_id=saga_id)
        async with asyncio.timeout(20):
            while (name := await asked(after, saga_id)) == "carrier":
                await asyncio.sleep(0.01)
        assert name.startswith("sagaz:redo:ship")
        assert "its handler is not in this deployment" in (await journal(after, saga_id))["ship", "redo"].error
        await decide(after, saga_id, {"action": "skip"})
        assert (await ended(after, saga_id)).status == "completed"
    assert ledger[-1] == "notify of None by None"


def answered(ledger, **options):
    """Return a saga whose step behind a pivot waits for an answer, fails once, and is called again."""

    class Answered(Saga):
        saga_name = "answered"

        @action("pay", pivot=True)
        async def pay(self, ctx): ...

        @action("ask", depends_on=["pay"])
        async def ask(self, ctx):
            said = await current_step().signal("answer", **options)
            ledger.append(said["n"])
            if ledger == [said["n"]]:
                raise OSError("no carrier")

        @forward_recovery("ask", max_retries=10_000)
        async def again(self, ctx, error):
            ledger.append(type(error).__name__)
            return RecoveryAction.RETRY

    return Answered


async def test_a_step_that_is_called_again_has_the_signal_that_came_for_it(working, ended, ledger):
    saga_id = await Sagas(working).start(answered(ledger), {})
    await asked(working, saga_id)
    await Sagas(working).send_signal("answer", {"n": 1}, saga_id=saga_id)
    assert (await ended(working, saga_id)).status == "completed"
    assert ledger == [1, "OSError", 1]


async def test_a_step_that_is_called_again_waits_anew_for_what_did_not_come_in_time(working, ended, ledger):
    saga_id = await Sagas(working).start(answered(ledger, timeout=0.2), {})
    async with asyncio.timeout(20):
        while "SignalTimeout" not in ledger:
            await asyncio.sleep(0.01)
    await Sagas(working).send_signal("answer", {"n": 2}, saga_id=saga_id)
    assert (await ended(working, saga_id)).status == "completed"
    assert ledger[-1] == 2
