"""Runs what the documentation shows: the README's path for newcomers, and every program of the how-to."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1]
README = (PACKAGE / "README.md").read_text()
HOWTO = (PACKAGE.parents[1] / "docs/howto/django.md").read_text()

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILES = {name: text for _, text in BLOCK.findall(HOWTO) for name in re.findall(r"\A# (\w+\.py)\n", text)}

BELOW = re.compile(r"^```python\n(# sagas\.py, below OrderSaga\n.*?)^```", re.MULTILINE | re.DOTALL)

[PATH] = [text for kind, text in BLOCK.findall(README) if kind == "console" and "startproject" in text]
VIEWS = {name: text for _, text in BLOCK.findall(README) for name in re.findall(r"\A# (\w+/\w+\.py)\n", text)}


def environment(folder):
    """Return the environment for commands in a folder, in which relative import paths would lead elsewhere."""
    given = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "SAGAZ_"))}
    paths = map(os.path.abspath, filter(None, given.get("PYTHONPATH", "").split(os.pathsep)))
    return given | {"PYTHONPATH": os.pathsep.join([str(folder), *paths]), "PYTHONWARNINGS": "error"}


def started(code):
    """Return a program that sets Django and its tables up first."""
    begin = "import os, django\nos.environ['DJANGO_SETTINGS_MODULE'] = 'settings'\ndjango.setup()\n"
    tables = "from django.core.management import call_command\ncall_command('migrate', verbosity=0)\n"
    return begin + tables + code


def run(folder, *command):
    done = subprocess.run(
        command, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def follow(path, folder):
    # What pip would install is installed; and it is this Python that has it, whatever is called so elsewhere.
    script = path.replace("pip install django-sagaz\n", "").replace("django-admin", "python -m django")
    python = f'python() {{ "{sys.executable}" "$@"; }}\n'
    return run(folder, "sh", "-eu", "-c", python + script)


def test_the_path_is_short():
    assert len(PATH.splitlines()) < 25


@pytest.mark.skipif(sys.platform == "win32", reason="the commands are a POSIX shell's")
def test_the_path_leads_from_nothing_to_a_completed_saga_and_to_a_view(tmp_path):
    said = follow(PATH, tmp_path)
    assert "Ended: 1 completed." in said
    assert re.search(r"completed +[0-9a-f-]{36}  OrderSaga$", said, re.MULTILINE)
    [project] = [found.parent for found in tmp_path.rglob("manage.py")]
    for name, text in VIEWS.items():
        (project / name).write_text(text)
    [then] = [text for kind, text in BLOCK.findall(README) if kind == "console" and "makemigrations" in text]
    said = follow(then, project)
    assert "Create model Order" in said
    assert "Ran 2 tests" in said


SETTINGS = """
SECRET_KEY = "docs"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django_sagaz", "orders"]
MIDDLEWARE = [
    "django_sagaz.middleware.SagaContextMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "orders.errors.SagaErrorMiddleware",
]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
SILENCED_SYSTEM_CHECKS = ["sagaz.W002"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": "db.sqlite3",
        "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
        "ATOMIC_REQUESTS": IS_ATOMIC,
    }
}
"""

URLS = """
from importlib import import_module
from django.conf import settings
from django.urls import path
from orders import status
names = settings.VIEWS
urlpatterns = [path("status/<saga_id>", status.view)]
urlpatterns += [path(name, import_module(f"orders.{name}").view) for name in names]
if "atomic_requests" in names:
    urlpatterns.append(path("inline_in_atomic_requests", import_module("orders.atomic_requests").inline))
"""

PLAIN = ["transaction", "decorated", "idempotent", "once", "inline", "asynchronous", "asynchronous_start", "errors"]

CALLS = """
import json, sys
from django.contrib.auth.models import User
from django.test import Client
clients = {"ada": Client(), "bob": Client(), "nobody": Client()}
for name in ("ada", "bob"):
    clients[name].force_login(User.objects.create_user(name))
client = clients["ada"]
for path, options in json.loads(sys.argv[1]):
    options = {"headers": {"Idempotency-Key": f"k-{path}"}} | options
    answer = clients[options.pop("who", "ada")].post(f"/{path}", **options)
    body = answer.json() if answer.headers["Content-Type"] == "application/json" else None
    print("ANSWER", answer.status_code, json.dumps(body))
