"""What operators can do with runs, on every store, with workers running."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import pytest
from sagaz import Saga, action, compensate

from sagaz_durable.cli.runs import show_run
from sagaz_durable.operations.operator import Operator
from sagaz_durable.sagas import Sagas
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.contract.records import NewRun, RunWrite
from sagaz_integration_core.errors import RunNotFound


class Shop:
    """What the steps of a saga meet outside, and what they did there."""

    def __init__(self):
        self.done = []
        self.broken = set()
        self.hold = asyncio.Event()
        self.held = False

    async def act(self, name):
        self.done.append(name)
        if name in self.broken:
            raise ValueError(f"{name} is broken")

    @property
    def saga(self):
        shop = self

        class OrderSaga(Saga):
            saga_name = "order"

            @action("reserve")
            async def reserve(self, ctx):
                await shop.act("reserve")
                return {"reserved": True}

            @compensate("reserve")
            async def release(self, ctx):
                await shop.act("release")

            @action("charge", depends_on=["reserve"])
            async def charge(self, ctx):
                await shop.act("charge")
                if shop.held:
                    await shop.hold.wait()

            @compensate("charge")
            async def refund(self, ctx):
                await shop.act("refund")

            @action("ship", depends_on=["charge"])
            async def ship(self, ctx):
                assert ctx["reserved"]
                await shop.act("ship")

        return OrderSaga

    @property
    def pivotal(self):
        shop = self

        class PivotSaga(Saga):
            saga_name = "pivotal"

            @action("charge", pivot=True)
            async def charge(self, ctx):
                await shop.act("charge")

            @action("ship", depends_on=["charge"])
            async def ship(self, ctx):
                await shop.act("ship")

        return PivotSaga


@pytest.fixture
def shop():
    return Shop()


@pytest.fixture
async def desk(settings, opened, shop):
    """An open runtime that knows the shop's sagas, with a worker."""
    async with opened(settings, sagas=[shop.saga, shop.pivotal], worker=True) as runtime:
        yield runtime


def operator(runtime, actor="ann"):
    return Operator(runtime.store, runtime.registry, actor=actor, publishes=runtime.publishes)


async def start(runtime, name="order", **options):
    return await Sagas(runtime).start(runtime.registry.get(name).saga_class, {"n": 1}, **options)


async def failed(runtime, ended, name="order"):
    saga_id = await start(runtime, name)
    assert (await ended(runtime, saga_id)).status == "failed"
    return saga_id


async def test_a_run_whose_compensation_failed_has_it_tried_again(desk, ended, shop):
    shop.broken = {"ship", "release"}
    saga_id = await failed(desk, ended)
    assert shop.done == ["reserve", "charge", "ship", "refund", "release"]
    shop.broken = {"ship"}
    outcome = await operator(desk).retry(saga_id, reason="stock is back")
    assert (outcome.done, outcome.status) == (True, "compensating")
    record = await ended(desk, saga_id)
    assert (record.status, record.error) == ("rolled_back", "step 'ship': ValueError: ship is broken")
    assert shop.done == ["reserve", "charge", "ship", "refund", "release", "release"]


async def test_a_run_that_failed_behind_its_pivot_goes_on_where_it_stopped(desk, ended, shop):
    shop.broken = {"ship"}
    saga_id = await failed(desk, ended, "pivotal")
    shop.broken = set()
    outcome = await operator(desk).retry(saga_id)
    assert (outcome.done, outcome.status) == (True, "pending")
    assert (await ended(desk, saga_id)).status == "completed"
    assert shop.done == ["charge", "ship", "ship"]


async def test_a_run_whose_failures_ran_out_goes_on_where_it_stopped(shared_settings, opened, ended, shop):
    async with opened(shared_settings, sagas=[shop.saga]) as starter:
        saga_id = await start(starter)

    def unable():
        raise ConnectionError("a collaborator is away")

    async with opened(shared_settings, sagas=[(shop.saga, unable)]) as stranger:
        # It cannot make the saga, so that each claim counts as a failure.
        stranger.runs.environment.settings = stranger.settings.__class__(max_failures=1)
        await asyncio.wait_for(stranger.make_worker(drain=True).run(), 20)
        assert (await stranger.store.load(saga_id)).status == "failed"
        assert (await operator(stranger).retry(saga_id)).status == "pending"
    async with opened(shared_settings, sagas=[shop.saga], worker=True) as runtime:
        assert (await ended(runtime, saga_id)).status == "completed"
    assert shop.done == ["reserve", "charge", "ship"]


