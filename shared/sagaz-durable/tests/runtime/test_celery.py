"""Dispatch by Celery: a real worker of Celery's in this process, on its broker in memory."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker
from celery.exceptions import SoftTimeLimitExceeded

from sagaz_durable import Saga, action, compensate
from sagaz_durable import celery as ours
from sagaz_durable.celery import CeleryDispatch
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.sagas import Sagas
from sagaz_durable.settings.settings import Settings
from sagaz_integration_core.context.correlation import bound
from sagaz_integration_core.context.current_step import current_step
from sagaz_integration_core.errors import SettingsError


@pytest.fixture
def OrderSaga(ledger):
    class OrderSaga(Saga):
        saga_name = "order"

        @action("reserve")
        async def reserve(self, ctx):
            ledger.append(("reserve", current_step()))

        @compensate("reserve")
        def release(self, ctx):
            ledger.append(("release", current_step()))

        @action("charge", depends_on=["reserve"])
        def charge(self, ctx):
            ledger.append(("charge", current_step()))
            if ctx.get("declined"):
                raise ValueError("the card was declined")

    return OrderSaga


@pytest.fixture
def celery(request):
    # A queue of the test's own: all of the process share one memory.
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.update(task_default_queue=request.node.name, worker_hijack_root_logger=False)
    return app


class Thread:
    """A runtime on a loop of its own, as Flask and Django have it."""

    def __init__(self, settings, celery, sagas):
        self.sent = 0
        self._opened = threading.Event()
        self.dispatch = CeleryDispatch(celery, self.perform, self.close)
        self.runtime = SagazRuntime(settings, sagas=sagas, app="the application", dispatch=self.send)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))
        self._thread.start()
        self._opened.wait(20)

    def send(self, saga_ids):
        self.sent += len(saga_ids)
        self.dispatch.send(saga_ids)

    async def _main(self):
        self._stop = asyncio.Event()
        await self.runtime.open()
        self._opened.set()
        await self._stop.wait()
        await self.runtime.close()

    def perform(self, work):
        return self.runtime.call(lambda: work(self.runtime), interruptible=True)

    def record(self, saga_id):
        return self.runtime.call(lambda: self.runtime.store.load(saga_id))

    def close(self):
        if self._thread.is_alive():
            self.runtime.loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(20)


@pytest.fixture
def shop(shared_settings, celery, OrderSaga):
    shop = Thread(replace(shared_settings, dispatch="celery"), celery, [OrderSaga])
    yield shop
    shop.close()


@contextmanager
def working(celery):
    """A worker of Celery's, in a thread; it sets up logging for the whole process."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    try:
        with start_worker(celery, pool="solo", perform_ping_check=False, shutdown_timeout=30):
            yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers


def queued(celery):
    with celery.connection_for_read() as connection:
        return connection.default_channel.queue_declare(celery.conf.task_default_queue).message_count


def until(condition, seconds=20):
    """Wait for something that another thread does."""
    deadline = threading.Event()
    timer = threading.Timer(seconds, deadline.set)
    timer.start()
    try:
        while not (found := condition()):
            assert not deadline.wait(0.01)
        return found
    finally:
        timer.cancel()


def ended(shop, saga_id):
    return until(lambda: (record := shop.record(saga_id)).finished_at is not None and record)


@pytest.mark.parametrize("shared_settings", ["sqlite"], indirect=True)
def test_a_start_is_executed_by_a_worker_of_celery(shop, celery, OrderSaga, ledger):
    with bound("request-1"):
        good = Sagas(shop.runtime).start_sync(OrderSaga, {"n": 1})
        bad = Sagas(shop.runtime).start_sync(OrderSaga, {"n": 2, "declined": True})
    assert queued(celery) == 2
    with working(celery):
        assert ended(shop, good).status == "completed"
        assert ended(shop, bad).status == "rolled_back"
    assert [(name, step.saga_id) for name, step in ledger] == [
        ("reserve", good), ("charge", good), ("reserve", bad), ("charge", bad), ("release", bad),
    ]  # fmt: skip
    assert {(step.correlation_id, step.app) for _, step in ledger} == {("request-1", "the application")}


