"""Runs the commands of the README against the application, under Flask's own server and gunicorn."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support.hostile import deviations

ADA = {"Authorization": "Bearer ada-token", "Idempotency-Key": "k"}

HERE = Path(__file__).resolve().parent
README = (HERE / "README.md").read_text()
TRANSCRIPT = re.findall(r"^\$ (curl .*)\n((?:[^`$].*\n)*)", README, re.MULTILINE)


SERVERS = {
    "flask": ["flask", "--app", "main", "run", "--port", "PORT"],
    "gunicorn": ["gunicorn", "--threads", "8", "--bind", "127.0.0.1:PORT", "main:app"],
}


@pytest.fixture(params=SERVERS)
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("SAGAZ_", "SHOP_"))}
    env |= {"SAGAZ_STORAGE_URL": f"sqlite:///{tmp_path / 'orders.db'}", "SHOP_LEDGER": str(tmp_path / "ledger.jsonl")}
    words = [word.replace("PORT", str(port)) for word in SERVERS[request.param]]
    command = [sys.executable, "-m", *words]
    process = subprocess.Popen(command, cwd=HERE, env=env)
    try:
        await_start(process, f"http://127.0.0.1:{port}/orders/none")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def await_start(process: subprocess.Popen[bytes], url: str) -> None:
    for _ in range(300):
        assert process.poll() is None, "the server ended"
        try:
            httpx.get(url, trust_env=False)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("the server does not answer")


def blanked(text: str) -> str:
    """Replace saga ids, those of the README included, which are cut short."""
    return re.sub(r"[0-9a-f]{8}-(…|[0-9a-f-]{27})", "<id>", text).strip()


def saga_ids(text: str) -> list[str]:
    return re.findall(r'"saga_id":"([0-9a-f-]{8,36}…?)"', text)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.skipif(sys.platform == "win32", reason="the README's quotes are a POSIX shell's")
def test_every_command_of_the_readme_gives_the_answer_that_the_readme_shows(server: str) -> None:
    assert len(TRANSCRIPT) == 7
    ids: dict[str, str] = {}
    for command, expected in TRANSCRIPT:
        line = command.replace("http://127.0.0.1:8000", server)
        for shown, real in ids.items():
            line = line.replace(shown, real)
        if "/orders/" in line and "--json" not in line:
            await_end(f"{server}/orders/{line.rpartition('/orders/')[2].partition(' ')[0]}")
        answer = subprocess.run(
            ["sh", "-c", line], capture_output=True, text=True, check=True, env={**os.environ, "NO_PROXY": "*"}
        ).stdout
        assert blanked(answer) == blanked(expected), command
        for shown, real in zip(saga_ids(expected), saga_ids(answer), strict=True):
            assert ids.setdefault(shown, real) == real, command
    assert len(set(ids.values())) == len(ids), "orders with ids of their own"


def test_what_a_declined_order_did_is_undone(server: str, tmp_path: Path) -> None:
    order = {"order_id": "T1", "amount": 10_001}
    answer = httpx.post(f"{server}/orders", json=order, headers=ADA, trust_env=False)
    assert answer.status_code == 402
    saga_id = answer.json()["detail"]["saga_id"]
    state = httpx.get(f"{server}/orders/{saga_id}", headers=ADA, trust_env=False).json()
    assert state["status"] == "rolled_back"
    assert state["steps"] == ["reserve: completed", "charge: failed", "reserve: compensated"]
    ledger = map(json.loads, (tmp_path / "ledger.jsonl").read_text().splitlines())
    assert [(line["service"], line["outcome"]) for line in ledger] == [
        ("reserve", "done"),
        ("charge", "declined"),
        ("release", "done"),
    ]


@pytest.mark.parametrize("path", ["/orders", "/orders/background", "/orders/deferred"])
def test_a_malformed_order_is_refused_before_any_saga(server: str, tmp_path: Path, path: str) -> None:
    order = {"order_id": "../etc", "amount": -1}
    answer = httpx.post(f"{server}{path}", json=order, headers=ADA, trust_env=False)
    assert answer.status_code == 422
    assert not (tmp_path / "ledger.jsonl").exists()


def await_end(url: str) -> None:
    for _ in range(300):
        if httpx.get(url, headers=ADA, trust_env=False).json()["status"] == "completed":
            return
        time.sleep(0.1)
    pytest.fail(f"{url} has not ended")


def test_whatever_a_client_gets_wrong_is_answered_with_4xx_and_orders_are_their_customers_own(server: str) -> None:
    assert deviations(server, ["/orders", "/orders/background", "/orders/deferred"]) == []
