"""`Sagas`: every verb in both of its forms, from the event loop and from threads."""

from __future__ import annotations

import asyncio
import inspect
import pickle

import pytest

from sagaz_durable import Saga, action, compensate
from sagaz_durable.runtime.bound_saga import bind
from sagaz_durable.sagas import Sagas
from sagaz_durable.settings.settings import Settings
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.errors import RunChanged, RunNotFound, UsageError

pytestmark = pytest.mark.anyio

FORMS = pytest.mark.parametrize("form", ["", "_sync"], ids=["await", "thread"])


class OrderSaga(Saga):
    @action("reserve")
    async def reserve(self, ctx):
        return {"reserved": ctx.get("n")}

    @compensate("reserve")
    async def release(self, ctx):
        if ctx.get("stuck"):
            raise ValueError("nobody answers")

    @action("charge", depends_on=["reserve"], max_retries=0)
    async def charge(self, ctx):
        if ctx.get("declined"):
            raise ValueError("declined")


@pytest.fixture
async def runtime(opened):
    async with opened(Settings(storage_url="memory://", poll_seconds=0.02), sagas=[OrderSaga]) as runtime:
        yield runtime


def verb(sagas, name, form):
    """Return a verb in one of its forms, to be awaited either way."""
    found = getattr(sagas, name + form)
    if not form:
        return found

    async def in_thread(*args, **options):
        return await asyncio.to_thread(found, *args, **options)

    return in_thread


@FORMS
async def test_starts_and_background_runs_are_executed(runtime, ended, form):
    sagas = Sagas(runtime)
    ids = [
        await verb(sagas, "start", form)(OrderSaga, {"n": 1}),
        *await verb(sagas, "start_many", form)(OrderSaga, [{"n": 2}, {"n": 3}]),
        await verb(sagas, "run_background", form)(OrderSaga, {"n": 4}, idempotency_key="k"),
    ]
    assert len(set(ids)) == 4
    for saga_id in ids:
        assert (await ended(runtime, saga_id)).status == "completed"
    assert await verb(sagas, "run_background", form)(OrderSaga, {"n": 4}, idempotency_key="k") == ids[-1]


@FORMS
async def test_each_verb_that_starts_gives_its_runs_their_owner(runtime, form):
    sagas = Sagas(runtime)
    ids = [
        await verb(sagas, "start", form)(OrderSaga, owner="user:42"),
        *await verb(sagas, "start_many", form)(OrderSaga, [{"n": 2}, {"n": 3}], owner="user:42"),
        await verb(sagas, "run_background", form)(OrderSaga, owner="user:42"),
        (await verb(sagas, "run", form)(OrderSaga, owner="user:42")).saga_id,
        (await bind(runtime, OrderSaga).run(owner="user:42")).saga_id,
    ]
    await sagas.start(OrderSaga, owner="user:43")
    for saga_id in ids:
        assert (await verb(sagas, "status", form)(saga_id)).run.owner == "user:42"
    assert {run.saga_id for run in await runtime.store.find(RunFilter(owner="user:42"))} == set(ids)


@FORMS
async def test_a_run_returns_its_result_and_its_key_returns_it_again(runtime, form):
    sagas = Sagas(runtime)
    run = await verb(sagas, "run", form)(OrderSaga, {"n": 7}, idempotency_key="k")
    again = await verb(sagas, "run", form)(OrderSaga, {"n": 7}, idempotency_key="k")
    assert (run["reserved"], run.saga_id, dict(run)) == (7, again.saga_id, dict(again))


@FORMS
async def test_a_run_that_failed_raises_what_its_step_raised(runtime, form):
    with pytest.raises(ValueError, match="declined"):
        await verb(Sagas(runtime), "run", form)(OrderSaga, {"declined": True})


@FORMS
async def test_the_status_of_a_run_tells_its_steps(runtime, form):
    run = await Sagas(runtime).run(OrderSaga)
    report = await verb(Sagas(runtime), "status", form)(run.saga_id)
    assert (report.status, report.run.saga_name) == ("completed", "OrderSaga")
    assert [(step.step, step.status) for step in report.steps] == [("reserve", "done"), ("charge", "done")]


