"""The threads on which plain steps, and the ORM calls of asynchronous ones, run side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import connections

from django_sagaz._stores.connections import distrust, healthy
from django_sagaz._stores.session_state import watch_this_thread
from sagaz_durable.concurrency import thread_pool

__all__ = ["SensitiveThread", "StepThreads"]

T = TypeVar("T")
P = ParamSpec("P")

_IDLE_SECONDS = 1.0
"""After so long without a statement, a connection is asked whether it still works: a round trip."""


class StepThreads(thread_pool.StepThreads):
    """Threads that keep their database connections from one step to the next, as long as these are healthy."""

    def __init__(self, limit: int, setting: str) -> None:
        super().__init__(limit, at_end=connections.close_all, setting=setting)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Make a call on one of the threads."""

        def work() -> T:
            watch_this_thread()
            distrust(_IDLE_SECONDS)
            try:
                return fn(*args, **kwargs)
            finally:
                healthy()

        return super().submit(work)


class SensitiveThread(Executor):
    """The thread that Django reserves for this context, as an executor for plain steps."""

    def __init__(self) -> None:
        self._calls: set[asyncio.Task[None]] = set()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Make a call there; called on the event loop."""
        future: Future[T] = Future()

        def work() -> None:
            # Once it has begun, nobody can cancel it.
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        task = asyncio.get_running_loop().create_task(sync_to_async(work, thread_sensitive=True)())
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return future
