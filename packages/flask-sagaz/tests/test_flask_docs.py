"""Runs the programs of the how-to and of the README: every Python block whose first line is the name of a file."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
HOWTO = "docs/howto/flask.md"
BLOCK = re.compile(r"^```python\n(# (\w+\.py)\n.*?)^```", re.MULTILINE | re.DOTALL)

CALL = """
import json, sys
module = __import__(sys.argv[1])
client = module.app.test_client()
for method, path, options in json.loads(sys.argv[2]):
    answer = client.open(path, method=method, **options)
    print("ANSWER", json.dumps([answer.status_code, answer.json, dict(answer.headers)]))
if len(sys.argv) > 3:
    sys.path.append(sys.argv[4])
    from support.hostile import faults
    def send(one):
        return client.open(one.path, method=one.method, data=one.content, headers=one.texts).status_code
    assert not (found := faults(send, sys.argv[3])), found
"""

ORDER = {"order_id": "A1", "amount": 42}


@pytest.fixture
def folder(tmp_path):
    """Has the how-to's programs."""
    for page in (HOWTO, "docs/howto/approvals.md"):
        for text, name in BLOCK.findall((ROOT / page).read_text()):
            (tmp_path / name).write_text(text)
    (tmp_path / "call.py").write_text(CALL)
    return tmp_path


