"""Settings, checks, migrations, and what is not done before it is needed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest
from django.apps import apps
from django.core import checks
from django.core.management import call_command
from django.db import connections, transaction
from django.test import override_settings
from places import on
from testproject.shop import sagas as shop_sagas
from testproject.shop.sagas import OrderSaga

import django_sagaz
from django_sagaz import SettingsError, create_saga, models, run_saga
from django_sagaz._project.current import current_project
from django_sagaz._project.discovery import discover
from django_sagaz.storage import DjangoPostgreSQLSagaStorage, DjangoSagaStorage
from sagaz_durable.problem_types import PAGE
from sagaz_integration_core.contract.schema import TABLES


def found(*tags, **options):
    return {message.id for message in checks.run_checks(tags=tags or ["sagaz"], **options)}


def test_a_sound_project_has_nothing_to_complain_of():
    assert found() == set()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"STORAGE_ULR": "memory://"}, "STORAGE_URL"),
        ({"LEASE_SECONDS": 1, "RENEW_SECONDS": 5}, "RENEW_SECONDS"),
        ({"DATABASE": "nowhere"}, "no such database"),
        ({"DATABASE": "default", "STORAGE_URL": "memory://"}, "keep one of them"),
        ({"STORAGE_URL": "postgress://me:hunter2@db/x"}, "postgres"),
        (["STORAGE_URL"], "expected a dict"),
    ],
)
def test_a_wrong_setting_is_an_error_of_check(given, told):
    with override_settings(SAGAZ=given):
        [message] = [m for m in checks.run_checks(tags=["sagaz"]) if m.id == "sagaz.E001"]
        assert told in message.msg
        assert message.hint == f"See {PAGE}#settings-wrong"
        assert "hunter2" not in message.msg
        with pytest.raises(SettingsError):
            current_project()


@on("default")
def test_a_saga_that_no_sagas_module_defines_is_known_once_it_was_started_and_to_no_other_process(home, monkeypatch):
    class Elsewhere(django_sagaz.Saga):
        saga_name = "elsewhere"

        @django_sagaz.action("only")
        def only(self, ctx): ...

    # What a module merely imports is another one's.
    monkeypatch.setattr(shop_sagas, "Elsewhere", Elsewhere, raising=False)
    assert "order" in discover()
    assert "elsewhere" not in discover()
    with transaction.atomic(home):
        saga_id = django_sagaz.atomic_saga_start(Elsewhere, {})
    call_command("sagaz_worker", drain=True)
    assert models.Run.objects.using(home).get(pk=saga_id).status == "completed"
    assert "elsewhere" not in discover()


def test_a_badly_declared_saga_is_an_error_of_check():
    from django_sagaz import Saga, action, compensate

    class Broken(Saga):
        @action("reserve")
        def reserve(self, ctx):
            return {}

        @compensate("resreve")
        def release(self, ctx):
            return None

    import testproject.shop.sagas as module

    config = apps.get_app_config("django_sagaz")
    kept, config._registry, config._project = config._registry, None, None
    Broken.__module__ = module.__name__
    module.Broken = Broken
    try:
        assert "sagaz.E003" in found()
    finally:
        del module.Broken
        config._registry, config._project = kept, None


@pytest.mark.parametrize(
    ("settings", "id_"),
    [
        ({"SAGAZ": {"STORAGE_URL": "memory://"}}, "sagaz.W003"),
        ({"DEBUG": True}, "sagaz.W004"),
        ({"SAGAZ": {"LEASE_SECONDS": 1, "RENEW_SECONDS": 0.3}}, "sagaz.W005"),
    ],
)
def test_what_is_only_for_development_is_a_warning_of_check_deploy(settings, id_):
    with override_settings(**settings):
        assert id_ in found(include_deployment_checks=True)
        assert id_ not in found()


def test_a_middleware_that_comes_late_is_a_warning():
    with override_settings(MIDDLEWARE=["other.Middleware", "django_sagaz.middleware.SagaContextMiddleware"]):
        assert found() == {"sagaz.W002"}


def test_a_project_without_sagas_is_warned(monkeypatch):
    from sagaz_durable.engine.registry import SagaRegistry

    monkeypatch.setattr(current_project(), "registry", SagaRegistry())
    assert found() == {"sagaz.W001"}


def test_postgresql_through_psycopg2_alone_is_an_error(monkeypatch):
    import psycopg2

    monkeypatch.setattr(type(connections["pg"]), "Database", psycopg2)
    with override_settings(SAGAZ={"DATABASE": "pg"}):
        assert "sagaz.E002" in found()
    assert "sagaz.E002" not in found()


def test_an_overridden_setting_counts_while_it_is_overridden():
    assert (current_project().alias, current_project().settings.concurrency) == ("default", 10)
    with override_settings(SAGAZ={"DATABASE": "pg", "CONCURRENCY": 3}):
        assert (current_project().alias, current_project().settings.concurrency) == ("pg", 3)
        with override_settings(SAGAZ={"STORAGE_URL": "memory://"}):
            assert current_project().place == "memory://"
        assert current_project().alias == "pg"
    assert (current_project().alias, current_project().settings.concurrency) == ("default", 10)


class NotHere:
    def allow_migrate(self, db, app_label, **hints):
        return app_label != "django_sagaz"


@on("default")
def test_a_router_that_keeps_the_tables_out_is_an_error(alias):
    with override_settings(DATABASE_ROUTERS=[NotHere()]):
        assert "sagaz.E004" in found("database", databases=["default"])
    assert found("database", databases=["default"]) == set()


@on("default", "pg", "maria")
def test_the_migration_makes_the_tables_of_the_core(alias):
    with connections[alias].cursor() as cursor:
        for table, columns in TABLES.items():
            described = connections[alias].introspection.get_table_description(cursor, table)
            assert tuple(column.name for column in described) == columns
    made = {model._meta.db_table: tuple(f.column for f in model._meta.concrete_fields) for model in MODELS}
    assert made == TABLES


MODELS = (
    models.Run,
    models.Step,
    models.Attempt,
    models.Wait,
    models.Signal,
    models.RequestKey,
    models.Webhook,
    models.OutboxEvent,
    models.AuditEntry,
    models.WorkerProcess,
    models.StoreInfo,
)


@on("default")
def test_the_models_say_what_the_migration_has_made(alias):
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


@on("pg")
def test_json_is_jsonb_on_postgresql(alias):
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT column_name FROM information_schema.columns WHERE data_type = 'jsonb' ORDER BY 1")
        assert [name for (name,) in cursor.fetchall()] == ["context", "headers", *["payload"] * 3, "result", "sagas"]


@on("pg")
def test_keys_are_plain_texts_on_postgresql_and_have_one_index(alias):
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT data_type FROM information_schema.columns WHERE table_name = 'sagaz_step' "
            "AND column_name IN ('saga_id', 'step', 'phase', 'status')"
        )
        assert cursor.fetchall() == [("text",)]
        cursor.execute("SELECT indexname FROM pg_indexes WHERE tablename = 'sagaz_run' AND indexdef LIKE '%(saga_id%'")
        assert cursor.fetchall() == [("sagaz_run_pkey",)]


def succeed(program: str) -> None:
    """Run a program in a process of its own."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


