"""Projects with several databases, with routers, and with ATOMIC_REQUESTS."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from asgiref.sync import async_to_sync
from django.core.management import call_command
from django.db import connections, transaction
from django.http import JsonResponse
from django.test import Client
from django.urls import path
from places import on
from testproject.shop.models import Order
from testproject.shop.sagas import OrderSaga

from django_sagaz import AtomicBlockError, atomic_saga_start, create_saga, run_saga
from django_sagaz.models import Run

BOTH = [pytest.mark.django_db(transaction=True, databases=["default", "pg"])]


@pytest.mark.parametrize("alias", [pytest.param("pg", marks=BOTH), pytest.param("default", marks=BOTH)])
def test_a_start_follows_the_transaction_of_its_own_database_and_of_no_other(home):
    other = {"pg": "default", "default": "pg"}[home]

    def place(fails):
        with transaction.atomic(other):
            Order.objects.using(other).create(name="other")
            with transaction.atomic(home):
                atomic_saga_start(OrderSaga, {"db": home, "name": "one"})
                if fails == home:
                    raise ZeroDivisionError
            if fails == other:
                raise ZeroDivisionError

    for fails, expected in ((home, (0, 0)), (other, (0, 1)), (None, (1, 2))):
        if fails is None:
            place(fails)
        else:
            with pytest.raises(ZeroDivisionError):
                place(fails)
        assert (Order.objects.using(other).count(), Run.objects.using(home).count()) == expected
        assert Run.objects.using(other).count() == 0
    call_command("sagaz_worker", drain=True)
    assert Run.objects.using(home).filter(status="completed").count() == 2


@pytest.mark.parametrize("alias", [pytest.param("pg", marks=BOTH), pytest.param("default", marks=BOTH)])
def test_a_saga_does_not_run_inside_a_transaction_on_another_database_either(home):
    other = {"pg": "default", "default": "pg"}[home]
    told = f"'{other}'.*take back there what its steps did.*non_atomic_requests"
    with transaction.atomic(other), pytest.raises(AtomicBlockError, match=told):
        run_saga(OrderSaga, {"db": other, "name": "one"})
    with transaction.atomic(other), pytest.raises(AtomicBlockError, match=told):
        async_to_sync(create_saga(OrderSaga).run)({"db": other, "name": "one"})
    assert not Run.objects.using(home).exists()
    assert run_saga(OrderSaga, {"db": other, "name": "one"}).status.value == "completed"


class Elsewhere:
    """Leads everything to a database that the test may not touch."""

    def db_for_read(self, model, **hints):
        return "memory"

    db_for_write = db_for_read

    def allow_relation(self, one, other, **hints):
        return False


@on()
def test_no_router_leads_the_store_away_from_its_database(home, settings):
    settings.DATABASE_ROUTERS = [Elsewhere()]
    run_saga(OrderSaga, {"db": home, "name": "one"})
    with transaction.atomic(home):
        atomic_saga_start(OrderSaga, {"db": home, "name": "one"}, idempotency_key="k")
    call_command("sagaz_worker", drain=True)
    for command in ("sagaz_list --runs", "sagaz_check", "sagaz_prune --older-than 1d"):
        call_command(*command.split())
    assert Run.objects.using(home).filter(status="completed").count() == 2


TWO = """
import django, sys
from django.conf import settings

class Router:
    def allow_migrate(self, db, app_label, **hints):
        return (db == "sagas") == (app_label == "django_sagaz")

def database(name):
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{sys.argv[1]}/{name}.db"}

settings.configure(
    INSTALLED_APPS=["django_sagaz", "testproject.shop"],
    DATABASES={name: database(name) for name in ("default", "sagas")},
    DATABASE_ROUTERS=[Router()], SAGAZ={"DATABASE": "sagas"}, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()
from django.core.management import call_command
from django.db import connections, transaction
for name in ("default", "sagas"):
    call_command("migrate", database=name, verbosity=0)
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
call_command("check", databases=["default", "sagas"], fail_level="WARNING")
tables = {name: sorted(connections[name].introspection.table_names()) for name in connections}
assert tables["default"] == ["django_migrations", "shop_order"], tables
assert tables["sagas"][:1] == ["django_migrations"] and all("sagaz" in table for table in tables["sagas"][1:]), tables
from django_sagaz import atomic_saga_start
from testproject.shop.sagas import OrderSaga
with transaction.atomic("sagas"):
    atomic_saga_start(OrderSaga, {"db": "default", "name": "x"}, using="sagas")
call_command("sagaz_worker", drain=True)
call_command("sagaz_check")
"""


def test_a_router_keeps_tables_and_runs_in_a_database_of_their_own(tmp_path):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", TWO, str(tmp_path)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Ended: 1 completed." in done.stdout
    assert "problem    none" in done.stdout


def start_in(request):
    saga_id = atomic_saga_start(OrderSaga, json.loads(request.body))
    Order.objects.using(json.loads(request.body)["db"]).create(name="one")
    if request.GET.get("fails"):
        raise ZeroDivisionError
    return JsonResponse({"saga_id": saga_id})


def run_in(request):
    run = run_saga(OrderSaga, json.loads(request.body))
    return JsonResponse({"status": run.status.value})


@transaction.non_atomic_requests
@transaction.non_atomic_requests(using="pg")
@transaction.non_atomic_requests(using="maria")
def run_outside(request):
    return run_in(request)


urlpatterns = [path("start", start_in), path("inline", run_in), path("inline_non_atomic", run_outside)]


@on()
@pytest.mark.urls(__name__)
def test_atomic_requests_is_a_transaction_like_any_other(home, monkeypatch):
    monkeypatch.setitem(connections.settings[home], "ATOMIC_REQUESTS", True)
    body = {"data": {"db": home, "name": "one"}, "content_type": "application/json"}
    client = Client(raise_request_exception=False)
    assert client.post("/start?fails=1", **body).status_code == 500
    assert (Order.objects.using(home).count(), Run.objects.using(home).count()) == (0, 0)
    saga_id = client.post("/start", **body).json()["saga_id"]
    assert (Order.objects.using(home).count(), Run.objects.using(home).get().pk) == (1, saga_id)
    way_out = r"non_atomic_requests\)" if home == "default" else rf"non_atomic_requests\(using='{home}'\)"
    with pytest.raises(AtomicBlockError, match=way_out):
        Client().post("/inline", **body)
    assert Run.objects.using(home).count() == 1
    assert Client().post("/inline_non_atomic", **body).json()["status"] == "completed"


@on()
def test_hooks_run_after_the_commit_that_has_the_run_and_not_after_a_rollback(home):
    seen = []

    def place(fails):
        saga_id = atomic_saga_start(OrderSaga, {"db": home, "name": "one"})
        transaction.on_commit(lambda: seen.append(Run.objects.using(home).get(pk=saga_id).status), using=home)
        if fails:
            raise ZeroDivisionError

    with transaction.atomic(home, durable=True):
        with pytest.raises(ZeroDivisionError), transaction.atomic(home):
            place(fails=True)
        with transaction.atomic(home):
            place(fails=False)
        assert seen == []
        with pytest.raises(RuntimeError, match="durable"), transaction.atomic(home, durable=True):
            place(fails=False)
    assert seen == ["pending"]
    assert Run.objects.using(home).count() == 1
