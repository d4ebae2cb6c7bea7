"""Processes that fork, and processes that are started anew when code changes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import httpx
import pytest
from places import on, until
from test_readme import environment, project, run, started

from django_sagaz.models import Run


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def is_up(url, process):
    assert process.poll() is None, process.stdout.read()
    with suppress(httpx.TransportError):
        return bool(httpx.get(url, trust_env=False).status_code)
    return False


@on("default", "pg")
def test_a_saga_that_ran_before_the_fork_leaves_nothing_that_processes_would_share(home, elsewhere):
    port = free_port()
    options = ["--preload", "--workers", "2", "--threads", "4", "--bind", f"127.0.0.1:{port}"]
    server = elsewhere("-m", "gunicorn", *options, "testproject.eager_wsgi")
    url = f"http://127.0.0.1:{port}"
    until(lambda: is_up(url + "/who", server))

    def post(n):
        path = ("/run", "/run_async", "/start")[n % 3]
        answer = httpx.post(url + path, json={"db": home, "name": str(n)}, trust_env=False, timeout=60)
        assert answer.status_code == 200, answer.text[:2000]

    with ThreadPoolExecutor(6) as clients:
        list(clients.map(post, range(12 if home == "default" else 60)))
    server.terminate()
    said, _ = server.communicate(timeout=30)
    assert (server.returncode, "Traceback" in said) == (0, False), said
    runs = Run.objects.using(home)
    assert runs.filter(context__name="before the fork").get().status == "completed"
    assert set(runs.filter(context__name__in=["0", "1"]).values_list("status", flat=True)) == {"completed"}


FORKING = """
import gc, json, os, sys
import django
django.setup()
from django.db import connections
from django_sagaz import run_saga
from testproject.shop.sagas import OrderSaga

[home] = json.loads(os.environ["TESTPROJECT_NAMES"])
run_saga(OrderSaga, {"db": home, "name": "before"})
before = connections[home].connection
assert before is not None
child = os.fork()
if not child:
    run_saga(OrderSaga, {"db": home, "name": "in the child"})
    assert connections[home].connection is not before
    connections.close_all()
    gc.collect()
    sys.exit()
assert os.waitpid(child, 0)[1] == 0
assert connections[home].connection is before
run_saga(OrderSaga, {"db": home, "name": "after"})
assert connections[home].connection is before
"""


@on("default", "pg")
def test_a_fork_opens_a_connection_of_its_own_and_its_end_does_not_close_the_parents(home, elsewhere):
    process = elsewhere("-c", FORKING)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert set(Run.objects.using(home).values_list("status", flat=True)) == {"completed"}


@contextmanager
def running(folder, *words):
    process = subprocess.Popen(
        [sys.executable, "-m", "django", *words, "--settings", "settings"],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        # The reloader's child too.
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def charges(folder, kind):
    """Ask how charges ended that are in the journal."""
    with contextlib.closing(sqlite3.connect(folder / "db.sqlite3")) as database:
        rows = database.execute("SELECT result FROM sagaz_step WHERE step = 'charge' AND result IS NOT NULL")
        return sum(json.loads(row)["receipt"].startswith(kind) for (row,) in rows)


LOGIN = """
from django.contrib.auth.models import User
from django.test import Client
client = Client()
client.force_login(User.objects.create_user("ada"))
print(client.cookies["sessionid"].value)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="process groups are POSIX")
def test_a_change_of_a_saga_reaches_runserver_and_a_worker_that_reloads(tmp_path):
    project(tmp_path, ["inline", "asynchronous", "transaction"])
    with (tmp_path / "settings.py").open("a") as file:
        file.write("\nDEBUG = True\nSAGAZ = {'POLL_SECONDS': 0.1}\n")
    session = run(tmp_path, sys.executable, "-c", started(LOGIN)).strip()
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    def receipt(path):
        headers = {"Cookie": f"sessionid={session}", "Idempotency-Key": str(uuid.uuid4())}
        with suppress(httpx.TransportError):
            answer = httpx.post(f"{url}/{path}", headers=headers, trust_env=False, timeout=60)
            return answer.json().get("receipt") or answer.status_code
        return None

    with (
        running(tmp_path, "runserver", str(port)) as server,
        running(tmp_path, "sagaz_worker", "--autoreload") as worker,
    ):
        until(lambda: is_up(url + "/status/none", server))
        assert receipt("inline").startswith("charged")
        assert receipt("asynchronous") == 200
        assert receipt("transaction") == 202
        until(lambda: charges(tmp_path, "charged") == 3)
        sagas = tmp_path / "orders" / "sagas.py"
        changed = sagas.read_text().replace("charged under", "billed under")
        write_until(sagas, changed, lambda: str(receipt("inline")).startswith("billed"))
        # It may just be starting again, for the same text written once more.
        until(lambda: receipt("asynchronous") == 200)
        served = charges(tmp_path, "billed")

        def worked():
            assert worker.poll() is None, worker.stdout.read()
            receipt("transaction")
            return charges(tmp_path, "billed") > served

        write_until(sagas, changed, worked)


@pytest.mark.skipif(sys.platform == "win32", reason="process groups are POSIX")
@pytest.mark.parametrize("module", ["sagas", "models"])
def test_a_worker_that_reloads_survives_a_syntax_error(tmp_path, module):
    project(tmp_path, ["transaction"])
    with (tmp_path / "settings.py").open("a") as file:
        file.write("\nDEBUG = True\nSAGAZ = {'POLL_SECONDS': 0.1}\n")
    subprocess.run(
        [sys.executable, "-m", "django", "migrate", "--run-syncdb", "--verbosity", "0", "--settings", "settings"],
        cwd=tmp_path, env=environment(tmp_path), check=True,
    )  # fmt: skip
    file = tmp_path / "orders" / f"{module}.py"
    good = file.read_text()
    with running(tmp_path, "sagaz_worker", "--autoreload") as worker:
        lines = following(worker)
        until(lambda: any("Working on" in line for line in lines))
        write_until(file, good + "\ndef broken(:\n", lambda: any("SyntaxError" in line for line in lines))
        assert worker.poll() is None
        lines.clear()
        write_until(file, good + "\n# mended\n", lambda: any("Working on" in line for line in lines))


def write_until(file, text, condition):
    """Write a file again and again: a reloader that has only begun to watch takes what it finds for unchanged."""
    written_at = 0.0

    def seen():
        nonlocal written_at
        if time.monotonic() - written_at > 5:
            file.write_text(text)
            written_at = time.monotonic()
        return condition()

    until(seen, 60)


def following(process):
    """Return a list that gets what a process prints."""
    lines = []
    threading.Thread(target=lambda: lines.extend(process.stdout), daemon=True).start()
    return lines
