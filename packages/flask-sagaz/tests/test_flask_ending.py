"""The end: of applications that are dropped, of processes that exit, and of what a fork has inherited."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import weakref

import pytest
from flask import Flask

from flask_sagaz import SagazExtension

PREAMBLE = """
import asyncio, os, sys, threading, time
from flask import Flask
from flask_sagaz import Saga, SagazExtension, action

said = threading.Event()

class Waiting(Saga):
    saga_name = "waiting"

    @action("async")
    async def in_loop(self, ctx):
        print("begun", flush=True)
        said.set()
        await asyncio.sleep(ctx.get("seconds", 0))

    @action("plain", depends_on=["async"])
    def in_thread(self, ctx):
        print("plain", flush=True)
        time.sleep(ctx.get("blocked", 0))
        print("done", flush=True)

app = Flask("ending")
sagaz = SagazExtension(app, sagas=[Waiting])
"""


@pytest.fixture
def run_program(tmp_path):
    """Runs a program with a file as its store, and returns what it printed and every run's status."""

    def run(program, *, drain="5", warnings="error", url=f"sqlite:///{tmp_path / 'sagaz.db'}"):
        env = {**os.environ, "SAGAZ_STORAGE_URL": url, "SAGAZ_DRAIN_SECONDS": drain}
        command = [sys.executable, "-W", warnings, "-c", PREAMBLE + program]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.split(), done.stderr

    return run


@pytest.fixture
def statuses(make_app, tmp_path):
    """Returns how the runs in the file stand."""

    def statuses():
        from sagaz_integration_core.contract.listings import RunFilter

        app, _ = make_app(f"sqlite:///{tmp_path / 'sagaz.db'}")
        runtime = app.extensions["sagaz"].process().get()
        return [(run.status, run.lease_owner) for run in runtime.call(lambda: runtime.store.find(RunFilter()))]

    return statuses


def test_a_process_that_exits_lets_its_runs_end(run_program, statuses):
    context = {"seconds": 0.3, "blocked": 0.3}
    printed, _ = run_program(f"with app.app_context(): sagaz.run_background(sagaz.create_saga(Waiting), {context})")
    assert printed == ["begun", "plain", "done"]
    assert statuses() == [("completed", None)]


@pytest.mark.parametrize("context", [{"seconds": 60}, {"blocked": 60}], ids=["async", "plain"])
def test_what_does_not_end_in_time_is_given_back_and_the_process_exits(run_program, statuses, context):
    program = f"with app.app_context():\n    sagaz.run_background(sagaz.create_saga(Waiting), {context})\n"
    run_program(program, drain="0.3")
    assert statuses() == [("pending", None)]


def test_a_process_exits_at_once_when_nothing_runs(run_program):
    printed, complaints = run_program(
        "with app.app_context():\n"
        "    sagaz.run_sync(sagaz.create_saga(Waiting), {})\n"
        "    saga = sagaz.create_saga(Waiting)\n"
        "import atexit\n"
        "atexit.register(lambda: print('atexit', [t.name for t in threading.enumerate() if t.name == 'sagaz-loop']))",
        drain="60",
    )
    assert (printed[-2:], complaints) == (["atexit", "[]"], "")


FORKING = """
with app.app_context():
    sagaz.run_sync(sagaz.create_saga(Waiting), {})
    inherited = sagaz.create_saga(Waiting)
    for _ in range(3):
        pid = os.fork()
        if not pid:
            for use in (lambda: inherited, lambda: sagaz.create_saga(Waiting)):
                try:
                    sagaz.run_sync(use(), {})
                except Exception as error:
                    print(type(error).__name__, flush=True)
            sys.exit()
        assert os.waitpid(pid, 0)[1] == 0
        sagaz.run_sync(sagaz.create_saga(Waiting), {})
"""


def test_a_fork_gets_a_loop_of_its_own_and_leaves_the_parents_alone(run_program):
    printed, _ = run_program(FORKING, warnings="ignore", url="memory://")
    assert printed.count("RuntimeNotOpen") == 3, "what was bound before the fork belongs to the parent"
    assert printed.count("done") == 7


def test_a_file_that_was_open_before_the_fork_is_refused_to_the_child_and_stays_the_parents(run_program, statuses):
    printed, complaints = run_program(FORKING, warnings="ignore")
    assert (printed.count("StoreUnavailable"), printed.count("done")) == (3, 4)
    assert "Open it only after the fork" in complaints
    assert statuses() == [("completed", None)] * 4


def test_a_fork_that_uses_nothing_exits_without_waiting(run_program):
    run_program(
        "with app.app_context():\n"
        "    sagaz.run_background(sagaz.create_saga(Waiting), {'seconds': 1})\n"
        # A fork in the middle of a print would inherit its lock.
        "    assert said.wait(20)\n"
        "    pid = os.fork()\n"
        "    if pid:\n"
        "        assert os.waitpid(pid, 0)[1] == 0\n",
        warnings="ignore",
    )


def open_files():
    return sorted(filter(None, map(_target, os.listdir("/proc/self/fd"))))


def _target(descriptor):
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}").partition(":")[0]
    except FileNotFoundError:
        return None


def use(storage_url, saga_class):
    """Make an application, use it in every way, and drop it."""
    app = Flask("dropped")
    app.config["SAGAZ_POLL_SECONDS"] = 0.05
    sagaz = SagazExtension(app, storage_url=storage_url, sagas=[saga_class], worker=True)

    @app.post("/")
    def order():
        run = sagaz.run_sync(sagaz.create_saga(saga_class), {"order_id": 1})
        sagaz.run_background(sagaz.create_saga(saga_class), {"order_id": 2})
        sagaz.start(saga_class, {"order_id": 3})
        return {"saga_id": run.saga_id}

    assert app.test_client().post("/").status_code == 200
    return weakref.ref(app)


@pytest.mark.timeout(110)
def test_fifty_dropped_applications_leave_no_threads_sockets_or_files(storage_url, OrderSaga, calls, until):
    def settled():
        calls.clear()
        gc.collect()
        # Those of an earlier test may end meanwhile.
        return set(threading.enumerate()) <= threads

    threads = set(threading.enumerate())
    use(storage_url, OrderSaga)
    until(settled, "the threads of the first application have ended", 40)
    before = open_files()
    dropped = [use(storage_url, OrderSaga) for _ in range(50)]
    until(settled, "the threads of all applications have ended", 60)
    assert [app() for app in dropped if app() is not None] == []
    assert open_files() == before


def test_an_application_is_not_dropped_while_a_run_needs_it(make_app, tmp_path, until):
    from flask_sagaz import Saga, action, current_step

    class Long(Saga):
        saga_name = "long"

        @action("first", on_success=lambda ctx, step, result: kept.append(is_kept()))
        def first(self, ctx):
            begun.set()
            assert gate.wait(20)

        @action("second", depends_on=["first"])
        async def second(self, ctx):
            names.append(current_step().app.name)

    def is_kept():
        gc.collect()
        return gone() is not None

    begun, gate, names, kept = threading.Event(), threading.Event(), [], []
    app = Flask("needed")
    sagaz = SagazExtension(app, storage_url=f"sqlite:///{tmp_path / 'sagaz.db'}")
    with app.app_context():
        sagaz.run_background(sagaz.create_saga(Long), {})
    gone = weakref.ref(app)
    del app
    assert begun.wait(20)
    assert is_kept()
    gate.set()
    until(lambda: not is_kept(), "the application is dropped after its run")
    # Between two steps none of their contexts has it.
    assert (names, kept) == (["needed"], [True])
