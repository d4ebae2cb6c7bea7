"""An event loop in a thread of its own, for the work of async views, and for stores outside of Django."""

from __future__ import annotations

import asyncio
import atexit

# Imported first, so that its own exit function, after which no executor takes work any more, is called after ours.
import concurrent.futures.thread  # noqa: F401
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from django_sagaz.asgiref_bridge import thread_sensitive_in
from django_sagaz.project import Project
from django_sagaz.runners import DatabaseThread
from django_sagaz.step_threads import StepThreads
from sagaz_integration_core.lifecycle import SagazRuntime
from sagaz_integration_core.settings import Settings

__all__ = ["Host", "threaded_runtime"]

T = TypeVar("T")
Work = Callable[[SagazRuntime], Coroutine[Any, Any, T]]

_MARGIN = 5.0

_running: set[Host] = set()


class Host:
    """Opens one runtime when it is first needed, and keeps it until the process ends."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._opened: Future[SagazRuntime] | None = None

    def call(self, work: Work[T], *, interruptible: bool = False) -> T:
        """Do asynchronous work, and wait for it on this thread; see `SagazRuntime.call`."""
        runtime = self._start().result()
        return runtime.call(lambda: work(runtime), interruptible=interruptible)

    async def reach(self, work: Work[T]) -> T:
        """Do asynchronous work for a coroutine on another loop; it goes on when that is cancelled."""
        runtime = await asyncio.wrap_future(self._start())
        return await asyncio.shield(runtime.reach(lambda: work(runtime)))

    def close(self) -> None:
        """Let what runs end within the settings' drain, and close."""
        with self._lock:
            opened, self._opened = self._opened, None
        _running.discard(self)
        if opened is None or self._thread is None or self._pid != os.getpid():
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(self._project.settings.drain_seconds + _MARGIN)

    def _start(self) -> Future[SagazRuntime]:
        with self._lock:
            opened = self._opened
            if opened is None or (opened.done() and opened.exception() is not None):
                opened = self._opened = Future()
                self._pid = os.getpid()
                self._thread = threading.Thread(
                    target=lambda: asyncio.run(self._main(opened)), name="sagaz-loop", daemon=True
                )
                self._thread.start()
            return opened

    async def _main(self, opened: Future[SagazRuntime]) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        runtime = threaded_runtime(self._project)
        try:
            await runtime.open()
            await runtime.begin()
        except BaseException as error:
            opened.set_exception(error)
            await runtime.close()
            return
        _running.add(self)
        opened.set_result(runtime)
        await self._stopping.wait()
        await runtime.close()


def _close_all() -> None:
    for host in tuple(_running):
        host.close()


# atexit's functions are called after all threads but daemons were joined: too late to drain.
getattr(threading, "_register_atexit", atexit.register)(_close_all)


def threaded_runtime(project: Project, settings: Settings | None = None, *, listen: bool = False) -> SagazRuntime:
    """Return a runtime with a thread for the store and some for the steps, each with its own database connection."""
    steps = StepThreads((settings or project.settings).sync_threads)

    def scope() -> AbstractContextManager[None]:
        return thread_sensitive_in(steps)

    return project.runtime(
        DatabaseThread(), settings=settings, listen=listen, step_pool=lambda _: steps, step_scope=scope
    )
