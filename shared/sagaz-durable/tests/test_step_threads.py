"""The threads of plain steps."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import weakref

import pytest

from sagaz_durable.runtime.assembly import step_threads
from sagaz_durable.settings.settings import Settings


@pytest.fixture
def threads():
    threads = step_threads(Settings(storage_url="memory://", sync_threads=3))
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
        "from sagaz_durable.concurrency.thread_pool import StepThreads\n"
        "begun = threading.Event()\n"
        "StepThreads(1).submit(lambda: (begun.set(), threading.Event().wait()))\n"
        "assert begun.wait(30)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0


def hold(threads, count=1):
    """Have so many calls not return until the gate is open."""
    gate = threading.Event()
    begun = threading.Semaphore(0)

    def wait():
        begun.release()
        return gate.wait(30)

    held = [threads.submit(wait) for _ in range(count)]
    for _ in held:
        assert begun.acquire(timeout=5)
    return gate, held


def test_a_thread_that_outlives_its_steps_limit_is_replaced_and_named_in_the_log(threads, caplog):
    gate, held = hold(threads, 3)
    late = threads.submit(divmod, 7, 2)
    assert not late.running()
    threads.outlived(held[0], "step 'charge' of saga 'order'", 2.5)
    assert late.result(5) == (3, 1)
    assert threads.exhausted is None
    assert "step 'charge' of saga 'order' has outlived its time limit of 2.5 s" in caplog.text
    assert "is replaced (1 of at most 3)" in caplog.text
    gate.set()
    assert all(future.result(5) for future in held)


def test_so_are_as_many_as_there_were_and_with_one_more_the_process_is_exhausted(threads):
    gate, held = hold(threads, 3)
    for future in held:
        threads.outlived(future, "step 'hang'", 1)
    more_gate, more = hold(threads, 3)
    assert threads.exhausted is None
    threads.outlived(more[0], "step 'hang too'", 1)
    assert "4 `def` steps have outlived their time limits" in threads.exhausted
    assert "up to 3 times (SAGAZ_SYNC_THREADS): step 'hang', " in threads.exhausted
    assert threading.active_count() <= 8
    gate.set()
    assert all(future.result(5) for future in held)
    assert threads.exhausted is None, "what has returned is forgiven"
    more_gate.set()
    assert all(future.result(5) for future in more)


def test_what_has_returned_already_has_outlived_nothing(threads, caplog):
    done = threads.submit(int)
    done.result(5)
    threads.outlived(done, "step 'fast'", 1)
    assert not caplog.text


def test_threads_that_replaced_others_end_when_those_come_back(threads):
    gate, held = hold(threads, 3)
    for future in held:
        threads.outlived(future, "step 'hang'", 1)
    other_gate, others = hold(threads, 3)
    for each in (gate, other_gate):
        each.set()
    assert all(future.result(5) for future in [*held, *others])
    deadline = time.monotonic() + 5
    while sum(thread.name.startswith("sagaz-step") for thread in threading.enumerate()) > 3:
        assert time.monotonic() < deadline
        threads.submit(int).result(5)


def test_a_call_that_waits_for_others_leaves_them_its_thread(threads):
    def nested(depth):
        if not depth:
            return 1
        with threads.waiting():
            return 1 + threads.submit(nested, depth - 1).result(20)

    assert threads.submit(nested, 10).result(20) == 11


def test_elsewhere_waiting_changes_nothing(threads):
    gate, held = hold(threads, 3)
    with threads.waiting():
        assert not threads.submit(int).running()
    gate.set()
    assert all(future.result(5) for future in held)
