"""What the example applications of FastAPI and Flask do alike: the README's story, and what is beside it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.hostile import deviations
from support.transcript import commands, play

__all__ = ["ExampleCases", "served"]

ADA = {"Authorization": "Bearer ada-token", "Idempotency-Key": "k"}


@contextmanager
def served(folder: Path, data: Path, words: Sequence[str]) -> Iterator[str]:
    """Serve the application of a folder; gives its address.

    Args:
        data: Where its database and its ledger are.
        words: Of the command, with PORT for the port.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("SAGAZ_", "SHOP_"))}
    env |= {"SAGAZ_STORAGE_URL": f"sqlite:///{data / 'orders.db'}", "SHOP_LEDGER": str(data / "ledger.jsonl")}
    command = [sys.executable, "-m", *(word.replace("PORT", str(port)) for word in words)]
    process = subprocess.Popen(command, cwd=folder, env=env)
    try:
        await_start(process, f"http://127.0.0.1:{port}/sagas/none")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


class ExampleCases:
    """To be inherited, beside two fixtures: ``server``, an address, and ``readme``, a text."""

    @pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
    @pytest.mark.skipif(sys.platform == "win32", reason="the README's quotes are a POSIX shell's")
    def test_every_command_of_the_readme_gives_the_answer_that_the_readme_shows(self, server: str, readme: str) -> None:
        assert len(commands(readme)) == 30
        ids = play(readme, server)
        assert len(set(ids.values())) == len(ids), "orders with ids of their own"

    def test_what_a_declined_order_did_is_undone(self, server: str, tmp_path: Path) -> None:
        order = {"order_id": "T1", "amount": 10_001}
        answer = httpx.post(f"{server}/orders", json=order, headers=ADA, trust_env=False)
        assert answer.status_code == 402
        assert repeated(server, "/orders", order).status_code == 402
        assert [(run["context"], steps) for run, steps in her_runs(server, "rolled_back")] == [
            (
                order,
                [
                    "reserve: done, done",
                    "charge: failed, uncalled",
                    "confirm: uncalled",
                    "approve: uncalled",
                    "ship: uncalled, uncalled",
                ],
            )
        ]
        ledger = map(json.loads, (tmp_path / "ledger.jsonl").read_text().splitlines())
        assert [(line["service"], line["outcome"]) for line in ledger] == [
            ("reserve", "done"),
            ("charge", "declined"),
            ("release", "done"),
        ]

    @pytest.mark.parametrize("path", ["/orders", "/orders/background", "/orders/deferred"])
    def test_a_malformed_order_is_refused_before_any_saga(self, server: str, tmp_path: Path, path: str) -> None:
        order = {"order_id": "../etc", "amount": -1}
        answer = httpx.post(f"{server}{path}", json=order, headers=ADA, trust_env=False)
        assert answer.status_code == 422
        assert not (tmp_path / "ledger.jsonl").exists()

    def test_only_a_manager_decides_and_a_refused_order_is_undone(self, server: str, tmp_path: Path) -> None:
        def send(path: str, body: object, who: dict[str, str]) -> httpx.Response:
            return httpx.post(f"{server}{path}", json=body, headers=who, trust_env=False)

        accepted = send("/orders", {"order_id": "T2", "amount": 5_001}, ADA)
        assert (accepted.status_code, where := accepted.json()["location"]) == (202, accepted.headers["Location"])
        refusal = {"payload": {"approved": False}}
        everyone = ({}, ADA, {"Authorization": "Bearer bob-token"})
        for verb, body in {"cancel": {}, "retry": {}, "run-now": {}, "signal/approval": refusal}.items():
            assert [send(f"{where}/{verb}", body, who).status_code for who in everyone] == [401, 404, 404], verb
        assert [run["context"]["order_id"] for run, _ in her_runs(server, "waiting")] == ["T2"]
        assert send(f"{where}/signal/approval", refusal, {"Authorization": "Bearer mia-token"}).status_code == 200
        await_until(lambda: bool(her_runs(server, "rolled_back")))
        ledger = map(json.loads, (tmp_path / "ledger.jsonl").read_text().splitlines())
        assert [line["service"] for line in ledger] == ["reserve", "charge", "refund", "release"]

    @pytest.mark.parametrize("path", ["/orders/background", "/orders/deferred"])
    def test_a_client_that_prefers_to_wait_is_told_of_the_end(self, server: str, path: str) -> None:
        order, wait = {"order_id": "T3", "amount": 5}, {"Prefer": "wait=10"}
        answer = httpx.post(f"{server}{path}", json=order, headers=ADA | wait, trust_env=False, timeout=30)
        assert (answer.status_code, answer.json()["status"], answer.json()["owner"]) == (200, "completed", "ada")

    def test_whatever_a_client_gets_wrong_is_answered_with_4xx_and_orders_are_their_customers_own(
        self, server: str
    ) -> None:
        assert deviations(server, ["/orders", "/orders/background", "/orders/deferred"]) == []


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


def await_until(condition: Callable[[], bool]) -> None:
    for _ in range(300):
        if condition():
            return
        time.sleep(0.1)
    pytest.fail("not within 30 s")


def her_runs(server: str, status: str) -> list[tuple[dict[str, Any], list[str]]]:
    """Return Ada's runs, each with its steps and their compensations."""
    with httpx.Client(base_url=server, headers=ADA, trust_env=False) as client:
        listed = client.get("/sagas", params={"owner": "ada", "status": status}).json()["runs"]
        found = [client.get(f"/sagas/{run['saga_id']}").json() for run in listed]
    return [(run, [told(step) for step in run["steps"]]) for run in found]


def told(step: dict[str, Any]) -> str:
    undone = step["compensation"]
    return f"{step['name']}: {step['state']}" + ("" if undone is None else f", {undone['state']}")


def repeated(server: str, path: str, body: object) -> httpx.Response:
    """Send it again with the key of all of them, and return the answer, which says that it was given before."""
    answer = httpx.post(f"{server}{path}", json=body, headers=ADA, trust_env=False)
    assert answer.headers["Idempotent-Replayed"] == "true"
    return answer