def test_a_duplicate_or_late_message_does_nothing(shop, celery, OrderSaga, ledger):
    saga_id = Sagas(shop.runtime).start_sync(OrderSaga, {})
    shop.dispatch.send([saga_id, saga_id, "no such run"])
    run = celery.tasks["sagaz.run"]
    assert run(saga_id) == "1 completed"
    assert run(saga_id) == run("no such run") == "no runs"
    assert [name for name, _ in ledger] == ["reserve", "charge"]
    assert shop.record(saga_id).attempt == 1


def test_the_same_key_sends_one_message_and_a_start_for_later_none(shop, celery, OrderSaga):
    for _ in range(3):
        Sagas(shop.runtime).start_sync(OrderSaga, {}, idempotency_key="k")
    Sagas(shop.runtime).start_sync(OrderSaga, {}, not_before=datetime.now(UTC) + timedelta(hours=1))
    assert queued(celery) == shop.sent == 1


def test_many_starts_are_as_many_messages(shop, celery, OrderSaga):
    Sagas(shop.runtime).start_many_sync(OrderSaga, [{"n": n} for n in range(25)])
    assert queued(celery) == shop.sent == 25


def test_a_sweep_executes_what_no_message_has_led_to(shop, celery, OrderSaga, caplog):
    ids = Sagas(shop.runtime).start_many_sync(OrderSaga, [{"n": n} for n in range(25)])
    with celery.connection_for_write() as connection:
        assert connection.default_channel.queue_purge(celery.conf.task_default_queue) == 25
    assert celery.tasks["sagaz.sweep"]() == "25 completed"
    assert {shop.record(saga_id).status for saga_id in ids} == {"completed"}
    assert celery.tasks["sagaz.sweep"]() == "no runs"
    assert shop.runtime.call(shop.runtime.store.stats).live_workers == 1


def test_a_sweep_executes_all_that_have_slept(shared_settings, celery):
    class Sleepy(Saga):
        saga_name = "sleepy"

        @action("sleep")
        async def sleep(self, ctx):
            await current_step().sleep_until(datetime(2020, 1, 1, tzinfo=UTC))

    shop = Thread(replace(shared_settings, dispatch="celery", concurrency=4), celery, [Sleepy])
    try:
        ids = Sagas(shop.runtime).start_many_sync(Sleepy, [{"n": n} for n in range(25)])
        assert celery.tasks["sagaz.sweep"]() == "25 completed, 25 waiting"
        assert {shop.record(saga_id).status for saga_id in ids} == {"completed"}
    finally:
        shop.close()


def test_a_sweep_executes_what_is_to_be_executed_alone_one_after_another(shop, celery, OrderSaga, ledger):
    ids = Sagas(shop.runtime).start_many_sync(OrderSaga, [{"n": n} for n in range(3)])
    store, known = shop.runtime.store, shop.runtime.registry.first_steps

    def two_are_alone():
        # One claim takes several, and a later one finds that their owner is dead. The last one has no company any more.
        shop.runtime.call(lambda: store.claim(f"dead-{time.monotonic_ns()}", 100, 0.05, known))
        time.sleep(0.1)
        return sum(shop.record(saga_id).alone for saga_id in ids) >= 2

    def all_have_ended():
        # The one that was claimed last comes back when its pause is over.
        celery.tasks["sagaz.sweep"]()
        return all(shop.record(saga_id).status == "completed" for saga_id in ids)

    until(two_are_alone)
    until(all_have_ended)
    assert len({step.saga_id for _, step in ledger}) == 3
    calls = [step.saga_id for _, step in ledger]
    assert calls == sorted(calls, key=calls.index), "none began before the one before it had ended"


def test_a_broker_that_is_away_neither_fails_a_start_nor_loses_its_run(shared_settings, OrderSaga, caplog):
    celery = Celery("shop", broker="amqp://127.0.0.1:1", set_as_current=False)
    shop = Thread(replace(shared_settings, dispatch="celery"), celery, [OrderSaga])
    try:
        saga_id = Sagas(shop.runtime).start_sync(OrderSaga, {})
        [record] = [record for record in caplog.records if record.name == ours.__name__]
        assert record.levelno == logging.WARNING
        assert f"no message for 1 of the runs {saga_id}. Nothing is lost: the sweep" in record.getMessage()
        assert celery.tasks["sagaz.sweep"]() == "1 completed"
        assert shop.record(saga_id).status == "completed"
    finally:
        shop.close()


