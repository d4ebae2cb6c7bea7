"""Runs the commands of the README against the application, under three servers, and compares the answers."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.hostile import deviations
from support.transcript import commands, play

ADA = {"Authorization": "Bearer ada-token", "Idempotency-Key": "k"}

HERE = Path(__file__).resolve().parent
README = (HERE / "README.md").read_text()

SERVERS = {
    "runserver": ["manage.py", "runserver", "--noreload", "127.0.0.1:PORT"],
    "gunicorn": ["-m", "gunicorn", "config.wsgi", "--threads", "4", "--bind", "127.0.0.1:PORT"],
    "uvicorn": ["-m", "uvicorn", "config.asgi:application", "--port", "PORT", "--log-level", "warning"],
}


@dataclass
class Shop:
    """A running server, with a database of its own."""

    url: str
    folder: Path
    env: dict[str, str]

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", headers=ADA, trust_env=False)

    def post(self, path: str, body: object) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", json=body, headers=ADA, trust_env=False, timeout=30)

    def ledger(self) -> list[tuple[str, str]]:
        lines = map(json.loads, (self.folder / "ledger.jsonl").read_text().splitlines())
        return [(line["service"], line["outcome"]) for line in lines]

    def manage(self, *words: str, **more: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=HERE, env=self.env | more, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        return done.stdout + done.stderr

    def await_status(self, saga_id: str, status: str) -> None:
        wait(lambda: self.state(saga_id)["status"] == status, f"{saga_id} is {status}")

    def state(self, saga_id: str) -> dict[str, Any]:
        run: dict[str, Any] = self.get(f"/sagas/{saga_id}").json()
        return run


def wait(condition: Callable[[], bool], what: str) -> None:
    for _ in range(300):
        if condition():
            return
        time.sleep(0.1)
    pytest.fail(f"not within 30 s: {what}")


@contextmanager
def running(words: list[str], env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, *words], cwd=HERE, env=env)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def serving(words: list[str], folder: Path) -> Iterator[Shop]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    env = {name: value for name, value in os.environ.items() if not name.startswith(("SAGAZ_", "SHOP_", "DJANGO_"))}
    env |= {"SHOP_DATABASE": str(folder / "db.sqlite3"), "SHOP_LEDGER": str(folder / "ledger.jsonl")}
    env |= {"SHOP_HOLD": str(folder), "DJANGO_DEBUG": "1"}
    shop = Shop(f"http://127.0.0.1:{port}", folder, env)
    shop.manage("migrate", "--verbosity", "0")
    with running([word.replace("PORT", port) for word in words], env) as process:
        wait(lambda: answers(process, shop), "the server answers")
        yield shop


def answers(process: subprocess.Popen[bytes], shop: Shop) -> bool:
    assert process.poll() is None, "the server ended"
    try:
        return shop.get("/sagas/none").status_code == 404
    except httpx.TransportError:
        return False


@pytest.fixture(params=SERVERS)
def every_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    with serving(SERVERS[request.param], tmp_path) as shop:
        yield shop


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with serving(SERVERS["runserver"], tmp_path) as shop:
        yield shop


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.skipif(sys.platform == "win32", reason="the README's quotes are a POSIX shell's")
def test_every_command_of_the_readme_gives_the_answer_that_the_readme_shows(every_server: Shop) -> None:
    assert len(commands(README)) == 32
    with running(["manage.py", "sagaz_worker"], every_server.env):
        ids = play(README, every_server.url)
    assert len(set(ids.values())) == len(ids), "orders with ids of their own"


def test_what_a_declined_order_did_is_undone(shop: Shop) -> None:
    order = {"order_id": "T1", "amount": 10_001}
    answers = [shop.post("/orders", order) for _ in range(2)]
    assert [(one.status_code, one.headers.get("Idempotent-Replayed")) for one in answers] == [
        (402, None),
        (402, "true"),
    ]
    [listed] = shop.get("/sagas/?owner=ada&status=rolled_back").json()["runs"]
    run = shop.state(listed["saga_id"])
    assert run["context"] == order
    assert [told(step) for step in run["steps"]] == [
        "reserve: done, done",
        "charge: failed, uncalled",
        "confirm: uncalled",
        "approve: uncalled",
        "ship: uncalled, uncalled",
        "note: uncalled",
    ]
    assert shop.ledger() == [("reserve", "done"), ("charge", "declined"), ("release", "done")]
    assert orders(shop) == "[('T1', 'cancelled')]"


def told(step: dict[str, Any]) -> str:
    undone = step["compensation"]
    return f"{step['name']}: {step['state']}" + ("" if undone is None else f", {undone['state']}")


def test_a_rolled_back_transaction_leaves_neither_order_nor_saga(shop: Shop) -> None:
    assert shop.post("/orders/refused", {"order_id": "T2", "amount": 5}).status_code == 409
    assert orders(shop) == "[]"
    assert "Ended: no runs." in shop.manage("sagaz_worker", "--drain")
    assert not (shop.folder / "ledger.jsonl").exists()


def test_a_worker_resumes_what_a_killed_one_left(shop: Shop) -> None:
    (shop.folder / "charge-T3").touch()
    saga_id = shop.post("/orders/deferred", {"order_id": "T3", "amount": 5}).json()["saga_id"]
    soon = {"SAGAZ_LEASE_SECONDS": "2", "SAGAZ_RENEW_SECONDS": "0.5", "SAGAZ_POLL_SECONDS": "0.1"}
    with ExitStack() as stack:
        killed = stack.enter_context(running(["manage.py", "sagaz_worker"], shop.env | soon))
        wait(lambda: (shop.folder / "ledger.jsonl").exists() and len(shop.ledger()) == 2, "the card is charged")
        killed.kill()
    (shop.folder / "charge-T3").unlink()
    with running(["manage.py", "sagaz_worker"], shop.env | soon):
        shop.await_status(saga_id, "completed")
    assert shop.ledger() == [("reserve", "done"), ("charge", "done"), ("charge", "repeated"), ("ship", "done")]
    assert orders(shop) == "[('T3', 'shipped')]"


@pytest.mark.parametrize("path", ["/orders", "/orders/deferred", "/orders/decorated"])
def test_a_malformed_order_is_refused_before_any_saga(shop: Shop, path: str) -> None:
    for body in ({"order_id": "../etc", "amount": 1}, {"order_id": "T4", "amount": True}, ["T4", 1], "T4"):
        assert shop.post(path, body).status_code == 422
    assert orders(shop) == "[]"


MIA = {"Authorization": "Bearer mia-token"}


def test_a_refused_order_is_undone_and_links_that_are_wrong_decide_nothing(shop: Shop) -> None:
    def ask(method: str, path: str, body: object = None, who: dict[str, str] = MIA) -> int:
        url = f"{shop.url}{path}"
        return httpx.request(method, url, json=body, headers=who, trust_env=False, timeout=30).status_code

    answer = shop.post("/orders", {"order_id": "T5", "amount": 5_001})
    saga_id = answer.json()["saga_id"]
    assert (answer.status_code, answer.headers["Location"]) == (202, f"/sagas/{saga_id}")
    assert [ask("GET", "/approvals", who=ADA), ask("GET", "/approvals", who={})] == [403, 401]
    [waiting] = httpx.get(f"{shop.url}/approvals", headers=MIA, trust_env=False).json()["approvals"]
    assert [ask("GET", waiting["link"]) for _ in range(3)] == [200] * 3
    assert [ask("POST", waiting["link"], {"approved": True}, who) for who in (ADA, {})] == [403, 401]
    for body in ({"approved": 1}, {}, [], {"approved": True, "reason": 7}, None):
        assert ask("POST", waiting["link"], body) == 422
    for wrong in ("x", "a:b:c", "%00", "%F0%28", waiting["link"][:-1].rpartition("/")[2]):
        assert [ask(method, f"/approvals/{wrong}", {"approved": True}) for method in ("GET", "POST")] == [404, 404]
    assert shop.state(saga_id)["status"] == "waiting"
    assert [ask("POST", waiting["link"], {"approved": one}) for one in (False, False, True)] == [200, 200, 409]
    shop.manage("sagaz_worker", "--drain")
    assert shop.state(saga_id)["status"] == "rolled_back"
    assert [service for service, _ in shop.ledger()] == ["reserve", "charge", "refund", "release"]
    assert orders(shop) == "[('T5', 'cancelled')]"


def test_only_a_manager_decides_and_a_refused_order_is_undone(shop: Shop) -> None:
    saga_id = shop.post("/orders", {"order_id": "T6", "amount": 5_001}).json()["saga_id"]
    refusal = {"payload": {"approved": False}}

    def decide(who: dict[str, str], verb: str = "signal/approval", body: object = refusal) -> int:
        url = f"{shop.url}/sagas/{saga_id}/{verb}"
        return httpx.post(url, json=body, headers=who, trust_env=False, timeout=30).status_code

    everyone = ({}, ADA, {"Authorization": "Bearer bob-token"})
    assert [decide(who, verb, {}) for verb in ("cancel", "retry", "run-now") for who in everyone] == [401, 404, 404] * 3
    assert [decide(who) for who in everyone] == [401, 404, 404]
    assert shop.state(saga_id)["status"] == "waiting"
    assert decide(MIA) == 200
    shop.manage("sagaz_worker", "--drain")
    assert shop.state(saga_id)["status"] == "rolled_back"
    assert orders(shop) == "[('T6', 'cancelled')]"


def test_the_settings_are_fit_for_deployment(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")}
    shop = Shop("", tmp_path, env | {"SHOP_DATABASE": str(tmp_path / "db.sqlite3")})
    assert "no issues" in shop.manage("check", "--deploy", "--fail-level", "WARNING")
    assert "No changes" in shop.manage("makemigrations", "--check")


def orders(shop: Shop) -> str:
    query = "from orders.models import Order; print(list(Order.objects.values_list('number', 'status')))"
    return shop.manage("shell", "--verbosity", "0", "--command", query).strip()


def test_whatever_a_client_gets_wrong_is_answered_with_4xx_and_orders_are_their_customers_own(
    every_server: Shop,
) -> None:
    paths = ["/orders", "/orders/deferred", "/orders/decorated"]
    assert deviations(every_server.url, paths) == []
