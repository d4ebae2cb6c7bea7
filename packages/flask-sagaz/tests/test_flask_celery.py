"""Dispatch by Celery: messages after commits, and Celery's tasks over the application's own runtime."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from contextlib import suppress

import pytest
from celery import Celery, Task, signals
from flask import Flask, current_app
from flask_sqlalchemy import SQLAlchemy
from sagaz.core.triggers import trigger

from flask_sagaz import RuntimeNotOpen, Saga, SagazExtension, SettingsError, action
from flask_sagaz.celery import register
from flask_sagaz.webhooks import Unsigned, webhook_blueprint


@pytest.fixture
def celery(request):
    # A queue of the test's own: all of the process share one memory.
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.task_default_queue = request.node.name
    return app


@pytest.fixture
def queued(celery):
    def queued():
        with celery.connection_for_read() as connection:
            return connection.default_channel.queue_declare(celery.conf.task_default_queue).message_count

    return queued


class OrderedSaga(Saga):
    """Is started by an event."""

    saga_name = "ordered"

    @trigger(source="shop")
    def on_order(self, event):
        return {"order": event["order"]} if "order" in event else None

    @action("ship")
    def ship(self, ctx):
        return {}


@pytest.fixture
def shop(make_app, tmp_path, celery, OrderSaga):
    """An application with a database of its own, in which its runs are too."""
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    config = {"SAGAZ_DISPATCH": "celery", "SQLALCHEMY_DATABASE_URI": url}
    app, sagaz = make_app(url, config=config, sagas=[OrderSaga, OrderedSaga])
    register(celery, app)
    db = SQLAlchemy(app)
    with app.app_context():
        yield app, sagaz, db.session
        db.session.remove()
        sagaz.close()
        db.engine.dispose()


def test_a_start_sends_a_message_whose_task_executes_the_run(shop, celery, queued, OrderSaga, record_of, calls):
    app, sagaz, _ = shop
    saga_id = sagaz.start(OrderSaga, {"order_id": 1})
    assert queued() == 1
    assert celery.tasks["sagaz.run"](saga_id) == "1 completed"
    assert celery.tasks["sagaz.run"](saga_id) == "no runs"
    assert record_of(app, saga_id).status == "completed"
    assert [(name, step.app) for name, step in calls] == [("reserve", app), ("charge", app)]


def test_the_message_is_sent_after_the_sessions_commit_and_not_after_a_rollback(shop, queued, OrderSaga):
    _, sagaz, session = shop
    sagaz.start(OrderSaga, {"order_id": 1}, session=session)
    session.rollback()
    assert queued() == 0
    sagaz.start(OrderSaga, {"order_id": 2}, session=session)
    with suppress(ZeroDivisionError), session.begin_nested():
        sagaz.start(OrderSaga, {"order_id": 3}, session=session)
        raise ZeroDivisionError
    assert queued() == 0
    session.commit()
    assert queued() == 1
    sagaz.start_many(OrderSaga, [{"order_id": n} for n in range(3)], session=session)
    session.commit()
    assert queued() == 4


def test_a_request_that_fails_sends_nothing(shop, queued, OrderSaga):
    app, sagaz, session = shop

    @app.post("/orders")
    def order():
        sagaz.start(OrderSaga, {"order_id": 1}, session=session)
        raise LookupError("before the commit")

    assert app.test_client().post("/orders").status_code == 500
    session.remove()
    assert queued() == 0


def test_an_inline_run_and_a_background_one_do_not_go_through_celery(shop, queued, OrderSaga, ended):
    app, sagaz, _ = shop
    sagaz.run_sync(sagaz.create_saga(OrderSaga), {"order_id": 1})
    saga_id = sagaz.run_background(sagaz.create_saga(OrderSaga), {"order_id": 2})
    assert ended(app, saga_id).status == "completed"
    assert queued() == 0


def test_without_the_setting_nothing_is_sent_and_the_tasks_are_there(make_app, tmp_path, celery, queued, OrderSaga):
    app, sagaz = make_app(f"sqlite:///{tmp_path / 'sagaz.db'}", sagas=[OrderSaga])
    register(celery, app)
    with app.app_context():
        sagaz.start(OrderSaga, {"order_id": 1})
        assert queued() == 0
        assert celery.tasks["sagaz.sweep"]() == "1 completed"


def test_the_sweep_erases_what_has_been_kept_for_long_enough(shop, celery, OrderSaga, record_of):
    app, sagaz, _ = shop
    saga_id = sagaz.start(OrderSaga, {"order_id": 1, "card": "4111"})
    assert celery.tasks["sagaz.run"](saga_id) == "1 completed"
    assert celery.tasks["sagaz.sweep"]() == "no runs"
    assert "4111" in record_of(app, saga_id).context
    sagaz.close()
    app.config["SAGAZ_KEEP_CONTEXT_SECONDS"] = 0
    assert celery.tasks["sagaz.sweep"]() == "no runs"
    record = record_of(app, saga_id)
    assert (record.context, record.status) == ("{}", "completed")


def test_tasks_with_an_application_context_of_their_own_leave_none_to_the_steps(make_app, tmp_path, celery):
    """As Flask's documentation makes Celery applications."""
    seen = []

    class FlaskTask(Task):
        def __call__(self, *args, **kwargs):
            with app.app_context():
                seen.append(current_app._get_current_object())
                return self.run(*args, **kwargs)

    class Looking(Saga):
        @action("look")
        def look(self, ctx):
            seen.append(current_app._get_current_object())

    celery.task_cls = FlaskTask
    app, sagaz = make_app(f"sqlite:///{tmp_path / 'sagaz.db'}", config={"SAGAZ_DISPATCH": "celery"}, sagas=[Looking])
    register(celery, app)
    with app.app_context():
        saga_id = sagaz.start(Looking, {})
    assert celery.tasks["sagaz.run"](saga_id) == "1 completed"
    assert seen == [app, app]