async def test_a_pending_run_that_is_cancelled_never_starts(desk, ended, shop):
    saga_id = await start(desk, not_before=datetime.now(UTC) + timedelta(hours=1))
    outcome = await operator(desk).cancel(saga_id, reason="customer called")
    assert (outcome.done, outcome.status) == (True, "compensating")
    record = await ended(desk, saga_id)
    assert (record.status, record.error) == ("rolled_back", "cancelled by ann: customer called")
    assert shop.done == []


async def test_a_run_that_is_executed_stops_and_compensates_what_it_has_done(settings, opened, ended, shop):
    from dataclasses import replace

    shop.held = True
    quick = replace(settings, lease_seconds=1, renew_seconds=0.1)
    async with opened(quick, sagas=[shop.saga], worker=True) as runtime:
        saga_id = await start(runtime)
        async with asyncio.timeout(20):
            while "charge" not in shop.done:
                await asyncio.sleep(0.01)
        outcome = await operator(runtime).cancel(saga_id)
        assert outcome.done
        assert "when the lease of the process that executes it has ended" in outcome.message
        assert (await ended(runtime, saga_id)).status == "rolled_back"
    # Whether the charge that was under way had its effect is unknown, so it is compensated like one that had.
    assert shop.done == ["reserve", "charge", "refund", "release"]


async def test_a_settled_run_is_left_alone_and_tells_who_settled_it_and_why(desk, ended, shop):
    shop.broken = {"ship", "release"}
    saga_id = await failed(desk, ended)
    outcome = await operator(desk, "bob").resolve(saga_id, "rolled_back", reason="stock corrected by hand")
    assert (outcome.done, outcome.status) == (True, "rolled_back")
    report = await operator(desk).show(saga_id)
    [note] = report.audit
    assert (note.action, note.actor, note.reason) == ("resolve", "bob", "stock corrected by hand")
    assert {(s.step, s.phase, s.status) for s in report.steps if s.phase == "undo"} == {
        ("charge", "undo", "done"),
        ("reserve", "undo", "failed"),
    }


async def test_a_retry_and_a_cancel_of_the_same_run_end_in_one_clear_outcome(desk, ended, shop):
    shop.broken = {"ship", "release"}
    saga_ids = [await failed(desk, ended) for _ in range(8)]
    shop.broken = {"ship"}
    shop.done.clear()
    for saga_id in saga_ids:
        retried, cancelled = await asyncio.gather(
            operator(desk, "ann").retry(saga_id), operator(desk, "bob").cancel(saga_id)
        )
        assert (await ended(desk, saga_id)).status == "rolled_back"
        notes = (await operator(desk).show(saga_id)).audit
        assert [note.actor for note in notes] == [
            who for who, outcome in (("ann", retried), ("bob", cancelled)) if outcome.done
        ]
        assert len(notes) == 1
    assert shop.done == ["release"] * 8


async def test_of_many_who_retry_at_once_one_does_and_the_rest_are_told(desk, ended, shop):
    shop.broken = {"ship"}
    saga_id = await failed(desk, ended, "pivotal")
    shop.broken = set()
    outcomes = await asyncio.gather(*(operator(desk, f"p{n}").retry(saga_id) for n in range(6)))
    assert [outcome.done for outcome in outcomes].count(True) == 1
    assert all("Only a failed run takes a retry" in o.message for o in outcomes if not o.done)
    assert (await ended(desk, saga_id)).status == "completed"
    assert shop.done == ["charge", "ship", "ship"]


async def test_what_has_ended_is_neither_cancelled_nor_retried_nor_resolved(desk, ended, shop):
    saga_id = await start(desk)
    before = await ended(desk, saga_id)
    person = operator(desk)
    outcomes = [await person.cancel(saga_id), await person.retry(saga_id)]
    outcomes.append(await person.resolve(saga_id, "completed", reason="x"))
    assert [outcome.done for outcome in outcomes] == [False] * 3
    assert all("is completed" in outcome.message for outcome in outcomes)
    assert await desk.store.load(saga_id) == before


async def test_behind_a_completed_pivot_nothing_is_cancelled(desk, ended, shop):
    shop.broken = {"ship"}
    saga_id = await failed(desk, ended, "pivotal")
    outcome = await operator(desk).cancel(saga_id)
    assert not outcome.done
    assert "has completed its pivot charge" in outcome.message


async def test_a_cancelled_run_whose_compensation_fails_is_compensated_again_by_a_retry(desk, ended, shop):
    shop.broken = {"ship", "release"}
    saga_id = await failed(desk, ended)
    assert (await operator(desk).cancel(saga_id, reason="no")).done
    assert (await ended(desk, saga_id)).status == "failed"
    shop.broken = set()
    assert (await operator(desk).retry(saga_id)).status == "compensating"
    record = await ended(desk, saga_id)
    assert (record.status, record.error) == ("rolled_back", "cancelled by ann: no")


