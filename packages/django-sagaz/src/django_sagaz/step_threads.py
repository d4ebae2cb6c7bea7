"""The threads on which plain steps, and the ORM calls of asynchronous ones, run side by side."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import connections

from django_sagaz.databases import healthy

__all__ = ["SensitiveThread", "StepThreads"]

T = TypeVar("T")
P = ParamSpec("P")

_PATIENCE = 1.0


class StepThreads(Executor):
    """Threads that keep their database connections from one step to the next, as long as these are healthy."""

    def __init__(self, threads: int) -> None:
        self._started = 0
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="sagaz-step", initializer=self._count)

    def _count(self) -> None:
        with self._lock:
            self._started += 1

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Make a call on one of the threads."""

        def work() -> T:
            try:
                return fn(*args, **kwargs)
            finally:
                healthy()

        return self._threads.submit(work)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads, each after it has closed its connections."""
        # One call for each thread, which none can take twice, for it waits for the others.
        everybody = threading.Barrier(max(self._started, 1))
        for _ in range(self._started):
            self._threads.submit(_disconnect, everybody)
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)


def _disconnect(everybody: threading.Barrier) -> None:
    connections.close_all()
    try:
        everybody.wait(_PATIENCE)
    except threading.BrokenBarrierError:
        # A thread is still in a step that overran its time.
        return


class SensitiveThread(Executor):
    """The thread that Django reserves for this context, as an executor for plain steps."""

    def __init__(self) -> None:
        self._calls: set[asyncio.Task[None]] = set()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Make a call there; called on the event loop."""
        future: Future[T] = Future()

        async def call() -> None:
            try:
                result = await sync_to_async(fn, thread_sensitive=True)(*args, **kwargs)
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        task = asyncio.get_running_loop().create_task(call())
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return future
