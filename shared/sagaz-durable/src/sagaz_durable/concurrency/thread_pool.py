"""The threads in which plain steps are called; they do not keep a process from ending."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

__all__ = ["StepThreads"]

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


class StepThreads(Executor):
    """Calls functions in ``limit`` daemon threads, which are started when they are needed.

    The interpreter waits at its end for the threads of a ``ThreadPoolExecutor``, however long. A step that is still
    in its thread then has had its grace period; it is in doubt, and is called again elsewhere.

    Two kinds of calls do not take a thread away from the others, which get one more as long as they last: those that
    have outlived their step's limit (see `outlived`), and those that wait for another run (see `waiting`).

    Args:
        at_end: Called by each thread before it ends.
        setting: How the framework's users spell the setting of the limit, for messages.
    """

    def __init__(self, limit: int, at_end: Callable[[], None] = lambda: None, *, setting: str = "SYNC_THREADS") -> None:
        self._limit = limit
        self._setting = setting
        self._at_end = at_end
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._here = threading.local()
        self._started = 0
        self._unfinished = 0
        self._lost: dict[Future[Any], str] = {}
        self._waiting = 0
        self._closed = False
        # Python 3.12 starts no thread any more while it exits, and runs that are drained then may need one.
        self._add_thread()

    @property
    def exhausted(self) -> str | None:
        """Why no more steps are to be called here; None while they can be.

        As many threads as there are at first may be lost to calls that do not return, and are replaced; not more.
        """
        with self._lock:
            lost = tuple(self._lost.values())
        if len(lost) <= self._limit:
            return None
        return (
            f"{len(lost)} `def` steps have outlived their time limits and still hold their threads, which are replaced "
            f"up to {self._limit} times ({self._setting}): {', '.join(lost[:3])}"
        )

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
            self._unfinished += 1
            self._calls.put(call)
            self._add_threads()
        return future

    def outlived(self, future: Future[Any], what: str, seconds: float) -> None:
        """Give the others one more thread, because this call has outlived its limit and may never return.

        Args:
            what: The step, for the log.
            seconds: Its limit.
        """
        with self._lock:
            if not future.running() or future in self._lost:
                return
            self._lost[future] = what
            count = len(self._lost)
            self._add_threads()
        future.add_done_callback(self._returned)
        replaced = (
            f"is replaced ({count} of at most {self._limit})" if count <= self._limit else "is not replaced any more"
        )
        logger.error(
            "%s has outlived its time limit of %g s. Its thread goes on, because a thread cannot be stopped, and %s. "
            "Give whatever the step calls a time limit of its own, shorter than the step's.", what, seconds, replaced
        )  # fmt: skip

    def _returned(self, future: Future[Any]) -> None:
        with self._lock:
            what = self._lost.pop(future)
        logger.warning("%s has returned at last, and its thread is free again.", what)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Give the others one more thread within the block, if this is one of the threads: its call waits for them."""
        if not getattr(self._here, "is_one_of_them", False):
            yield
            return
        with self._lock:
            self._waiting += 1
            self._add_threads()
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1

    @property
    def _capacity(self) -> int:
        return self._limit + min(len(self._lost), self._limit) + self._waiting

    def _add_threads(self) -> None:
        while not self._closed and len(self._threads) < min(self._unfinished, self._capacity):
            if not self._add_thread():
                return

    def _add_thread(self) -> bool:
        thread = threading.Thread(target=self._work, name=f"sagaz-step_{self._started}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # The process exits, or has too many; those that there are will do it.
            if not self._threads:
                raise
            return False
        self._started += 1
        self._threads.add(thread)
        return True

    def _work(self) -> None:
        self._here.is_one_of_them = True
        while (call := self._calls.get()) is not None:
            call()
            # What a call refers to is not kept while the thread waits for the next one.
            del call
            if not self._goes_on():
                break
        self._at_end()

    def _goes_on(self) -> bool:
        """Note that a call has ended; False when there are more threads than are wanted, and this one is to end."""
        with self._lock:
            self._unfinished -= 1
            if len(self._threads) <= self._capacity or self._closed:
                return True
            self._threads.discard(threading.current_thread())
            return False

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Have the threads end after what was submitted; ``cancel_futures`` has no effect."""
        with self._lock:
            threads = tuple(self._threads)
            if not self._closed:
                self._closed = True
                for _ in threads:
                    self._calls.put(None)
        if wait:
            for thread in threads:
                thread.join()