def test_eager_tasks_run_the_saga_at_the_commit(shop, celery, OrderSaga, record_of):
    app, sagaz, session = shop
    celery.conf.task_always_eager = True
    saga_id = sagaz.start(OrderSaga, {"order_id": 1}, session=session)
    session.commit()
    assert record_of(app, saga_id).status == "completed"


def test_a_process_of_celerys_worker_that_ends_closes_the_runtime(shop, celery, OrderSaga):
    app, sagaz, _ = shop
    celery.tasks["sagaz.run"](sagaz.start(OrderSaga, {"order_id": 1}))
    runtime = app.extensions["sagaz"].process().get()
    assert runtime.is_open
    signals.worker_process_shutdown.send(sender="test", pid=1, exitcode=0)
    assert not runtime.is_open


def test_a_webhook_sends_a_message_for_the_run_that_it_starts(shop, queued):
    app, _, _ = shop
    app.register_blueprint(webhook_blueprint({"shop": Unsigned(delivery_member="id")}))
    client = app.test_client()
    assert client.post("/webhooks/shop", json={"id": "1", "order": 1}).status_code == 200
    assert queued() == 1
    assert client.post("/webhooks/shop", json={"id": "2"}).status_code == 200
    assert queued() == 1


def test_each_application_of_a_process_that_ends_is_closed(make_app, tmp_path, OrderSaga):
    runtimes = []
    for name in ("one", "two"):
        app, sagaz = make_app(f"sqlite:///{tmp_path / name}.db", sagas=[OrderSaga])
        celery = Celery(name, broker="memory://", set_as_current=False)
        register(celery, app)
        with app.app_context():
            celery.tasks["sagaz.run"](sagaz.start(OrderSaga, {"order_id": 1}))
        runtimes.append(app.extensions["sagaz"].process().get())
    signals.worker_process_shutdown.send(sender="test", pid=1, exitcode=0)
    assert [runtime.is_open for runtime in runtimes] == [False, False]


def test_what_cannot_work_is_refused(make_app, celery, tmp_path, OrderSaga):
    with pytest.raises(RuntimeNotOpen, match="no SagazExtension yet"):
        register(celery, Flask("bare"))
    with pytest.raises(SettingsError, match=r"worker=True.*SAGAZ_DISPATCH=celery.*Keep one"):
        make_app("memory://", config={"SAGAZ_DISPATCH": "celery"}, worker=True)
    app, sagaz = make_app(f"sqlite:///{tmp_path / 'sagaz.db'}", config={"SAGAZ_DISPATCH": "celery"})
    with app.app_context(), pytest.raises(SettingsError, match=r"flask_sagaz\.celery\.register"):
        sagaz.start(OrderSaga, {})
    one, _ = make_app("memory://")
    register(celery, one)
    other, _ = make_app("memory://")
    with pytest.raises(SettingsError, match="another application already"):
        register(celery, other)


def test_importing_flask_sagaz_imports_no_celery():
    code = "import flask_sagaz, sys; assert 'celery' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_extension_may_come_later_than_the_registration_of_other_things(celery, OrderSaga, tmp_path):
    """An application factory: extension, then Celery, whose configuration comes last."""
    app = Flask("factory")
    app.config.update(SAGAZ_STORAGE_URL=f"sqlite:///{tmp_path / 'sagaz.db'}", SAGAZ_DISPATCH="celery")
    sagaz = SagazExtension(sagas=[OrderSaga])
    sagaz.init_app(app)
    late = Celery(app.name, set_as_current=False)
    register(late, app)
    late.config_from_object({"broker_url": "memory://", "task_default_queue": "late"})
    with app.app_context():
        saga_id = sagaz.start(OrderSaga, {"order_id": 1})
        with late.connection_for_read() as connection:
            assert connection.default_channel.queue_declare("late").message_count == 1
        assert late.tasks["sagaz.run"](saga_id) == "1 completed"
        sagaz.close()


def test_an_application_that_only_celery_has_is_kept(make_app, tmp_path, celery, OrderSaga):
    """As a factory for Celery makes it: nobody but ``register`` has seen the application."""

    def make_registered():
        app = Flask("shop")
        app.config["SAGAZ_STORAGE_URL"] = f"sqlite:///{tmp_path / 'sagaz.db'}"
        register(celery, (SagazExtension(app, sagas=[OrderSaga]), app)[1])

    app, sagaz = make_app(f"sqlite:///{tmp_path / 'sagaz.db'}", sagas=[OrderSaga])
    with app.app_context():
        saga_id = sagaz.start(OrderSaga, {"order_id": 1})
        make_registered()
        gc.collect()
        assert celery.tasks["sagaz.sweep"]() == "1 completed"
        assert celery.tasks["sagaz.run"](saga_id) == "no runs"
        signals.worker_process_shutdown.send(sender="test", pid=1, exitcode=0)


def test_an_application_goes_with_its_celery_application(make_app, celery, OrderSaga):
    app = Flask("shop")
    SagazExtension(app, sagas=[OrderSaga])
    celery = Celery("gone", broker="memory://", set_as_current=False)
    register(celery, app)
    gone = weakref.ref(app)
    celery.close()
    del app, celery
    gc.collect()
    assert gone() is None
