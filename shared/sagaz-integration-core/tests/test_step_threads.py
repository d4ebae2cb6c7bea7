"""The threads of plain steps."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref

import pytest

from sagaz_integration_core.step_threads import StepThreads


@pytest.fixture
def threads():
    threads = StepThreads(3)
    yield threads
    threads.shutdown()


def test_results_and_exceptions_reach_the_caller(threads):
    assert threads.submit(divmod, 7, 2).result(5) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        threads.submit(divmod, 7, 0).result(5)


def test_no_more_threads_are_started_than_are_needed_or_allowed(threads):
    gate = threading.Event()
    before = threading.active_count() - 1
    for _ in range(5):
        threads.submit(int).result(5)
    assert threading.active_count() <= before + 2
    waiting = [threads.submit(gate.wait, 30) for _ in range(10)]
    assert threading.active_count() == before + 3
    gate.set()
    assert all(future.result(5) for future in waiting)


def test_what_was_submitted_before_the_shutdown_is_done_and_nothing_after_it(threads):
    gate = threading.Event()
    done = [threads.submit(gate.wait, 30) for _ in range(9)]
    threads.shutdown(wait=False)
    with pytest.raises(RuntimeError, match="told to end"):
        threads.submit(int)
    gate.set()
    threads.shutdown()
    assert all(future.result(0) for future in done)
    assert not any(thread.name.startswith("sagaz-step") for thread in threading.enumerate())


def test_a_cancelled_call_is_not_made(threads):
    gate, calls = threading.Event(), []
    held = [threads.submit(gate.wait, 30) for _ in range(3)]
    late = threads.submit(calls.append, 1)
    assert late.cancel()
    gate.set()
    assert all(future.result(5) for future in held)
    threads.submit(int).result(5)
    assert calls == []


def test_an_idle_thread_keeps_nothing_of_its_last_call_alive(threads):
    class Argument:
        pass

    argument = Argument()
    gone = weakref.ref(argument)
    threads.submit(lambda given: None, argument).result(5)
    del argument
    threads.submit(int).result(5)
    gc.collect()
    assert gone() is None


def refuse_threads(monkeypatch):
    def start(self):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", start)


def test_when_python_starts_no_more_threads_those_that_there_are_do_it(threads, monkeypatch):
    gate = threading.Event()
    held = threads.submit(gate.wait, 30)
    with monkeypatch.context() as patch:
        refuse_threads(patch)
        late = threads.submit(divmod, 7, 2)
        gate.set()
        assert (held.result(5), late.result(5)) == (True, (3, 1))


def test_a_process_ends_although_a_call_has_not():
    program = (
        "import threading\n"
        "from sagaz_integration_core.step_threads import StepThreads\n"
        "begun = threading.Event()\n"
        "StepThreads(1).submit(lambda: (begun.set(), threading.Event().wait()))\n"
        "assert begun.wait(30)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0