if len(sys.argv) > 2:
    sys.path.append(sys.argv[3])
    from support.hostile import faults
    client.raise_request_exception = False
    def send(one):
        if one.method != "POST" or one.is_an_object:
            # Orders are numbers here, and no steps of others are to be tried.
            return 404
        headers = {name: value for name, value in one.texts.items() if name != "Content-Type"}
        status = client.generic("POST", one.path, one.content, "application/json", headers=headers).status_code
        # This one takes the amount and leaves the rest of the body alone, whatever it is.
        return 400 if one.path == "/rest" and status == 202 else status
    for path in sys.argv[2].split():
        assert not (found := faults(send, path)), found
call_command("sagaz_worker", drain=True)
from django_sagaz.models import Run
for run in Run.objects.order_by("created_at"):
    if run.context["customer"] == 1:
        print("RUN", run.status, json.dumps(client.get(f"/status/{run.pk}").json()["steps"]))
    others = [clients[who].get(f"/status/{run.pk}").status_code for who in ("bob", "ada", "nobody")]
    print("STATUS", *others[run.context["customer"] - 1 :])
from orders.models import Order
print("ORDERS", sorted(Order.objects.values_list("status", flat=True)))
"""


def project(folder, views, *, atomic=False, below=""):
    """Write a project with the how-to's programs, and the sagas of another page below its own."""
    app = folder / "orders"
    (app / "migrations").mkdir(parents=True)
    for package in (app, app / "migrations"):
        (package / "__init__.py").touch()
    for name, text in FILES.items():
        (app / name).write_text(text)
    (app / "models.py").write_text(FILES["models.py"] + "from orders.repeatable import Payment\n")
    with (app / "sagas.py").open("a") as file:
        file.writelines(BELOW.findall(HOWTO + below))
    (folder / "settings.py").write_text(SETTINGS.replace("IS_ATOMIC", str(atomic)) + f"VIEWS = {views!r}\n")
    (folder / "urls.py").write_text(URLS)
    (folder / "calls.py").write_text(started(CALLS))
    manage(folder, "makemigrations", "orders")


def manage(folder, *words):
    return run(folder, sys.executable, "-m", "django", *words, "--settings", "settings")


def call(folder, *requests, fuzz=()):
    hostile = [" ".join(fuzz), str(PACKAGE.parents[1] / "tests-matrix")] if fuzz else []
    said = run(folder, sys.executable, "calls.py", json.dumps(requests), *hostile)
    answers = [line.split(maxsplit=2) for line in said.splitlines() if line.startswith("ANSWER")]
    return [(int(status), json.loads(body)) for _, status, body in answers], said


def test_the_views_of_the_how_to_work(tmp_path):
    project(tmp_path, PLAIN)
    key = {"headers": {"Idempotency-Key": "k"}}
    bad = {"data": '{"__x": 1}', "content_type": "application/json", **key}
    requests = [(name, {"errors": bad}.get(name, {})) for name in PLAIN]
    answers, said = call(tmp_path, *requests, fuzz=["/errors"])
    assert [status for status, _ in answers] == [202, 202, 202, 202, 200, 200, 202, 422]
    bodies = dict(zip(PLAIN, (body for _, body in answers), strict=True))
    assert bodies["inline"]["status"] == bodies["asynchronous"]["status"] == "completed"
    assert bodies["inline"]["receipt"] == f"charged under {bodies['inline']['saga_id']}:charge"
    # All but the refused one: five that the worker ran, two within their requests. Each is shown to its customer.
    assert said.count("STATUS 404 200 302") == 7
    assert said.count('RUN completed {"charge": "done", "confirm": "done"}') == 7
    assert "ORDERS ['paid', 'paid', 'paid', 'paid', 'paid', 'paid']" in said


