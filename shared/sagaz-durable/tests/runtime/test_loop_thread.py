"""A runtime on a thread of its own, for servers that have no event loop or end a request's work with the request."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
from sagaz import Saga, action

from sagaz_durable.runtime.bound_saga import bind
from sagaz_durable.runtime.loop_thread import RuntimeThread
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.settings.settings import Settings
from sagaz_integration_core.errors import RuntimeNotOpen, SettingsError, StoreUnavailable


class Order(Saga):
    saga_name = "order"

    @action("charge")
    async def charge(self, ctx):
        return {"charged": ctx["n"]}


class GatedRuntime(SagazRuntime):
    """Opens when it is let."""

    def __init__(self, settings):
        super().__init__(settings)
        self.gate = threading.Event()

    async def open(self, *, patient=False):
        await asyncio.to_thread(self.gate.wait, 20)
        await super().open(patient=patient)


@pytest.fixture
def quick():
    return Settings.from_mapping({"STORAGE_URL": "memory://", "DRAIN_SECONDS": 5})


@pytest.fixture
def started():
    """Starts a thread, and ends it after the test."""
    threads = []

    def start(runtime):
        thread = RuntimeThread(runtime)
        threads.append(thread)
        thread.start()
        return thread

    yield start
    for thread in threads:
        thread.stop()
        thread.join()
    assert not is_there()


def is_there():
    return [thread for thread in threading.enumerate() if thread.name == "sagaz-loop"]


def test_threads_and_loops_use_the_runtime_until_it_is_told_to_stop(quick, started):
    thread = started(SagazRuntime(quick))
    runtime = thread.opened.result(20)

    async def order():
        run = await bind(runtime, Order).run({"n": 1})
        return run["charged"]

    assert runtime.call(order) == 1
    assert asyncio.run(runtime.reach(order)) == 1
    thread.stop()
    thread.join()
    assert (thread.failed, runtime.is_open, is_there()) == (False, False, [])
    with pytest.raises(RuntimeNotOpen):
        runtime.call(order)


def test_it_can_be_told_to_stop_while_it_opens(quick, started):
    thread = started(GatedRuntime(quick))
    thread.stop()
    thread.runtime.gate.set()
    thread.join()
    assert not thread.opened.result(0).is_open


def test_what_cannot_be_opened_is_told_to_whoever_waits_and_to_the_log(tmp_path, started, caplog):
    thread = started(SagazRuntime(Settings(storage_url=f"sqlite:///{tmp_path / 'no-folder' / 'sagaz.db'}")))
    with pytest.raises(StoreUnavailable):
        thread.opened.result(20)
    thread.join()
    assert thread.failed
    assert "The sagaz runtime cannot be opened: " in caplog.text


def test_a_request_that_is_cancelled_while_it_opens_takes_it_from_nobody(quick, started):
    thread = started(GatedRuntime(quick))

    async def request():
        waiting = asyncio.wrap_future(thread.opened)
        waiting.cancel()
        await asyncio.wait([waiting])

    asyncio.run(request())
    thread.runtime.gate.set()
    assert thread.opened.result(20).is_open


def test_a_loop_that_has_ended_by_itself_is_failed_logged_and_closed(quick, started, caplog):
    thread = started(SagazRuntime(quick))
    runtime = thread.opened.result(20)
    runtime.loop.call_soon_threadsafe(runtime.loop.stop)
    thread.join()
    assert (thread.failed, runtime.is_open) == (True, False)
    assert "has ended unexpectedly; its next use starts another" in caplog.text


def test_threads_that_are_greenlets_are_refused(quick, monkeypatch):
    patched = SimpleNamespace(is_module_patched=lambda name: name == "threading")
    monkeypatch.setitem(sys.modules, "gevent.monkey", patched)
    with pytest.raises(SettingsError, match="gevent has replaced threads by greenlets"):
        RuntimeThread(SagazRuntime(quick))


EXITING = r"""
import asyncio, atexit, os, sys, threading
from functools import partial
from sagaz_durable.runtime.loop_thread import RuntimeThread  # Before whatever else has an exit function.
from sagaz_durable.runtime.bound_saga import bind
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.settings.settings import Settings
from sagaz import Saga, action

def say(text):
    os.write(1, f"{text}\n".encode())

class Slow(Saga):
    saga_name = "slow"

    @action("wait")
    async def wait(self, ctx):
        if sys.version_info[:2] == (3, 12):  # It starts no thread at exit: asyncio's own is to be there before.
            await asyncio.to_thread(begun.release)
        else:
            begun.release()
        await asyncio.sleep(0.2)
        await asyncio.to_thread(say, "drained")

    @action("call", depends_on=["wait"])
    def call(self, ctx):
        say("done")

async def run(runtime):
    await bind(runtime, Slow).run({})

def loops():
    say(f"{len([thread for thread in threading.enumerate() if thread.name == 'sagaz-loop'])} loops")

begun = threading.Semaphore(0)
for _ in range(2):
    thread = RuntimeThread(SagazRuntime(Settings(storage_url="memory://")))
    thread.start()
    runtime = thread.opened.result()
    runtime.submit(partial(run, runtime))
    assert begun.acquire(timeout=20)
loops()
atexit.register(loops)
"""


def test_a_process_that_exits_lets_the_runs_of_all_threads_end_before_atexit():
    command = [sys.executable, "-c", EXITING]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    first, *ended, last = done.stdout.splitlines()
    assert (first, sorted(ended), last) == ("2 loops", ["done", "done", "drained", "drained"], "0 loops")