@FORMS
async def test_the_status_of_no_run_is_an_error_that_names_it(runtime, form):
    with pytest.raises(RunNotFound, match="no run nowhere"):
        await verb(Sagas(runtime), "status", form)("nowhere")


async def stuck(sagas, ended, runtime):
    saga_id = await sagas.start(OrderSaga, {"declined": True, "stuck": True})
    assert (await ended(runtime, saga_id)).status == "failed"
    return saga_id


@FORMS
async def test_a_decision_for_a_version_that_a_run_has_no_more_is_not_done(runtime, ended, form):
    sagas = Sagas(runtime)
    saga_id = await stuck(sagas, ended, runtime)
    version = (await verb(sagas, "status", form)(saga_id)).run.version
    assert (await verb(sagas, "resolve", form)(saga_id, "completed", by="ann", reason="seen", version=version)).done
    for name, more in (("retry", {}), ("cancel", {}), ("run_now", {}), ("signal_run", {"name": "paid"})):
        with pytest.raises(RunChanged, match=f"has version {version + 1} and is completed.* for version {version}"):
            await verb(sagas, name, form)(saga_id, by="bea", version=version, **more)
    with pytest.raises(RunChanged) as caught:
        await verb(sagas, "resolve", form)(saga_id, "rolled_back", by="bea", reason="no", version=10**30)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.saga_id, copy.expected, copy.found, str(copy)) == (saga_id, 10**30, version + 1, str(caught.value))
    assert [note.actor for note in (await sagas.status(saga_id)).audit] == ["ann"]


async def test_a_decision_loses_to_what_is_recorded_while_it_is_taken(runtime, ended, monkeypatch):
    sagas = Sagas(runtime)
    saga_id = await stuck(sagas, ended, runtime)
    version = (await sagas.status(saga_id)).run.version
    intervene = runtime.store.intervene

    async def late(change):
        monkeypatch.undo()
        assert (await sagas.resolve(saga_id, "completed", by="bea", reason="faster")).done
        return await intervene(change)

    monkeypatch.setattr(runtime.store, "intervene", late)
    with pytest.raises(RunChanged):
        await sagas.retry(saga_id, by="ann", version=version)
    assert [note.actor for note in (await sagas.status(saga_id)).audit] == ["bea"]


async def test_a_signal_to_a_run_that_has_ended_as_it_was_seen_is_refused(runtime):
    sagas = Sagas(runtime)
    run = await sagas.run(OrderSaga)
    version = (await sagas.status(run.saga_id)).run.version
    outcome = await sagas.signal_run(run.saga_id, "paid", by="ann", version=version)
    assert (outcome.done, "has ended" in outcome.message) == (False, True)


@pytest.mark.parametrize("version", ["3", 2.0, True], ids=repr)
async def test_what_is_no_version_is_the_programs_error(runtime, version):
    for name, more in (("retry", {}), ("signal_run", {"name": "paid"})):
        with pytest.raises(UsageError, match="expected a whole number"):
            await getattr(Sagas(runtime), name)("x", by="ann", version=version, **more)


@FORMS
async def test_who_decided_and_why_is_kept_with_the_run(runtime, ended, form):
    sagas = Sagas(runtime)
    saga_id = await stuck(sagas, ended, runtime)
    planned = await verb(sagas, "retry", form)(saga_id, by="ann", dry_run=True)
    assert (planned.done, (await sagas.status(saga_id)).audit) == (True, ())
    assert (await verb(sagas, "retry", form)(saga_id, by="ann", reason="they are back")).done
    assert (await ended(runtime, saga_id)).status == "failed"
    assert (await verb(sagas, "resolve", form)(saga_id, "rolled_back", by="bea", reason="by phone")).done
    report = await sagas.status(saga_id)
    assert report.status == "rolled_back"
    notes = [(note.action, note.actor, note.reason) for note in report.audit]
    assert notes == [("retry", "ann", "they are back"), ("resolve", "bea", "by phone")]