WORKER = """
import sys
import django
from django.conf import settings
from django.core.management import load_command_class
settings.configure(INSTALLED_APPS=["django_sagaz", "testproject.shop"])
django.setup()
load_command_class("django_sagaz", "sagaz_worker")
for name in ("django_sagaz.urls", "sagaz_durable.diagram", "sagaz_durable.operations.operator", "statistics"):
    assert name not in sys.modules, name
"""


def test_the_worker_command_loads_no_views_no_diagrams_and_nothing_of_operators():
    succeed(WORKER)


COLLECTS = """
import gc, sys
import django
from django.conf import settings
settings.configure(INSTALLED_APPS=["django_sagaz"], DATABASES={"default": {
    "ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
found = []

def note(phase, info):
    if "django_sagaz.models.request_keys" in sys.modules and not hasattr(sys.modules["django_sagaz.models"], "Webhook"):
        found.append(info)

gc.callbacks.append(note)
gc.set_threshold(5)
django.setup()
assert not found, found
"""


def test_while_the_models_are_imported_no_garbage_is_looked_for_among_what_stays():
    succeed(COLLECTS)


QUIET = """
import sys, threading
import django
from django.conf import settings
import django_sagaz
assert "sagaz" not in sys.modules
settings.configure(INSTALLED_APPS=["django_sagaz", "testproject.shop"], DATABASES={"default": {
    "ENGINE": "django.db.backends.sqlite3", "NAME": "/nonexistent/db.sqlite3"}},
    MIDDLEWARE=["django_sagaz.middleware.SagaContextMiddleware"])
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
get_wsgi_application()
get_asgi_application()
assert "sagaz" not in sys.modules
assert "testproject.shop.sagas" not in sys.modules
assert threading.active_count() == 1
from django.db import connections
assert all(connection.connection is None for connection in connections.all())
"""


def test_neither_import_nor_ready_load_sagaz_or_open_anything():
    succeed(QUIET)


def test_every_public_name_is_there():
    for name in django_sagaz.__all__:
        assert getattr(django_sagaz, name) is not None
    with pytest.raises(AttributeError):
        _ = django_sagaz.nothing


@on("default", "pg", "maria")
def test_sagaz_itself_finds_the_runs(home):
    from django_sagaz._stores.runners import immediately

    run = run_saga(OrderSaga, {"db": home, "name": "x"})
    state = immediately(DjangoSagaStorage(home).load_saga_state(run.saga_id))
    assert (state["status"], [step["name"] for step in state["steps"]]) == ("completed", ["reserve", "count", "ship"])
    if home != "pg":
        with pytest.raises(SettingsError, match="Use DjangoSagaStorage"):
            DjangoPostgreSQLSagaStorage(home)
    else:
        assert immediately(DjangoPostgreSQLSagaStorage(home).health_check())["status"] == "healthy"


def test_a_store_outside_of_django_is_used_from_any_thread(settings):
    settings.SAGAZ = {"STORAGE_URL": "memory://"}
    ids = []

    def run():
        ids.append(run_saga(create_saga(Plain), {"n": 1}).saga_id)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 4


class Plain(django_sagaz.Saga):
    @django_sagaz.action("only")
    def only(self, ctx):
        return {"twice": ctx["n"] * 2}


@on("pg")
def test_threads_that_end_leave_no_connection(home):
    def run():
        run_saga(Plain, {"n": 1})
        connections.close_all()

    for _ in range(5):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    with connections[home].cursor() as cursor:
        for _ in range(100):
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
            [count] = cursor.fetchone()
            if count == 1:
                break
            # The server may take its time to notice.
            time.sleep(0.1)
        assert count == 1


@on("pg")
def test_a_dead_connection_is_replaced(home):
    run_saga(Plain, {"n": 1})
    with connections[home].cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [pid] = cursor.fetchone()
    killer = connections.create_connection(home)
    with killer.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 1000)", [pid])
    killer.close()
    assert run_saga(Plain, {"n": 2})["twice"] == 4
