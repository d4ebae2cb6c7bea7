"""Runs: inline, in the background and for a worker, from plain and async views; and what steps find."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import CancelledError
from datetime import UTC, datetime, timedelta

import pytest
from flask import current_app, g, has_request_context

from flask_sagaz import (
    IdempotencyConflict,
    RunFailed,
    RunInterrupted,
    RuntimeNotOpen,
    RunWaiting,
    Saga,
    StepError,
    UsageError,
    action,
    current_sagaz,
    current_step,
)


@pytest.fixture
def shop(make_app, storage_url, OrderSaga):
    app, sagaz = make_app(storage_url, sagas=[OrderSaga])

    @app.post("/inline")
    def inline():
        run = sagaz.run_sync(sagaz.create_saga(OrderSaga), {"order_id": "A1"})
        return {"saga_id": run.saga_id, "status": run.status.value, "reservation": run["reservation"]}

    @app.post("/awaited")
    async def awaited():
        run = await current_sagaz.create_saga(OrderSaga).run({"order_id": "A2"})
        return {"saga_id": run.saga_id, "status": run.status.value, "reservation": run["reservation"]}

    @app.post("/background")
    def background():
        return {"saga_id": sagaz.run_background(sagaz.create_saga(OrderSaga), {"order_id": "A3"})}, 202

    return app


@pytest.mark.parametrize("path", ["/inline", "/awaited"])
def test_plain_and_async_views_run_sagas_and_see_their_results(shop, record_of, path):
    answer = shop.test_client().post(path)
    assert (answer.status_code, answer.json["status"]) == (200, "completed")
    assert answer.json["reservation"].startswith("R-A")
    assert record_of(shop, answer.json["saga_id"]).status == "completed"


def test_a_run_that_waits_tells_its_caller_logs_no_error_and_goes_on(make_app, storage_url, record_of, ended, caplog):
    class PaidSaga(Saga):
        @action("pay")
        def pay(self, ctx):
            return {"paid": dict(current_step().signal("paid", key="pi_1"))}

    caplog.set_level(logging.INFO)
    app, sagaz = make_app(storage_url, sagas=[PaidSaga], worker=True)
    with app.app_context():
        with pytest.raises(RunWaiting, match="waits for signal 'paid'") as raised:
            sagaz.run_sync(sagaz.create_saga(PaidSaga), {}, "mine")
        assert (raised.value.saga_id, getattr(raised.value, "__notes__", [])) == ("mine", [])
        record = record_of(app, "mine")
        assert (record.status, record.lease_owner) == ("waiting", None)
        assert [
            one for one in caplog.records if one.exc_info or ("sagaz" in one.name and one.levelno > logging.INFO)
        ] == []
        assert [sagaz.send_signal("paid", {"n": 1}, key="pi_1") for _ in range(2)] == [True, False]
        assert ended(app, "mine").status == "completed"


def test_all_verbs_are_there_for_code_with_and_without_await(make_app, storage_url, OrderSaga, ended):
    app, sagaz = make_app(storage_url, sagas=[OrderSaga], worker=True)

    async def awaited():
        run = await current_sagaz.sagas.run(OrderSaga, {"order_id": "A2"})
        return run.saga_id, (await current_sagaz.sagas.status(run.saga_id)).status

    with app.app_context():
        saga_id = sagaz.start(OrderSaga, {"order_id": "A1"})
        assert ended(app, saga_id).status == "completed"
        assert sagaz.sagas.status_sync(saga_id).status == "completed"
        other, status = asyncio.run(awaited())
        assert (other != saga_id, status) == (True, "completed")
        outcome = sagaz.sagas.cancel_sync(saga_id, by="ann", reason="a test")
        assert (outcome.done, "nothing to cancel" in outcome.message) == (False, True)


def test_the_extension_asks_and_decides_by_itself(make_app, storage_url, OrderSaga):
    app, sagaz = make_app(storage_url, sagas=[OrderSaga])
    with app.app_context():
        saga_id = sagaz.start(OrderSaga, {"order_id": "A1"}, not_before=datetime.now(UTC) + timedelta(days=1))
        assert current_sagaz.status(saga_id).status == "pending"
        assert [decide(saga_id, by="ann").done for decide in (sagaz.retry, sagaz.cancel)] == [False, True]
        assert not sagaz.resolve(saga_id, "completed", by="ann", reason="by hand").done
        assert [(note.action, note.actor) for note in sagaz.status(saga_id).audit] == [("cancel", "ann")]


def test_a_failed_saga_is_compensated_and_raises_the_steps_own_exception(make_app, storage_url, OrderSaga, calls):
    app, sagaz = make_app(storage_url)
    with app.app_context():
        saga = sagaz.create_saga(OrderSaga)
        with pytest.raises(ValueError, match="the card was declined") as failure:
            sagaz.run_sync(saga, {"order_id": 1, "declined": True}, idempotency_key="k")
        assert "rolled_back" in failure.value.__notes__[0]
        assert [name for name, _ in calls] == ["reserve", "charge", "release"]
        with pytest.raises(RunFailed):
            sagaz.run_sync(saga, {"order_id": 1, "declined": True}, idempotency_key="k")


def test_a_background_run_is_recorded_at_once_and_ends_by_itself(shop, ended):
    saga_id = shop.test_client().post("/background").json["saga_id"]
    record = ended(shop, saga_id)
    assert (record.status, record.attempt) == ("completed", 1)


def test_a_started_run_waits_for_a_worker(make_app, tmp_path, OrderSaga, calls, record_of, ended):
    url = f"sqlite:///{tmp_path / 'sagaz.db'}"
    app, sagaz = make_app(url, sagas=[OrderSaga])
    with app.app_context():
        saga_id = sagaz.start(OrderSaga, {"order_id": "A4"})
        later = sagaz.start(OrderSaga, {"order_id": "A5"}, not_before=datetime.now(UTC) + timedelta(hours=1))
        many = sagaz.start_many(OrderSaga, [{"order_id": n} for n in range(3)])
    assert (record_of(app, saga_id).status, calls) == ("pending", [])
    working, _ = make_app(url, sagas=[OrderSaga], worker=True)
    working.test_client().get("/any/request/starts/the/worker")
    assert {ended(working, one).status for one in [saga_id, *many]} == {"completed"}
    assert record_of(app, later).status == "pending"


def test_a_key_means_one_run_whoever_uses_it(make_app, storage_url, OrderSaga, calls, ended):
    app, sagaz = make_app(storage_url, sagas=[OrderSaga])
    with app.app_context():
        saga = sagaz.create_saga(OrderSaga)
        first = sagaz.run_sync(saga, {"order_id": 1}, idempotency_key="k")
        again = sagaz.run_sync(saga, {"order_id": 1}, idempotency_key="k")
        assert (first.saga_id, dict(first)) == (again.saga_id, dict(again))
        assert sagaz.start(OrderSaga, {"order_id": 1}, idempotency_key="k") == first.saga_id
        assert sagaz.run_background(saga, {"order_id": 1}, idempotency_key="k") == first.saga_id
        with pytest.raises(IdempotencyConflict):
            sagaz.start(OrderSaga, {"order_id": 2}, idempotency_key="k")
    assert [name for name, _ in calls] == ["reserve", "charge"]


def test_an_unbound_saga_is_refused_with_the_fix(make_app, OrderSaga):
    app, sagaz = make_app()
    with app.app_context(), pytest.raises(RuntimeNotOpen, match=r"sagaz.create_saga\(OrderSaga\)"):
        sagaz.run_sync(OrderSaga(), {})


def test_eight_threads_share_one_loop(make_app, storage_url, OrderSaga, calls):
    app, sagaz = make_app(storage_url)
    client_results, barrier = [], threading.Barrier(8)

    def client(number):
        barrier.wait(10)
        with app.app_context():
            for n in range(10):
                run = sagaz.run_sync(sagaz.create_saga(OrderSaga), {"order_id": f"{number}-{n}"})
                client_results.append(run["reservation"])

    threads = [threading.Thread(target=client, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(client_results) == sorted(f"R-{number}-{n}" for number in range(8) for n in range(10))
    assert len([thread for thread in threading.enumerate() if thread.name == "sagaz-loop"]) == 1


class Looking(Saga):
    """Tells what its steps see; one is async and one plain."""

    saga_name = "looking"

    @action("async")
    async def in_loop(self, ctx):
        return {"async": _seen()}

    @action("plain")
    def in_thread(self, ctx):
        return {"plain": _seen()}


def _seen():
    step = current_step()
    g.mine = g.get("mine", 0) + 1
    own = step.app is current_app._get_current_object()
    return [current_app.name, own, g.mine, has_request_context(), step.correlation_id]


def test_steps_have_an_application_context_of_their_own_and_never_the_request(make_app, storage_url, ended):
    app, sagaz = make_app(storage_url)

    @app.get("/")
    def look():
        g.mine = 100
        saga = sagaz.create_saga(Looking)
        run = sagaz.run_sync(saga)
        assert g.mine == 100
        return {"seen": [run["async"], run["plain"]]}

    answer = app.test_client().get("/", headers={"X-Correlation-ID": "c-1"})
    assert answer.json["seen"] == [["shop", True, 1, False, "c-1"]] * 2


def test_the_context_of_a_step_is_torn_down_whatever_happens_in_it(make_app, storage_url):
    class Failing(Saga):
        saga_name = "failing"

        @action("fine")
        async def fine(self, ctx): ...

        @action("wrong", depends_on=["fine"])
        def wrong(self, ctx):
            raise LookupError("wrong")

    app, sagaz = make_app(storage_url)
    torn_down = []
    app.teardown_appcontext(lambda error: torn_down.append(repr(error)))
    with app.app_context():
        saga = sagaz.create_saga(Failing)
        with pytest.raises(LookupError):
            sagaz.run_sync(saga)
        assert torn_down == ["None", "LookupError('wrong')"]


def test_a_step_may_start_and_await_further_sagas(make_app, storage_url, OrderSaga, calls):
    class Outer(Saga):
        saga_name = "outer"

        @action("awaits")
        async def awaits(self, ctx):
            run = await current_sagaz.create_saga(OrderSaga).run({"order_id": "inner"})
            return {"inner": run.saga_id}

        @action("runs", depends_on=["awaits"])
        def runs(self, ctx):
            return {"plain": current_sagaz.run_sync(current_sagaz.create_saga(OrderSaga), {"order_id": "p"}).saga_id}

        @action("blocks", depends_on=["runs"])
        async def blocks(self, ctx):
            with pytest.raises(UsageError, match="await the asynchronous form"):
                current_sagaz.run_sync(current_sagaz.create_saga(OrderSaga), {"order_id": "b"})

    app, sagaz = make_app(storage_url)
    with app.app_context():
        run = sagaz.run_sync(sagaz.create_saga(Outer))
    assert {step.saga_id for _, step in calls} == {run["inner"], run["plain"]}


def test_an_async_view_that_is_cancelled_does_not_cancel_its_saga(make_app, storage_url, ended):
    class Gated(Saga):
        saga_name = "gated"

        @action("wait")
        async def wait(self, ctx):
            begun.set()
            await asyncio.to_thread(gate.wait, 20)

    begun, gate, ids = threading.Event(), threading.Event(), []
    app, sagaz = make_app(storage_url)

    async def view():
        saga = sagaz.create_saga(Gated)
        task = asyncio.create_task(saga.run({}, saga_id="gated-1"))
        await asyncio.to_thread(begun.wait, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        ids.append("gated-1")

    with app.app_context():
        asyncio.run(view())
        gate.set()
        assert ended(app, ids[0]).status == "completed"


@pytest.mark.parametrize("plain", [False, True])
def test_a_step_that_asks_the_interpreter_to_exit_has_failed_and_nothing_else(make_app, storage_url, OrderSaga, plain):
    class Leaving(Saga):
        saga_name = "leaving"

        if plain:

            @action("leave")
            def leave(self, ctx):
                raise SystemExit(3)
        else:

            @action("leave")
            async def leave(self, ctx):
                raise SystemExit(3)

    app, sagaz = make_app(storage_url)
    with app.app_context():
        with pytest.raises(StepError, match="'leave' raised SystemExit"):
            sagaz.run_sync(sagaz.create_saga(Leaving))
        assert sagaz.run_sync(sagaz.create_saga(OrderSaga), {"order_id": 1}).status.value == "completed"


def test_a_loop_that_a_step_has_stopped_is_replaced_by_another(make_app, OrderSaga, until):
    class Stopping(Saga):
        saga_name = "stopping"

        @action("stop")
        async def stop(self, ctx):
            asyncio.get_running_loop().stop()
            await asyncio.sleep(60)

    app, sagaz = make_app()

    def works():
        try:
            return sagaz.run_sync(sagaz.create_saga(OrderSaga), {"order_id": 1}).status.value == "completed"
        except RuntimeNotOpen:
            return False

    with app.app_context():
        saga = sagaz.create_saga(Stopping)
        with pytest.raises((CancelledError, RunInterrupted)):
            sagaz.run_sync(saga)
        until(works, "another loop runs sagas")