def run(folder, *command, **settings):
    env = {name: value for name, value in os.environ.items() if not name.startswith("SAGAZ_")} | settings
    done = subprocess.run(
        [sys.executable, "-W", "error", *command], cwd=folder, env=env, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def call(folder, name, method, path, **options):
    settings = options.pop("settings", {})
    options["headers"] = {"Authorization": "Bearer ada-token", "Idempotency-Key": "k", **options.get("headers", {})}
    [answer] = send(folder, name, [(method, path, options)], **settings)
    return answer


def send(folder, name, requests, fuzz=(), **settings):
    hostile = [*fuzz, str(ROOT / "tests-matrix")] if fuzz else []
    shown = run(folder, "call.py", name, json.dumps(requests), *hostile, **settings)
    return [json.loads(line.removeprefix("ANSWER ")) for line in shown.splitlines() if line.startswith("ANSWER ")]


@pytest.mark.parametrize(
    ("name", "path", "options", "status", "expected"),
    [
        ("factory", "/orders", {}, 200, {"status": "completed"}),
        ("inline", "/orders", {"json": ORDER}, 200, {"status": "completed", "reservation": "R-A1"}),
        ("inline", "/orders/async", {"json": ORDER}, 200, {"status": "completed", "reservation": "R-A1"}),
        ("background", "/orders", {"json": ORDER}, 202, {"status": "accepted"}),
        ("deferred", "/orders", {"json": ORDER}, 202, {}),
        ("deferred", "/orders/tomorrow", {"json": ORDER}, 202, {}),
        ("deferred", "/orders/many", {"json": {"orders": [ORDER, ORDER]}}, 202, {}),
        ("deferred", "/orders/many", {"json": ORDER}, 400, None),
        ("transaction", "/orders", {"query_string": {"amount": 42}}, 202, {}),
        ("transaction", "/orders", {"query_string": {"amount": "many"}}, 400, None),
        ("idempotent", "/orders", {"json": ORDER, "headers": {"Idempotency-Key": "k"}}, 202, {}),
        ("once", "/orders", {"json": ORDER, "headers": {"Idempotency-Key": "k"}}, 202, {}),
        ("constructed", "/greetings/Ada", {}, 200, {"said": "Hello, Ada"}),
        ("inline", "/orders", {"json": {"__x": 1}}, 422, {}),
    ],
)
def test_the_recipes_work(folder, name, path, options, status, expected):
    code, body, _ = call(folder, name, "POST", path, **options)
    assert code == status, body
    assert expected is None or expected.items() <= body.items()


SAMPLES = [
    (HOWTO, "factory", "/orders", {}),
    (HOWTO, "inline", "/orders", {"json": ORDER}),
    (HOWTO, "inline", "/orders/async", {"json": ORDER}),
    (HOWTO, "background", "/orders", {"json": ORDER}),
    (HOWTO, "deferred", "/orders", {"json": ORDER}),
    (HOWTO, "deferred", "/orders/many", {"json": {"orders": [ORDER, ORDER]}}),
    (HOWTO, "transaction", "/orders", {"query_string": {"amount": 42}}),
    (HOWTO, "idempotent", "/orders", {"json": ORDER}),
    (HOWTO, "once", "/orders", {"json": ORDER}),
    (HOWTO, "collaborators", "/payments", {"query_string": {"amount": 5}}),
    (HOWTO, "constructed", "/greetings/Ada", {}),
    (HOWTO, "correlated", "/orders", {"json": ORDER}),
    ("packages/flask-sagaz/README.md", "main", "/orders", {"json": ORDER}),
    ("docs/howto/celery.md", "main", "/orders", {"json": ORDER}),
]
ADA, BOB = {"Authorization": "Bearer ada-token"}, {"Authorization": "Bearer bob-token"}


@pytest.mark.parametrize(
    ("page", "name", "path", "options"), SAMPLES, ids=[f"{page}-{name}-{path}" for page, name, path, _ in SAMPLES]
)
def test_what_is_sent_again_starts_nothing_keys_are_a_customers_own_and_what_is_wrong_is_a_4xx(
    tmp_path, page, name, path, options
):
    for text, file in BLOCK.findall((ROOT / page).read_text()):
        (tmp_path / file).write_text(text)
    (tmp_path / "call.py").write_text(CALL)
    key = {"Idempotency-Key": "same"}
    # Twice the same, then somebody else, a key too long, none, and nobody; and then whatever clients get wrong.
    headers = [ADA | key, ADA | key, BOB | key, ADA | {"Idempotency-Key": "x" * 300}, ADA, key]
    requests = [("POST", path, options | {"headers": given}) for given in headers]
    settings = {"SAGAZ_STORAGE_URL": f"sqlite:///{tmp_path}/s.db", "BROKER_URL": "memory://"}
    answers = send(tmp_path, name, requests, [path] if "json" in options else [], **settings)
    first, again, bobs = (made(body) for _, body, _ in answers[:3])
    assert first == again != bobs
    assert [status // 100 for status, *_ in answers] == [2, 2, 2, 4, 4, 4]


def made(body):
    return next(body[name] for name in ("saga_id", "saga_ids", "order_id") if name in body)


def test_a_status_is_shown_to_whoever_started_the_run_and_to_nobody_else(folder):
    shown = """
from background import app
client, key = app.test_client(), {"Idempotency-Key": "k"}
saga_id = client.post("/orders", json={"order_id": "A1", "customer": "bob"}, headers=ADA | key).json["saga_id"]
print("STATUS", *[client.get(f"/orders/{saga_id}", headers=one).status_code for one in (ADA, BOB, {})])
"""
    assert "STATUS 200 404 401" in run(folder, "-c", f"ADA, BOB = {ADA}, {BOB}\n{shown}")


def test_a_run_starts_with_the_transaction_of_the_recipe(folder):
    call(folder, "transaction", "POST", "/orders", query_string={"amount": 42})
    count = "import sqlite3; print(sqlite3.connect('shop.db').execute('select count(*) from sagaz_run').fetchone())"
    assert "(1,)" in run(folder, "-W", "ignore", "-c", count)


WAITING = f"""
import hashlib, hmac, json, time, sqlite3
from waiting import SECRET, app
client = app.test_client()
def order():
    return client.post("/orders", json={{"payment": "pi_of_bob"}}, headers={ADA | {"Idempotency-Key": "k"}})
first = order()
body = json.dumps({{"id": 7, "payment": "pi_" + first.json["saga_id"], "amount": 42}}).encode()
signature = hmac.new(SECRET, body, hashlib.sha256).hexdigest()
address = "/orders/" + first.json["saga_id"]
print("WAITING", first.status_code, first.json["status"], first.headers["Location"] == address)
print("EVENT", *[client.post("/webhooks/payments", data=body, headers={{"Provider-Signature": one}}).status_code
    for one in (signature, signature, "forged")])
deadline = time.monotonic() + 20
while (answer := order()).status_code == 202 or answer.status_code == 409:
    assert time.monotonic() < deadline
    time.sleep(0.02)
print("ENDED", answer.json == {{"saga_id": first.json["saga_id"], "status": "completed"}})
"""


def test_a_signal_is_sent_with_the_transaction_of_the_recipe(folder):
    said = run(folder, "-c", WAITING)
    assert "WAITING 202 waiting True\nEVENT 200 200 401\nENDED True" in said
    count = "import sqlite3; print(sqlite3.connect('waiting.db').execute('select * from payment_event').fetchall())"
    assert "[('7', 42)]" in run(folder, "-W", "ignore", "-c", count)


APPROVALS = f"""
import time, flask_approvals
from flask_approvals import Order, app, db, sagaz
links = []
flask_approvals.mail = links.append
customer, manager, other = (app.test_client() for _ in range(3))
for client, user in ((manager, "mia"), (other, "max")):
    with client.session_transaction() as session:
        session["user"] = user
def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
def status(saga_id):
    with app.app_context():
        return sagaz.sagas.status_sync(saga_id)
def order(key):
    headers = {ADA} | {{"Idempotency-Key": key}}
    saga_id = customer.post("/orders", json={{"amount": 420}}, headers=headers).json["saga_id"]
    until(lambda: status(saga_id).status == "waiting")
    return saga_id, links[-1].removeprefix("https://shop.example")
def post(client, address, decision, **more):
    return client.post(address, data={{"decision": decision, **more}}).status_code
saga_id, address = order("k")
print("GET", customer.get(address).status_code, other.get(address).status_code)
shown = [manager.get(address) for _ in range(3)]
print("SHOWN", *[one.status_code for one in shown], "An order of 420, by ada." in shown[0].text)
print("HEADERS", shown[0].headers["Cache-Control"], shown[0].headers["Referrer-Policy"])
print("STILL", status(saga_id).status, status(saga_id).audit)
print("WRONG", post(customer, address, "approve"), post(other, address, "approve"), post(manager, address, "maybe"),
    post(manager, address + "x", "approve"))
print("DECIDED", *[post(manager, address, one, reason="known") for one in ("approve", "approve", "refuse")])
until(lambda: status(saga_id).status == "completed")
with app.app_context():
    notes, by = status(saga_id).audit, db.session.get(Order, saga_id).approved_by
    print("AUDIT", *[(note.actor, note.reason) for note in notes], by)
    other_id, address = order("ended")
    sagaz.sagas.cancel_sync(other_id, by="ada")
    until(lambda: status(other_id).status == "rolled_back")
    over = "/approvals/" + sagaz.sagas.signer().sign(["approval", other_id, None, "", 1.0])
    expired = manager.get(over)
    late = post(manager, address, "approve")
    print("LATE", late, manager.get(address).status_code, db.session.get(Order, other_id).approved_by)
    gone = "/approvals/" + sagaz.sagas.approval_token("approval", saga_id="gone")
    print("GONE", manager.get(gone).status_code, post(manager, gone, "approve"))
    print("EXPIRED", expired.status_code, post(manager, over, "approve"), "1970-01-01" in expired.text)
"""


def test_a_manager_approves_by_a_link_that_others_may_follow(folder):
    said = run(folder, "-c", APPROVALS)
    assert [line for line in said.splitlines() if line.split(" ")[0].isupper()] == [
        "GET 403 403",
        "SHOWN 200 200 200 True",
        "HEADERS no-store no-referrer",
        "STILL waiting ()",
        "WRONG 403 403 400 404",
        "DECIDED 200 200 409",
        "AUDIT ('mia', 'known') mia",
        "LATE 410 200 None",
        "GONE 404 404",
        "EXPIRED 410 410 True",
    ]


def test_collaborators_come_out_of_the_application(folder):
    _, body, _ = call(folder, "collaborators", "POST", "/payments", query_string={"amount": 5})
    assert body["receipt"] == f"charged 5 under {body['saga_id']}:charge"


def test_a_step_starts_another_saga_and_a_script_asks_and_decides(folder):
    said = run(folder, "offline.py", SAGAZ_STORAGE_URL="sqlite:///s.db")
    assert "completed\nFalse Run" in said
    assert "there is nothing to cancel" in said
    started = "import sqlite3; print(sqlite3.connect('s.db').execute('select saga_name from sagaz_run').fetchall())"
    assert "('InvoiceSaga',)" in run(folder, "-W", "ignore", "-c", started)


def test_a_command_for_cron_starts_one_run_a_night_and_a_consumer_one_a_message(folder):
    command = ("-m", "flask", "--app", "offline", "nightly")
    first, again = (run(folder, *command, SAGAZ_STORAGE_URL="sqlite:///s.db") for _ in range(2))
    assert first.startswith("started ")
    assert first == again
    consumed = "import offline\nfor _ in range(2):\n    offline.consume({'id': 1, 'order': {'order_id': 'A1'}})"
    run(folder, "-c", consumed, SAGAZ_STORAGE_URL="sqlite:///s.db")
    count = "import sqlite3; print(sqlite3.connect('s.db').execute('select count(*) from sagaz_run').fetchone())"
    assert "(2,)" in run(folder, "-W", "ignore", "-c", count)


def test_the_correlation_id_is_sent_back_and_in_the_context(folder):
    _, body, headers = call(folder, "correlated", "POST", "/orders", json=ORDER, headers={"X-Request-ID": "r-1"})
    assert (headers["X-Request-ID"], body["correlation_id"]) == ("r-1", "r-1")


@pytest.mark.parametrize("name", ["test_orders.py", "test_worker.py"])
def test_the_tests_of_the_recipes_pass(folder, name):
    assert "1 passed" in run(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", name)


def test_the_five_minute_start_works(tmp_path):
    [(text, name)] = BLOCK.findall((ROOT / "packages/flask-sagaz/README.md").read_text())
    (tmp_path / name).write_text(text)
    (tmp_path / "call.py").write_text(CALL)
    settings = {"SAGAZ_STORAGE_URL": "sqlite:///sagas.db"}
    code, body, _ = call(tmp_path, "main", "POST", "/orders", json=ORDER, settings=settings)
    assert (code, body["status"]) == (200, "completed")
    assert (tmp_path / "sagas.db").exists()


CELERY = """
from main import app, celery
ada = {"Authorization": "Bearer ada-token", "Idempotency-Key": "k"}
saga_id = app.test_client().post("/orders", json={"order_id": "A1"}, headers=ada).json["saga_id"]
with celery.connection_for_read() as connection:
    message = connection.default_channel.basic_get("celery")
print(celery.tasks[message.headers["task"]](*message.decode()[0]))
assert message.decode()[0] == [saga_id]
print(*[celery.tasks[entry["task"]]() for entry in celery.conf.beat_schedule.values()])
"""


def test_the_recipe_for_celery_works(tmp_path):
    [(text, name)] = BLOCK.findall((ROOT / "docs/howto/celery.md").read_text())
    (tmp_path / name).write_text(text)
    assert run(tmp_path, "-c", CELERY, BROKER_URL="memory://").split("\n")[-3:] == ["1 completed", "no runs", ""]


SILENT = """
from main import app
ada = {"Authorization": "Bearer ada-token", "Idempotency-Key": "k"}
answer = app.test_client().post("/orders", json={"order_id": "A1"}, headers=ada)
print("ANSWERED", answer.status_code)
"""


def test_the_recipe_for_celery_answers_while_redis_does_not(tmp_path):
    [(text, name)] = BLOCK.findall((ROOT / "docs/howto/celery.md").read_text())
    (tmp_path / name).write_text(text)
    # Connections are accepted by the kernel, and nobody ever reads from them.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        shown = run(tmp_path, "-c", SILENT, BROKER_URL=f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
    assert "ANSWERED 202" in shown
    assert "the sweep finds them" in shown


WATCHED = """
import time
from watched import app
client, order = app.test_client(), {"order_id": "A1", "amount": 5}
assert client.post("/orders", json=order).status_code == 401
assert client.get("/sagas").status_code == 401
assert client.post("/orders", json=order, headers=ADA).status_code == 400
started = client.post("/orders", json=order, headers=ADA | {"Idempotency-Key": "a"})
assert started.status_code == 202, started.text
path, deadline = started.headers["Location"], time.monotonic() + 20
while (seen := client.get(path, headers=ADA).json)["status"] != "completed":
    assert time.monotonic() < deadline, seen
assert seen["context"] == {"order_id": "A1", "reservation": "R-A1"}
assert [run["owner"] for run in client.get("/sagas?owner=ada", headers=ADA).json["runs"]] == ["ada"]
assert client.get("/sagas", headers=ADA).status_code == 404
bobs = client.post("/orders", json=order, headers=BOB | {"Idempotency-Key": "a", "Prefer": "wait=5"})
assert (bobs.status_code, bobs.json["status"], bobs.json["owner"]) == (200, "completed", "bob")
other = bobs.headers["Content-Location"]
assert client.get(other, headers=ADA).status_code == 404
assert client.post(f"{other}/cancel", headers=ADA).status_code == 404
assert client.post(f"{path}/cancel", headers=BOB).status_code == 409
assert client.get("/health/readiness").status_code == 200
"""


def test_an_order_is_watched_by_its_customer_and_decided_by_an_operator(folder):
    pytest.importorskip("flask_login")
    (folder / "story.py").write_text(f"ADA, BOB = {ADA}, {BOB}" + WATCHED)
    run(folder, "-W", "ignore", "story.py", SAGAZ_STORAGE_URL="sqlite:///s.db")
