"""Dispatch by Celery: messages after commits, and Celery's tasks over the project's own database."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
import time

import pytest
from celery import Celery, signals
from django.apps import apps
from django.core import checks
from django.db import connections, transaction
from django.test import Client, TestCase
from django.urls import include, path
from places import on
from testproject.shop.models import Order
from testproject.shop.sagas import OrderSaga

import django_sagaz.celery
from django_sagaz import Saga, SettingsError, action, atomic_saga_start, run_saga
from django_sagaz._project import dispatch
from django_sagaz.models import AuditEntry, Run
from django_sagaz.webhooks import Unsigned, webhook_urls

EVERYWHERE = on()


@pytest.fixture
def celery(request, monkeypatch):
    """The project's Celery application; with a queue of the test's own, for all of the process share one memory."""
    monkeypatch.setattr(dispatch, "_registered", None)
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.task_default_queue = request.node.name
    django_sagaz.celery.register(app)
    return app


@pytest.fixture
def queued(celery):
    def queued():
        with celery.connection_for_read() as connection:
            return connection.default_channel.queue_declare(celery.conf.task_default_queue).message_count

    return queued


@pytest.fixture
def dispatching(home, celery, settings):
    settings.SAGAZ = {**settings.SAGAZ, "DISPATCH": "celery"}
    yield home
    apps.get_app_config("django_sagaz").executions.close()


class PatientSaga(Saga):
    """Waits until its lease was renewed."""

    saga_name = "patient"

    @action("wait")
    def wait(self, ctx):
        runs = Run.objects.using(ctx["db"])
        first, deadline = runs.get().lease_expires_at, time.monotonic() + 20
        while runs.get().lease_expires_at == first:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def start(home, name="one", **context):
    Order.objects.using(home).create(name=name)
    return atomic_saga_start(OrderSaga, {"db": home, "name": name, **context}, using=home)


@EVERYWHERE
def test_the_message_is_sent_after_the_commit_and_its_task_executes_the_run(dispatching, celery, queued):
    with transaction.atomic(dispatching):
        saga_id = start(dispatching)
        assert queued() == 0
    assert queued() == 1
    assert celery.tasks["sagaz.run"](saga_id) == "1 completed"
    assert celery.tasks["sagaz.run"](saga_id) == "no runs"
    assert Run.objects.using(dispatching).get().status == "completed"
    assert Order.objects.using(dispatching).get().paid


@pytest.mark.parametrize("asynchronous", [False, True])
@on("default", "pg")
def test_a_webhook_sends_a_message_for_the_run_that_it_starts(dispatching, queued, settings, asynchronous):
    urls = webhook_urls({"shop": Unsigned(delivery_member="id", event_member="type")}, asynchronous=asynchronous)
    settings.ROOT_URLCONF = (path("webhooks/", include(urls)),)
    event = {"db": dispatching, "id": "1", "type": "ordered", "order": "o1"}
    assert Client().post("/webhooks/shop", event, "application/json").status_code == 200
    assert queued() == 1
    assert Client().post("/webhooks/shop", {**event, "id": "2", "type": "other"}, "application/json").status_code == 200
    assert queued() == 1


@on("default", "pg")
def test_a_rollback_sends_nothing_nor_does_that_of_a_savepoint(dispatching, queued):
    with contextlib.suppress(ZeroDivisionError), transaction.atomic(dispatching):
        start(dispatching)
        raise ZeroDivisionError
    with transaction.atomic(dispatching):
        start(dispatching, "kept")
        with contextlib.suppress(ZeroDivisionError), transaction.atomic(dispatching):
            start(dispatching, "lost")
            raise ZeroDivisionError
    assert queued() == 1


@on("default", "pg")
def test_the_same_key_sends_one_message(dispatching, queued):
    for _ in range(2):
        with transaction.atomic(dispatching):
            for _ in range(2):
                atomic_saga_start(OrderSaga, {"db": dispatching}, idempotency_key="k")
    assert queued() == 1


@on("default", "pg")
def test_a_broker_that_is_away_fails_no_transaction_and_the_sweep_finds_the_run(dispatching, celery, caplog):
    celery.conf.broker_url = "amqp://127.0.0.1:1"
    with transaction.atomic(dispatching):
        saga_id = start(dispatching)
    [record] = [record for record in caplog.records if record.name == "sagaz_durable.celery"]
    assert record.levelno == logging.WARNING
    assert saga_id in record.getMessage()
    assert celery.tasks["sagaz.sweep"]() == "1 completed"
    assert Order.objects.using(dispatching).get().paid


@on("default")
def test_an_application_that_was_not_registered_fails_no_transaction(dispatching, monkeypatch, caplog):
    monkeypatch.setattr(dispatch, "_registered", None)
    with transaction.atomic(dispatching):
        start(dispatching)
    assert "django_sagaz.celery.register(app)" in caplog.text
    assert Run.objects.using(dispatching).get().status == "pending"


@EVERYWHERE
def test_the_sweep_erases_what_has_been_kept_for_long_enough(dispatching, celery, settings):
    with transaction.atomic(dispatching):
        saga_id = start(dispatching, card="4111")
    assert celery.tasks["sagaz.run"](saga_id) == "1 completed"
    assert celery.tasks["sagaz.sweep"]() == "no runs"
    assert Run.objects.using(dispatching).get().context["card"] == "4111"
    settings.SAGAZ = {**settings.SAGAZ, "KEEP_CONTEXT_SECONDS": 0}
    assert celery.tasks["sagaz.sweep"]() == "no runs"
    assert Run.objects.using(dispatching).get().context == {}
    note = AuditEntry.objects.using(dispatching).get()
    assert (note.action, note.reason, note.found) == ("erase", "keep_context_seconds", "completed")
    assert note.actor.startswith("worker ")


@on("default")
def test_a_commit_that_is_made_by_hand_leaves_the_run_to_the_sweep(dispatching, celery, queued):
    transaction.set_autocommit(False, dispatching)
    try:
        start(dispatching)
        transaction.commit(dispatching)
    finally:
        transaction.set_autocommit(True, dispatching)
    assert queued() == 0
    assert celery.tasks["sagaz.sweep"]() == "1 completed"


@on("default", "pg")
def test_inline_runs_do_not_go_through_celery_and_without_the_setting_nothing_does(home, celery, queued, settings):
    with transaction.atomic(home):
        start(home)
    settings.SAGAZ = {**settings.SAGAZ, "DISPATCH": "celery"}
    assert run_saga(OrderSaga, {"db": home, "name": "one"}).status.value == "completed"
    assert queued() == 0


@on("default", "pg")
def test_the_lease_is_renewed_while_a_plain_step_runs(dispatching, celery, settings):
    settings.SAGAZ = {**settings.SAGAZ, "LEASE_SECONDS": 1, "RENEW_SECONDS": 0.1}
    with transaction.atomic(dispatching):
        saga_id = atomic_saga_start(PatientSaga, {"db": dispatching})
    assert celery.tasks["sagaz.run"](saga_id) == "1 completed"


@on("default", "pg")
def test_a_process_of_celerys_worker_that_ends_leaves_no_connection(dispatching, celery):
    with transaction.atomic(dispatching):
        saga_id = start(dispatching)
    celery.tasks["sagaz.run"](saga_id)
    executions = apps.get_app_config("django_sagaz").executions
    runtime = executions._host._start().result()
    assert runtime.is_open
    signals.worker_process_shutdown.send(sender="test", pid=1, exitcode=0)
    assert not runtime.is_open


@on("default")
def test_check_tells_of_a_missing_registration(dispatching, monkeypatch):
    assert checks.run_checks(tags=["sagaz"]) == []
    monkeypatch.setattr(dispatch, "_registered", None)
    [message] = checks.run_checks(tags=["sagaz"])
    assert (message.id, "django_sagaz.celery.register(app)" in message.hint) == ("sagaz.E005", True)


def test_a_celery_application_is_registered_once(celery):
    with pytest.raises(SettingsError, match="register was called twice"):
        django_sagaz.celery.register(celery)


def test_importing_django_sagaz_imports_no_celery():
    code = "import django_sagaz, django_sagaz.apps, sys; assert 'celery' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


class EagerTest(TestCase):
    """In a TestCase, eager tasks run on the test's own connection, in memory too."""

    databases = frozenset({"default", "memory"})

    def test_hooks_that_the_test_executes_run_the_saga(self):
        kept, dispatch._registered = dispatch._registered, None
        self.addCleanup(setattr, dispatch, "_registered", kept)
        app = Celery("eager", broker="memory://", set_as_current=False)
        app.conf.task_always_eager = True
        django_sagaz.celery.register(app)
        for home in ("default", "memory"):
            with self.settings(SAGAZ={"DATABASE": home, "DISPATCH": "celery"}):
                with self.captureOnCommitCallbacks(using=home, execute=True), transaction.atomic(home):
                    start(home)
                assert Run.objects.using(home).get().status == "completed"
                assert connections[home].in_atomic_block