CHAINED = """
from orders.chained import BilledOrderSaga, consume
from orders.models import Order
from django_sagaz import run_saga
from django_sagaz.models import Run
orders = [{"order_id": Order.objects.create(key=key, amount=42).pk, "amount": 42} for key in "ab"]
run_saga(BilledOrderSaga, {"order": orders[0]})
for _ in range(2):
    consume({"id": 1, "order": orders[1]})
call_command("sagaz_worker", drain=True)
print("RUNS", sorted(Run.objects.values_list("saga_name", "status")))
print("ORDERS", sorted(Order.objects.values_list("status", flat=True)))
"""


def test_a_step_and_a_consumer_start_sagas_without_a_request(tmp_path):
    project(tmp_path, [])
    (tmp_path / "chained.py").write_text(started(CHAINED))
    said = run(tmp_path, sys.executable, "chained.py")
    runs = [("BilledOrderSaga", "completed"), ("order", "completed"), ("order", "completed")]
    assert f"RUNS {runs}" in said
    assert "ORDERS ['paid', 'paid']" in said


WAITING = """
import hashlib, hmac, json
from django.contrib.auth.models import User
from django.test import Client
from orders.models import Order
from orders.waiting import SECRET
client, provider = Client(), Client(enforce_csrf_checks=True)
client.force_login(User.objects.create_user("ada"))
def order():
    return client.post("/waiting", headers={"Idempotency-Key": "k"})
first = order()
saga_id = first.json()["saga_id"]
print("WAITING", first.status_code, first.json()["status"], client.get(first.headers["Location"]).json()["status"])
body = json.dumps({"id": 7, "order_id": Order.objects.get().pk, "amount": 42})
signature = hmac.new(SECRET, body.encode(), hashlib.sha256).hexdigest()
print("EVENT", *[provider.post("/webhook", body, "application/json", headers={"Provider-Signature": one}).status_code
    for one in (signature, signature, "forged")])
call_command("sagaz_worker", drain=True)
print("ENDED", order().json() == {"saga_id": saga_id, "status": "completed"}, Order.objects.get().status)
"""


def test_a_signal_is_sent_with_the_transaction_of_the_how_to(tmp_path):
    project(tmp_path, ["waiting"])
    with (tmp_path / "urls.py").open("a") as file:
        file.write('urlpatterns.append(path("webhook", import_module("orders.waiting").webhook))\n')
    said = run(tmp_path, sys.executable, "-c", started(WAITING))
    assert "WAITING 202 waiting waiting\nEVENT 200 200 403\n" in said
    assert "ENDED True paid" in said
    assert "paid_order" in manage(tmp_path, "sagaz_list"), "a worker finds it"


APPROVALS = """
from django.contrib.auth.models import Permission, User
from django.core import signing
from django.test import Client
from django_sagaz.models import AuditEntry, Run
from orders import sagas
from orders.models import Order
links = []
sagas.mail = links.append
customer, manager, strict, nobody = Client(), Client(), Client(enforce_csrf_checks=True), Client()
customer.force_login(User.objects.create_user("ada"))
mia = User.objects.create_user("mia")
mia.user_permissions.add(Permission.objects.get(codename="change_order"))
for client in (manager, strict):
    client.force_login(mia)
def order(key):
    saga_id = customer.post("/django_approvals", headers={"Idempotency-Key": key}).json()["saga_id"]
    call_command("sagaz_worker", drain=True)
    return Run.objects.get(pk=saga_id), links[-1].removeprefix("https://shop.example")
def post(client, address, decision, **more):
    return client.post(address, {"decision": decision, **more}).status_code
def audit(run):
    return [(note.action, note.actor, note.reason) for note in AuditEntry.objects.filter(saga_id=run.pk)]
run, address = order("k")
print("GET", nobody.get(address).status_code, customer.get(address).status_code)
shown = [manager.get(address) for _ in range(3)]
print("SHOWN", *[one.status_code for one in shown], b"of 420" in shown[0].content)
print("HEADERS", "no-store" in shown[0]["Cache-Control"], shown[0]["Referrer-Policy"])
print("STILL", run.status, audit(run))
print("WRONG", post(customer, address, "approved"), post(strict, address, "approved"), post(manager, address, "maybe"),
    post(manager, address + "x", "approved"), audit(run))
strict.get(address)
given = {"decision": "approved", "reason": "known", "csrfmiddlewaretoken": strict.cookies["csrftoken"].value}
first = strict.post(address, given).status_code
print("DECIDED", first, *[post(manager, address, one) for one in ("approved", "refused")])
call_command("sagaz_worker", drain=True)
run.refresh_from_db()
print("AUDIT", run.status, *audit(run), Order.objects.get().status)
other, address = order("ended")
call_command("sagaz_cancel", other.pk, by="ada")
call_command("sagaz_worker", drain=True)
over = "/approvals/" + signing.dumps(["approval", other.pk, None, "", 1.0], salt="django_sagaz.approvals")
late = Order.objects.order_by("pk").last()
print("LATE", post(manager, address, "approved"), manager.get(address).status_code, late.status)
expired = manager.get(over)
print("EXPIRED", expired.status_code, post(manager, over, "approved"), b"1970-01-01" in expired.content)
"""


