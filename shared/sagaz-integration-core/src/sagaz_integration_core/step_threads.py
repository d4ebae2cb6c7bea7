"""The threads in which plain steps are called; they do not keep a process from ending."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import ParamSpec, TypeVar

__all__ = ["StepThreads"]

P = ParamSpec("P")
T = TypeVar("T")


class StepThreads(Executor):
    """Calls functions in at most ``limit`` daemon threads.

    The interpreter waits at its end for the threads of a ``ThreadPoolExecutor``, however long. A step that is still
    in its thread then has had its grace period; it is in doubt, and is called again elsewhere.

    Args:
        at_end: Called by each thread before it ends.
    """

    def __init__(self, limit: int, at_end: Callable[[], None] = lambda: None) -> None:
        self._limit = limit
        self._at_end = at_end
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._closed = False
        # Python 3.12 starts no thread any more while it exits, and runs that are drained then may need one.
        self._add_thread()
        self._idle.release()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call a function as soon as a thread is free."""
        future: Future[T] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._lock:
            if self._closed:
                raise RuntimeError("These threads were told to end; nothing more can be called in them.")
            self._calls.put(call)
            if not self._idle.acquire(blocking=False) and len(self._threads) < self._limit:
                self._add_thread()
        return future

    def _add_thread(self) -> None:
        name = f"sagaz-step_{len(self._threads)}"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # The process exits, or has too many; those that there are will do it.
            if not self._threads:
                raise
        else:
            self._threads.append(thread)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            # What a call refers to is not kept while the thread waits for the next one.
            del call
            self._idle.release()
        self._at_end()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Have the threads end after what was submitted; ``cancel_futures`` has no effect."""
        with self._lock:
            if not self._closed:
                self._closed = True
                for _ in self._threads:
                    self._calls.put(None)
        if wait:
            for thread in self._threads:
                thread.join()
