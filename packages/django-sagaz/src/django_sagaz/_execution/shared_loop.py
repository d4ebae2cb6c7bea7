"""An event loop in a thread of its own, for the work of async views, and for stores outside of Django."""

from __future__ import annotations

import asyncio
import atexit

# Imported first, so that its own exit function, after which no executor takes work any more, is called after ours.
import concurrent.futures.thread  # noqa: F401
import logging
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from django_sagaz._execution.asgiref_bridge import thread_sensitive_in
from django_sagaz._execution.pool_sizes import pool_text, too_small_pools
from django_sagaz._execution.step_threads import StepThreads
from django_sagaz._project.project import Project
from django_sagaz._stores.runners import DatabaseThread
from sagaz_durable.concurrency.greenlets import refuse_greenlets
from sagaz_durable.operations.health import ProbeResult, liveness, readiness_sync
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_integration_core.settings.settings import Settings

__all__ = ["Host", "threaded_runtime"]

logger = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[SagazRuntime], Coroutine[Any, Any, T]]

_MARGIN = 5.0


class Host:
    """Opens one runtime when it is first needed, and keeps it until the process ends."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._lock = threading.Lock()
        self._running: _Running | None = None

    def call(self, work: Work[T], *, interruptible: bool = False) -> T:
        """Do asynchronous work, and wait for it on this thread; see `SagazRuntime.call`."""
        runtime = self._start().result()
        return runtime.call(lambda: work(runtime), interruptible=interruptible)

    async def reach(self, work: Work[T]) -> T:
        """Do asynchronous work for a coroutine on another loop; it goes on when that is cancelled."""
        runtime = await asyncio.wrap_future(self._start())
        return await asyncio.shield(runtime.reach(lambda: work(runtime)))

    def liveness(self) -> ProbeResult:
        """Tell whether the runtime does its work; one that nobody has needed yet does."""
        runtime = self._opened()
        return ProbeResult(True) if runtime is None else liveness(runtime)

    def readiness(self) -> ProbeResult:
        """Tell whether the runtime, which is opened for that if need be, can start runs."""
        return readiness_sync(self._start().result())

    def unfit(self) -> list[str]:
        """Return what keeps the runtime from executing runs; one that nobody has needed yet is kept by nothing."""
        runtime = self._opened()
        return [] if runtime is None else runtime.runs.unfit()

    def _opened(self) -> SagazRuntime | None:
        opened = None if self._running is None else self._running.opened
        if opened is None or not opened.done() or opened.exception() is not None:
            return None
        return opened.result()

    def close(self) -> None:
        """Let what runs end within the settings' drain, and close."""
        with self._lock:
            running, self._running = self._running, None
        _hosts.discard(self)
        if running is not None and running.pid == os.getpid():
            running.stopping.set_result(None)
            running.thread.join(self._project.settings.drain_seconds + _MARGIN)

    def _start(self) -> Future[SagazRuntime]:
        with self._lock:
            if self._running is None or self._running.has_failed:
                self._running = _Running(self._project)
                _hosts.add(self)
            return self._running.opened


class _Running:
    """The thread, from its start on.

    Attributes:
        opened: Has the runtime when it is open.
        stopping: Set from any thread, and at any time, also while the runtime is still being opened.
    """

    def __init__(self, project: Project) -> None:
        refuse_greenlets()
        self._project = project
        self.pid = os.getpid()
        self.opened: Future[SagazRuntime] = Future()
        self.stopping: Future[None] = Future()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="sagaz-loop", daemon=True)
        self.thread.start()

    @property
    def has_failed(self) -> bool:
        return self.opened.done() and self.opened.exception() is not None

    async def _main(self) -> None:
        runtime = threaded_runtime(self._project)
        try:
            await runtime.open(patient=True)
            await runtime.begin()
        except BaseException as error:
            self.opened.set_exception(error)
            await runtime.close()
            return
        self.opened.set_result(runtime)
        await asyncio.wrap_future(self.stopping)
        await runtime.close()


_hosts: set[Host] = set()


def _close_all() -> None:
    for host in tuple(_hosts):
        host.close()


# atexit's functions are called after all threads but daemons were joined: too late to drain.
getattr(threading, "_register_atexit", atexit.register)(_close_all)


def threaded_runtime(project: Project, settings: Settings | None = None, *, listen: bool = False) -> SagazRuntime:
    """Return a runtime with a thread for the store and some for the steps, each with its own database connection."""
    steps = StepThreads(_threads(project, (settings or project.settings).step_threads))

    def scope() -> AbstractContextManager[None]:
        return thread_sensitive_in(steps)

    return project.runtime(
        DatabaseThread(), settings=settings, listen=listen, step_pool=lambda _: steps, step_scope=scope
    )


def _threads(project: Project, wanted: int) -> int:
    """Return how many threads of steps the pools have connections for."""
    found = too_small_pools(wanted, project.alias)
    if not found:
        return wanted
    fits = max(1, min(wanted - (needed - size) for size, needed in found.values()))
    logger.warning("%s Steps are called in %d threads instead of %d.", pool_text(found), fits, wanted)
    return fits
