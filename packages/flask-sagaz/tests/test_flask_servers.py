"""Real servers: gunicorn's workers, forked from an application that was made before, and the development server."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.factory import create_store
from sagaz_integration_core.contract.listings import RunFilter
from support.programs import Program, environment, free_port

HERE = Path(__file__).parent
WAYS = ("inline", "awaited", "background", "deferred")


class Server:
    """One server, its log and its clients."""

    def __init__(self, folder, command, **variables):
        self.url = f"sqlite:///{folder / 'sagaz.db'}"
        self.port = free_port()
        env = environment(SAGAZ_STORAGE_URL=self.url, **variables)
        env["PYTHONPATH"] = os.pathsep.join([str(folder), str(HERE), env["PYTHONPATH"]])
        self.program = Program(command(self.port), folder / "server.log", env)
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            timeout=60,
            trust_env=False,
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=0),
        )

    def is_up(self):
        assert self.program.exitcode is None, self.program.tail()
        try:
            return self.http.get("/up").status_code == 200
        except httpx.TransportError:
            return False

    def post(self, way, **context):
        answer = self.http.post(f"/{way}", json=context)
        assert answer.status_code == 200, (way, answer.text, self.program.tail())
        return answer.json()

    def runs(self):
        """Return all runs, as another process sees them."""

        async def read():
            store = create_store(Settings(storage_url=self.url))
            await store.open()
            try:
                return await store.find(RunFilter(limit=1_000))
            finally:
                await store.close()

        return asyncio.run(read())

    def stop(self, number=signal.SIGTERM):
        self.program.signal(number)
        return self.program.wait(60)

    def close(self):
        self.program.close()
        self.http.close()


@pytest.fixture
def serve(tmp_path, until):
    servers = []

    def serve(command, **variables):
        server = Server(tmp_path, command, **variables)
        servers.append(server)
        server.program.start()
        until(server.is_up, "the server answers", 40)
        return server

    yield serve
    for server in servers:
        server.close()


def gunicorn(*options):
    return lambda port: [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", *options, "served_app:app"]


def complaints(server):
    words = ("Traceback", "Error", "different loop", "never awaited", "ResourceWarning", "SIGKILL")
    return [line for line in server.program.log.read_text().splitlines() if any(word in line for word in words)]


@pytest.mark.parametrize(
    "options",
    [
        ("--preload", "--workers", "4", "--threads", "8"),
        ("--workers", "2", "--worker-class", "sync"),
        ("--workers", "2", "--worker-class", "gthread", "--threads", "4", "--max-requests", "60"),
    ],
    ids=["preloaded threads", "sync", "replaced workers"],
)
def test_hundreds_of_requests_to_forked_workers_are_all_recorded(serve, until, options):
    server = serve(gunicorn(*options), SERVED_WORKER="1", SAGAZ_POLL_SECONDS="0.1", SAGAZ_SQLITE_BUSY_SECONDS="30")
    with ThreadPoolExecutor(40) as clients:
        answers = list(clients.map(lambda n: server.post(WAYS[n % 4], number=n), range(400)))
    assert len({answer["saga_id"] for answer in answers}) == 400
    assert len({answer["pid"] for answer in answers}) >= 2, "several processes did it"

    def all_ended():
        # A process that replaced another one runs its worker from its first request on.
        assert server.is_up()
        found = Counter(run.status for run in server.runs())
        return found if found["completed"] == 400 else None

    until(all_ended, "all runs have ended", 40)
    assert server.stop() == 0
    assert complaints(server) == []
    assert {run.saga_id for run in server.runs()} == {answer["saga_id"] for answer in answers}


def test_a_server_that_is_stopped_drains_and_leaves_nothing_executing(serve):
    server = serve(gunicorn("--preload", "--workers", "4", "--threads", "8"), SAGAZ_DRAIN_SECONDS="1")
    with ThreadPoolExecutor(24) as clients:
        soon = list(clients.map(lambda n: server.post("background", seconds=0.3), range(24)))
        late = list(clients.map(lambda n: server.post("background", seconds=60), range(24)))
    assert server.stop() == 0
    statuses = {run.saga_id: (run.status, run.lease_owner, run.failures) for run in server.runs()}
    assert {statuses[answer["saga_id"]] for answer in soon} == {("completed", None, 0)}
    assert {statuses[answer["saga_id"]] for answer in late} == {("pending", None, 0)}
    assert complaints(server) == []


def test_a_plain_step_that_does_not_end_does_not_keep_a_server_from_stopping(serve):
    server = serve(gunicorn("--workers", "1", "--threads", "2"), SAGAZ_DRAIN_SECONDS="0.5")
    server.post("background", blocked=600)
    assert server.stop() == 0
    assert complaints(server) == []


def test_the_development_server_runs_sagas_reloads_and_stops(serve, tmp_path, until):
    shutil.copy(HERE / "served_app.py", tmp_path / "reloaded.py")
    server = serve(
        lambda port: [
            *(sys.executable, "-m", "flask", "--app", str(tmp_path / "reloaded.py"), "--debug"),
            *("run", "--port", str(port), "--exclude-patterns", f"{tmp_path}/*.db*"),
        ],
        SAGAZ_DRAIN_SECONDS="0.5",
    )
    first = server.post("inline")
    left = server.post("background", seconds=60)
    assert first["pid"] == left["pid"] != server.program.pid, "the reloader's child serves"
    source = tmp_path / "reloaded.py"
    source.write_text(source.read_text() + "\n# changed\n")

    def reloaded():
        try:
            return server.http.get("/up").json()["pid"] != first["pid"]
        except httpx.TransportError:
            return False

    until(reloaded, "the server has reloaded", 40)
    assert server.post("inline")["pid"] != first["pid"]
    server.stop(signal.SIGINT)
    assert {run.status for run in server.runs()} == {"completed", "pending"}
