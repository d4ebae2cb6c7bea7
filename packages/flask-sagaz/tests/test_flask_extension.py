"""Set-up: where settings come from, several applications, and errors that name the fix."""

from __future__ import annotations

import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
from flask import Flask

from flask_sagaz import (
    RuntimeNotOpen,
    Saga,
    SagaDefinitionError,
    SagazExtension,
    SettingsError,
    UsageError,
    action,
    current_sagaz,
)


def settings_of(app):
    return app.extensions["sagaz"].settings


def test_arguments_win_over_the_applications_config_and_that_over_the_environment(monkeypatch):
    monkeypatch.setenv("SAGAZ_STORAGE_URL", "sqlite:///environment.db")
    monkeypatch.setenv("SAGAZ_CONCURRENCY", "3")
    monkeypatch.setenv("SAGAZ_POLL_SECONDS", "0.25")
    app = Flask("shop")
    app.config.update(SAGAZ_STORAGE_URL="sqlite:///config.db", SAGAZ_CONCURRENCY=4)
    SagazExtension(app, storage_url="memory://")
    settings = settings_of(app)
    assert (settings.storage_url, settings.concurrency, settings.poll_seconds) == ("memory://", 4, 0.25)


def test_a_misspelled_setting_is_an_error_with_a_suggestion():
    app = Flask("shop")
    app.config["SAGAZ_STORAGE_ULR"] = "memory://"
    with pytest.raises(SettingsError, match="did you mean SAGAZ_STORAGE_URL"):
        SagazExtension(app)
    assert "sagaz" not in app.extensions


def test_one_extension_serves_several_applications_which_share_nothing(make_app, OrderSaga, calls):
    sagaz = SagazExtension(storage_url="memory://")
    first, second = Flask("first"), Flask("second")
    ids = []
    for app in (first, second):
        sagaz.init_app(app)
        with app.app_context():
            ids.append(sagaz.run_sync(sagaz.create_saga(OrderSaga), {"order_id": app.name}).saga_id)
    assert [step.app for _, step in calls] == [first, first, second, second]
    for app, own, others in ((first, *ids), (second, *reversed(ids))):
        with app.app_context():
            runtime = app.extensions["sagaz"].process().get()
            assert runtime.call(lambda runtime=runtime, own=own: runtime.store.load(own)) is not None
            assert runtime.call(lambda runtime=runtime, others=others: runtime.store.load(others)) is None
            sagaz.close()


def test_an_application_takes_one_extension():
    app = Flask("shop")
    sagaz = SagazExtension(app)
    with pytest.raises(SettingsError, match=r"'shop' has a SagazExtension already.*init_app once"):
        sagaz.init_app(app)


def test_nothing_works_outside_of_an_application(OrderSaga):
    sagaz = SagazExtension(Flask("shop"))
    for use in (lambda: sagaz.create_saga(OrderSaga), lambda: current_sagaz.start(OrderSaga, {}), sagaz.close):
        with pytest.raises(RuntimeNotOpen, match=r"outside of an application.*with app.app_context\(\)"):
            use()


def test_an_application_without_extension_says_how_to_get_one(OrderSaga):
    with Flask("bare").app_context(), pytest.raises(RuntimeNotOpen, match=r"'bare' has no SagazExtension.*init_app"):
        current_sagaz.create_saga(OrderSaga)


def test_an_extension_does_not_work_for_an_application_of_another_one(make_app, OrderSaga):
    app, _ = make_app()
    _, stranger = make_app()
    with app.app_context(), pytest.raises(RuntimeNotOpen, match="not that of the application at hand"):
        stranger.create_saga(OrderSaga)


def test_current_sagaz_is_the_extension_of_the_application_at_hand(make_app):
    app, sagaz = make_app()
    with app.app_context():
        assert current_sagaz == sagaz


def test_a_saga_that_cannot_run_is_refused_when_the_application_is_made():
    class Twice(Saga):
        @action("a")
        async def a(self, ctx): ...

        @action("a")
        async def b(self, ctx): ...

    app = Flask("shop")
    with pytest.raises(SagaDefinitionError):
        SagazExtension(app, sagas=[Twice])
    assert "sagaz" not in app.extensions


def test_setting_up_starts_no_thread_and_opens_nothing(tmp_path, OrderSaga):
    before = threading.enumerate()
    SagazExtension(Flask("shop"), storage_url=f"sqlite:///{tmp_path / 'sagaz.db'}", sagas=[OrderSaga], worker=True)
    assert threading.enumerate() == before
    assert list(tmp_path.iterdir()) == []