def test_a_time_limit_of_celerys_gives_the_run_back(shared_settings, celery, monkeypatch):
    begun = threading.Event()

    class SlowSaga(Saga):
        @action("wait")
        async def wait(self, ctx):
            begun.set()
            await asyncio.sleep(ctx["seconds"])

    shop = Thread(replace(shared_settings, dispatch="celery"), celery, [SlowSaga])
    try:
        saga_id = Sagas(shop.runtime).start_sync(SlowSaga, {"seconds": 600})
        submit = shop.runtime.submit

        def interrupted(work):
            # As the signal does: the exception comes up where the task waits.
            future = submit(work)
            future.exception = lambda seconds=None: begun.wait(20) and _raise(SoftTimeLimitExceeded())
            return future

        with monkeypatch.context() as patch:
            patch.setattr(shop.runtime, "submit", interrupted)
            with pytest.raises(SoftTimeLimitExceeded):
                celery.tasks["sagaz.run"](saga_id)
        released = until(lambda: (record := shop.record(saga_id)).lease_owner is None and record)
        assert (released.status, released.failures) == ("pending", 0)
    finally:
        shop.close()


def _raise(error):
    raise error


def test_a_celery_application_serves_one_application(celery):
    CeleryDispatch(celery, lambda work: None, lambda: None)
    with pytest.raises(SettingsError, match=r"'shop' executes the runs of another .*register was called twice"):
        CeleryDispatch(celery, lambda work: None, lambda: None)


@pytest.mark.parametrize(
    ("url", "dispatch", "told"),
    [("memory://", print, "in memory, where Celery's workers cannot"), ("sqlite:///", None, "no Celery application")],
)
async def test_what_cannot_work_is_refused_when_the_runtime_opens(url, dispatch, told, tmp_path):
    url = url if url == "memory://" else f"{url}{tmp_path / 'sagaz.db'}"
    runtime = SagazRuntime(Settings(storage_url=url, dispatch="celery"), dispatch=dispatch)
    with pytest.raises(SettingsError, match=told):
        await runtime.open()
    assert not runtime.is_open


def test_importing_the_core_imports_no_celery():
    modules = "sagaz_durable.runtime.runtime, sagaz_durable.runtime.starting"
    code = f"import sys, {modules}; assert 'celery' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


SAFE = {"socket_timeout": 2, "socket_connect_timeout": 2}


@pytest.mark.parametrize("broker", ["redis://localhost/0", "rediss://localhost/0", "sentinel://localhost:26379"])
@pytest.mark.parametrize(("options", "missing"), [({}, "socket_timeout and no socket_connect_timeout"), (SAFE, None)])
def test_a_redis_that_may_hold_up_requests_for_ever_is_warned_of(broker, options, missing, caplog):
    app = Celery("shop", broker=broker, set_as_current=False)
    app.conf.broker_transport_options = options
    CeleryDispatch(app, lambda work: None, lambda: None)
    app.conf.humanize()  # Celery reads its configuration when something of it is asked for.
    warnings = [record.getMessage() for record in caplog.records if "broker_transport_options" in record.getMessage()]
    assert len(warnings) == (missing is not None)
    assert all(f"has no {missing}" in warning and str(SAFE) in warning for warning in warnings)


def test_a_configuration_that_was_read_before_is_looked_at_at_once(caplog):
    app = Celery("shop", broker="redis://localhost/0", set_as_current=False)
    app.conf.humanize()
    CeleryDispatch(app, lambda work: None, lambda: None)
    assert "has no socket_timeout" in caplog.text


@pytest.mark.parametrize("conf", [{"broker_url": "amqp://localhost"}, {"broker_url": "memory://"}])
def test_other_brokers_are_not_warned_of(conf, caplog):
    app = Celery("shop", set_as_current=False)
    app.conf.update(conf)
    CeleryDispatch(app, lambda work: None, lambda: None)
    app.conf.humanize()
    assert "socket_timeout" not in caplog.text