@FORMS
async def test_a_failed_run_is_cancelled(runtime, ended, form):
    sagas = Sagas(runtime)
    saga_id = await stuck(sagas, ended, runtime)
    outcome = await verb(sagas, "cancel", form)(saga_id, by="ann", reason="a test")
    assert (outcome.done, outcome.status) == (True, "compensating")


@FORMS
async def test_what_is_refused_is_an_outcome_that_tells_why(runtime, form):
    sagas = Sagas(runtime)
    run = await sagas.run(OrderSaga)
    outcome = await verb(sagas, "cancel", form)(run.saga_id, by="ann")
    assert (outcome.done, "nothing to cancel" in outcome.message) == (False, True)
    unsaid = await verb(sagas, "resolve", form)(run.saga_id, "completed", by="ann", reason=" ")
    assert (unsaid.done, "Say what was done" in unsaid.message) == (False, True)


@FORMS
@pytest.mark.parametrize("by", ["", " ", None], ids=repr)
@pytest.mark.parametrize(("name", "more"), [("retry", ()), ("cancel", ()), ("resolve", ("completed",))])
async def test_a_decision_of_nobody_is_refused(runtime, form, by, name, more):
    options = {"reason": "why"} if name == "resolve" else {}
    with pytest.raises(UsageError, match="names nobody"):
        await verb(Sagas(runtime), name, form)("any", *more, by=by, **options)


@FORMS
@pytest.mark.parametrize("reason", [5, None], ids=repr)
@pytest.mark.parametrize(
    ("name", "more"), [("retry", ()), ("cancel", ()), ("run_now", ()), ("resolve", ("completed",))]
)
async def test_a_reason_that_is_no_text_is_refused(runtime, form, reason, name, more):
    with pytest.raises(UsageError, match=f"reason={reason}: expected a text"):
        await verb(Sagas(runtime), name, form)("any", *more, by="ann", reason=reason)


@pytest.mark.parametrize("name", ["run_sync", "run_background_sync", "start_sync"])
async def test_a_synchronous_form_on_the_event_loop_is_refused(runtime, name):
    with pytest.raises(UsageError, match="would wait for itself"):
        getattr(Sagas(runtime), name)(OrderSaga, {})


async def test_verbs_work_on_another_event_loop_than_the_runtimes(runtime):
    def elsewhere():
        async def use():
            sagas = Sagas(runtime)
            run = await sagas.run(OrderSaga, {"n": 5})
            return (await sagas.status(run.saga_id)).status

        return asyncio.run(use())

    assert await asyncio.to_thread(elsewhere) == "completed"


def test_both_forms_of_a_verb_take_the_same_and_are_documented():
    verbs = {name for name in vars_of(Sagas) if not name.endswith("_sync")} - set(ASKS_NOBODY)
    assert verbs == {
        "start", "start_many", "run", "run_background", "wait", "send_signal", "publish", "status", "retry", "cancel",
        "resolve", "run_now", "signal_run", "list_runs", "decide_approval",
    }  # fmt: skip
    for name in verbs:
        one, other = getattr(Sagas, name), getattr(Sagas, f"{name}_sync")
        takes = dict(inspect.signature(one).parameters)
        if name == "run":
            assert takes.pop("wait").default == 0.0, "a thread waits by wait_sync, of which there are few at once"
        assert takes == dict(inspect.signature(other).parameters)
        assert inspect.signature(one).return_annotation == inspect.signature(other).return_annotation
        assert (inspect.iscoroutinefunction(one), inspect.iscoroutinefunction(other)) == (True, False)
        assert one.__doc__
        assert f"Do as `{name}`" in other.__doc__


ASKS_NOBODY = ("approval_token", "read_approval", "signer")
"""What needs one form only: it waits for nothing."""


@pytest.mark.parametrize("name", ASKS_NOBODY)
def test_what_waits_for_nothing_has_one_form_and_is_documented(name):
    assert not inspect.iscoroutinefunction(getattr(Sagas, name))
    assert not hasattr(Sagas, f"{name}_sync")
    assert getattr(Sagas, name).__doc__


def vars_of(cls):
    return [name for name in dir(cls) if not name.startswith("_")]