def test_setting_up_does_not_import_sagaz():
    program = (
        "import sys, flask_sagaz, flask\n"
        "flask_sagaz.SagazExtension(flask.Flask('shop'), worker=True)\n"
        "assert 'sagaz' not in sys.modules\n"
        "assert flask_sagaz.Saga.__module__.startswith('sagaz.')\n"
        "import logging\n"
        "assert not logging.getLogger().handlers, 'the root logger stays the application\\'s'\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60)


def test_a_store_that_cannot_be_opened_fails_the_request_and_is_tried_again(make_app, tmp_path, OrderSaga):
    from flask_sagaz import StoreUnavailable

    app, sagaz = make_app(f"sqlite:///{tmp_path / 'later' / 'sagaz.db'}")
    with app.app_context():
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                sagaz.create_saga(OrderSaga)
        (tmp_path / "later").mkdir()
        assert sagaz.run_sync(sagaz.create_saga(OrderSaga), {"order_id": 1}).status.value == "completed"


def test_after_close_the_next_use_opens_another_runtime(make_app, storage_url, OrderSaga):
    app, sagaz = make_app(storage_url)
    with app.app_context():
        for _ in range(3):
            sagaz.run_sync(sagaz.create_saga(OrderSaga), {"order_id": 1})
            saga = sagaz.create_saga(OrderSaga)
            sagaz.close()
            with pytest.raises(RuntimeNotOpen):
                sagaz.run_sync(saga, {"order_id": 1})


@pytest.mark.parametrize(
    ("module", "content", "message"),
    [
        ("uwsgi", {"opt": {"http": b":8000"}}, "uWSGI runs without threads.*enable-threads"),
        ("gevent.monkey", {"is_module_patched": lambda name: name == "threading"}, "gevent has replaced.*gthread"),
        ("eventlet.patcher", {"is_monkey_patched": lambda name: name == "thread"}, "eventlet has replaced.*gthread"),
    ],
)
def test_a_server_without_real_threads_is_refused_with_the_way_out(monkeypatch, module, content, message):
    monkeypatch.setitem(sys.modules, module, SimpleNamespace(**content))
    with pytest.raises(SettingsError, match=message):
        SagazExtension(Flask("shop"))


def test_greenlets_under_celery_are_refused_with_celerys_way_out(monkeypatch):
    patched = SimpleNamespace(is_module_patched=lambda name: name == "threading")
    monkeypatch.setitem(sys.modules, "gevent.monkey", patched)
    monkeypatch.setitem(sys.modules, "celery.bin.worker", SimpleNamespace())
    with pytest.raises(SettingsError, match=r"celery worker --pool prefork, or --pool threads\.$"):
        SagazExtension(Flask("shop"))


@pytest.mark.parametrize("options", [{"enable-threads": True}, {b"threads": b"4"}])
def test_uwsgi_with_threads_is_accepted(monkeypatch, options):
    monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace(opt=options))
    SagazExtension(Flask("shop"))


def test_an_application_is_made_without_loading_sagaz_or_an_event_loop():
    code = (
        "import sys; from flask import Flask; from flask_sagaz import SagazExtension; SagazExtension(Flask('shop'));"
        "print(*sorted({'sagaz', 'asyncio', 'sagaz_durable.runtime.runtime'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == ""


def test_a_memory_store_that_nobody_chose_is_one_warning_when_it_is_opened(OrderSaga, caplog):
    app = Flask("shop")
    sagaz = SagazExtension(app)
    with app.app_context():
        for _ in range(2):
            sagaz.create_saga(OrderSaga)
        sagaz.close()
    [told] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "no setting says where to keep them. Set SAGAZ_STORAGE_URL" in told


def test_a_health_route_asks_whether_sagas_can_be_started_and_whether_work_is_done(make_app, tmp_path):
    app, sagaz = make_app(f"sqlite:///{tmp_path / 'later' / 'sagaz.db'}")
    with app.app_context():
        assert sagaz.liveness()
        assert "cannot be used" in sagaz.readiness().problem
        (tmp_path / "later").mkdir()
        assert sagaz.readiness()
        assert sagaz.liveness()


class Quart:
    """As Quart's application: no flask.Flask."""

    extensions = {}
    config = {}


@pytest.mark.parametrize("app", [Quart(), "shop", object()], ids=["Quart", "str", "object"])
def test_what_is_no_flask_application_is_named(app):
    with pytest.raises(SettingsError, match=r"is for a flask\.Flask, and was given a"):
        SagazExtension(app)


@pytest.mark.parametrize("sagas", ["OrderSaga", Quart], ids=["str", "class"])
def test_sagas_that_are_no_list_are_named(sagas):
    with pytest.raises(SagaDefinitionError, match="takes a list of classes"):
        SagazExtension(sagas=sagas)


def test_a_run_that_a_view_does_not_await_says_what_to_call_instead(make_app, OrderSaga):
    app, sagaz = make_app()

    @app.post("/")
    def view():
        sagaz.create_saga(OrderSaga).run({"order_id": 1})

    app.testing = True
    with pytest.raises(UsageError, match=r"has to be awaited, and nothing was run\. In a view: sagaz\.run_sync"):
        app.test_client().post("/")