def test_a_manager_approves_by_a_link_that_others_may_follow(tmp_path):
    page = PACKAGE.parents[1] / "docs/howto/approvals.md"
    for _, text in BLOCK.findall(page.read_text()):
        if named := re.match(r"(?:# |<!-- )([\w/]+\.(?:py|html))", text):
            file = tmp_path / "orders" / named[1]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    project(tmp_path, ["django_approvals"], below=page.read_text())
    with (tmp_path / "urls.py").open("a") as file:
        file.write("from orders import django_approvals\n")
        [route] = re.findall(r"^path\(.approvals/.*$", page.read_text(), re.MULTILINE)
        file.write(f"urlpatterns.append({route})\n")
    with (tmp_path / "settings.py").open("a") as file:
        backend = "django.template.backends.django.DjangoTemplates"
        file.write(f"TEMPLATES = [{{'BACKEND': {backend!r}, 'APP_DIRS': True}}]\n")
        more = ["django.middleware.security.SecurityMiddleware", "django.middleware.csrf.CsrfViewMiddleware"]
        file.write(f"MIDDLEWARE += {more}\n")
    said = run(tmp_path, sys.executable, "-c", started(APPROVALS))
    assert [line for line in said.splitlines() if line.split(" ")[0].isupper()] == [
        "GET 302 403",
        "SHOWN 200 200 200 True",
        "HEADERS True same-origin",
        "STILL waiting []",
        "WRONG 403 403 200 404 []",
        "DECIDED 200 200 409",
        "AUDIT completed ('signal', 'mia', 'known') approved",
        "LATE 410 200 placed",
        "EXPIRED 410 410 True",
    ]
    assert "approved_order" in manage(tmp_path, "sagaz_list"), "a worker finds it"


@pytest.mark.parametrize("atomic", [False, True])
def test_a_request_that_is_sent_again_starts_nothing_and_no_customer_uses_up_anothers_key(tmp_path, atomic):
    views = ["atomic_requests", "decorated"] if atomic else [name for name in PLAIN if name != "errors"]
    project(tmp_path, views, atomic=atomic)
    places = [*views, "inline_in_atomic_requests"] if atomic else views
    # Twice the same, then somebody else, a key too long, none, and nobody.
    cases = [{}, {}, {"who": "bob"}, {"headers": {"Idempotency-Key": "x" * 300}}, {"headers": {}}, {"who": "nobody"}]
    answers, _ = call(tmp_path, *((place, case) for place in places for case in cases))
    for n in range(0, len(answers), len(cases)):
        first, again, bobs, long, none, nobody = answers[n : n + len(cases)]
        assert first[1]["saga_id"] == again[1]["saga_id"] != bobs[1]["saga_id"]
        assert [status for status, _ in (first, again, bobs)] == [first[0]] * 3
        assert [status for status, _ in (long, none, nobody)] == [400, 400, 302]


def test_the_views_of_the_how_to_work_under_atomic_requests(tmp_path):
    project(tmp_path, ["atomic_requests", "decorated"], atomic=True)
    answers, said = call(tmp_path, ("atomic_requests", {}), ("inline_in_atomic_requests", {}), ("decorated", {}))
    assert [status for status, _ in answers] == [202, 200, 202]
    assert said.count("RUN completed") == 3