async def test_a_dry_run_tells_what_would_be_done_and_does_nothing(desk, ended, shop):
    shop.broken = {"ship"}
    saga_id = await failed(desk, ended, "pivotal")
    before = await desk.store.load(saga_id)
    outcome = await operator(desk).retry(saga_id, dry_run=True)
    assert (outcome.done, outcome.message) == (True, "Would do: It goes on where it stopped.")
    assert await desk.store.load(saga_id) == before
    assert await desk.store.load_audit(saga_id) == []


async def test_a_run_that_is_not_there_is_said_to_be_missing(desk):
    outcome = await operator(desk).retry("nowhere")
    assert (outcome.done, outcome.status) == (False, None)
    with pytest.raises(RunNotFound, match="There is no run nowhere"):
        await operator(desk).show("nowhere")


async def test_a_resolution_without_a_reason_is_refused(desk, ended, shop):
    shop.broken = {"ship"}
    saga_id = await failed(desk, ended, "pivotal")
    assert not (await operator(desk).resolve(saga_id, "completed", reason="  ")).done
    assert (await desk.store.load(saga_id)).status == "failed"


async def test_each_decision_is_one_log_line_with_stable_keys(desk, ended, shop, caplog):
    shop.broken = {"ship"}
    saga_id = await failed(desk, ended, "pivotal")
    with caplog.at_level(logging.INFO, "sagaz_durable.audit"):
        await operator(desk).resolve(saga_id, "completed", reason="shipped by hand")
    [line] = [record for record in caplog.records if record.name == "sagaz_durable.audit"]
    assert line.getMessage() == (
        f"resolve of run {saga_id} (saga 'pivotal') by ann: failed, now completed (shipped by hand)"
    )
    assert (line.saga_id, line.saga_name) == (saga_id, "pivotal")


async def test_prune_deletes_in_batches_what_ended_before(desk, ended, shop, monkeypatch):
    from sagaz_durable.operations import removal

    monkeypatch.setattr(removal, "_BATCH", 2)
    for _ in range(5):
        await ended(desk, await start(desk))
    later = datetime.now(UTC) + timedelta(days=1)
    assert await operator(desk).prune(later, ["completed"], dry_run=True) == 5
    assert len(await desk.store.find(RunFilter())) == 5
    assert await operator(desk).prune(later, ["completed"]) == 5
    assert await desk.store.find(RunFilter()) == []


@pytest.mark.parametrize("action", ["cancel", "retry"])
async def test_a_decision_about_a_saga_that_nobody_knows_says_so_and_changes_nothing(runtime, action):
    await runtime.store.insert([NewRun("run-1", "unknown", "{}", "f", lease_owner="w")], 30)
    if action == "retry":
        await runtime.store.write([RunWrite("run-1", "w", 1, status="failed", error="no")])
    operator = Operator(runtime.store, runtime.registry, actor="ann")
    outcome = await getattr(operator, action)("run-1")
    assert not outcome.done
    assert "nor a live worker knows saga 'unknown'" in outcome.message
    assert not await runtime.store.load_audit("run-1")
    await runtime.store.heartbeat("another", 30, "worker", ["unknown"])
    assert (await getattr(operator, action)("run-1")).done


class CardSaga(Saga):
    saga_name = "card"

    @action("charge")
    async def charge(self, ctx):
        return {"receipt": "iban-DE1"}


@pytest.mark.parametrize("output", ["text", "json"])
async def test_what_is_shown_of_a_run_has_no_digest_by_which_its_secrets_could_be_found(runtime, output):
    run = await Sagas(runtime).run(CardSaga, {"cvv": "417-xyz"})
    operator = Operator(runtime.store, runtime.registry, actor="ann")
    record = await runtime.store.load(run.saga_id)
    for values in (True, False):
        shown = (await show_run(operator, run.saga_id, output, values=values)).text
        assert run.saga_id in shown
        assert record.fingerprint not in shown
        assert "417-xyz" not in shown


async def test_no_repr_of_a_run_or_its_records_shows_what_it_was_given_or_has_returned(runtime):
    run = await Sagas(runtime).run(CardSaga, {"note": "417-xyz"})
    report = await Operator(runtime.store, runtime.registry, actor="ann").show(run.saga_id)
    new = NewRun("x", "card", '{"note": "417-xyz"}', "digest-1")
    for one in (run, report, report.run, *report.steps, new):
        shown = f"{one!r} {[one]}"
        assert not [secret for secret in ("417-xyz", "iban-DE1", "digest-1", report.run.fingerprint) if secret in shown]