def test_the_view_of_django_rest_framework_works(tmp_path):
    pytest.importorskip("rest_framework")  # Only on Python 3.11, where tox runs the documentation.
    project(tmp_path, ["rest"])
    given = {"data": {"amount": 42}, "content_type": "application/json"}
    bad = [given | {"data": {"amount": 10**20}}, given | {"data": "{"}, given | {"headers": {}}]
    requests = (("rest", one) for one in (given, given, *bad, given | {"who": "nobody"}))
    answers, said = call(tmp_path, *requests, fuzz=["/rest"])
    assert [status for status, _ in answers] == [202, 202, 400, 400, 400, 403]
    assert answers[0][1] == answers[1][1]
    assert "RUN completed" in said


def test_the_tests_of_the_how_to_pass(tmp_path):
    project(tmp_path, ["transaction"])
    assert "Ran 5 tests" in manage(tmp_path, "test", "orders")


def test_the_repeatable_step_of_the_how_to_works(tmp_path):
    project(tmp_path, [])
    code = """
from django_sagaz import run_saga
from orders.repeatable import Payment, PaymentSaga
print(run_saga(PaymentSaga, {"amount": 5})["payment"] == Payment.objects.get().pk, Payment.objects.get().key[-4:])
"""
    assert "True :pay" in run(tmp_path, sys.executable, "-c", started(code))


def test_the_logging_of_the_how_to_shows_what_it_promises(tmp_path):
    project(tmp_path, ["inline"])
    [block] = [text for kind, text in BLOCK.findall(HOWTO) if text.startswith("LOGGING")]
    with (tmp_path / "settings.py").open("a") as file:
        file.write(block)
    [(_, body)], said = call(tmp_path, ("inline", {"headers": {"X-Correlation-ID": "c-1", "Idempotency-Key": "k"}}))
    assert f"INFO c-1 {body['saga_id']} None Saga 'order', run {body['saga_id']}: completed" in said


def test_the_rest_is_python_too():
    for kind, text in BLOCK.findall(HOWTO + README):
        if kind == "python":
            ast.parse(text)


def test_every_check_is_in_the_how_to():
    source = (PACKAGE / "src/django_sagaz/checks.py").read_text()
    ids = set(re.findall(r'"(sagaz\.[EW]\w+)"', source))
    assert ids == set(re.findall(r"^\| `(sagaz\.\w+)`", HOWTO, re.MULTILINE)) != set()


CELERY = """
from celery import current_app
from django.db import transaction
from django_sagaz import atomic_saga_start
from orders.sagas import OrderSaga
call_command("migrate", run_syncdb=True, verbosity=0)
current_app.conf.broker_url = "memory://"
with transaction.atomic():
    saga_id = atomic_saga_start(OrderSaga, {"order_id": 1, "amount": 1})
with current_app.connection_for_read() as connection:
    message = connection.default_channel.basic_get("celery")
assert message.decode()[0] == [saga_id]
print(current_app.tasks[message.headers["task"]](saga_id))
print(*[current_app.tasks[entry["task"]]() for entry in current_app.conf.beat_schedule.values()])
"""


def test_the_recipe_for_celery_works(tmp_path):
    celery = BLOCK.findall((PACKAGE.parents[1] / "docs/howto/celery.md").read_text())
    for name in ("shop", "orders"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    for name in ("models.py", "sagas.py"):
        (tmp_path / "orders" / name).write_text(FILES[name])
    base = (
        SETTINGS.replace("IS_ATOMIC", "False").replace("ROOT_URLCONF", "# ").replace("MIDDLEWARE = [", "_ELSEWHERE = [")
    )
    for _, text in celery:
        for name in re.findall(r"\A# shop/(\w+\.py)\n", text):
            (tmp_path / "shop" / name).write_text(text + (base if name == "settings.py" else ""))
    settings = ("--settings", "shop.settings")
    assert "no issues" in run(tmp_path, sys.executable, "-m", "django", "check", *settings)
    code = started(CELERY).replace("'settings'", "'shop.settings'")
    # A step's thread, and its connection, live as long as the process, at whose end Python may say so after that.
    assert "\n1 completed\nno runs\n" in "\n" + run(tmp_path, sys.executable, "-c", code)
