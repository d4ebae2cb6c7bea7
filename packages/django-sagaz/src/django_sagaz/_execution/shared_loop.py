"""An event loop in a thread of its own, for the work of async views, and for stores outside of Django."""

from __future__ import annotations

import asyncio
import logging
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
from sagaz_durable.operations.health import ProbeResult, liveness, readiness_sync
from sagaz_durable.runtime.loop_thread import RuntimeThread
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.settings.settings import Settings

__all__ = ["Host", "threaded_runtime"]

logger = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[SagazRuntime], Coroutine[Any, Any, T]]


class Host:
    """Opens one runtime when it is first needed, and keeps it until the process ends."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._lock = threading.Lock()
        self._thread: RuntimeThread | None = None

    def call(self, work: Work[T], *, interruptible: bool = False) -> T:
        """Do asynchronous work, and wait for it on this thread; see `SagazRuntime.call`."""
        runtime = self.runtime()
        return runtime.call(lambda: work(runtime), interruptible=interruptible)

    def runtime(self) -> SagazRuntime:
        """Return the runtime, opened."""
        return self._start().result()

    async def reach(self, work: Work[T]) -> T:
        """Do asynchronous work for a coroutine on another loop; it goes on when that is cancelled."""
        runtime = await asyncio.wrap_future(self._start())
        return await asyncio.shield(runtime.reach(lambda: work(runtime)))

    def liveness(self) -> ProbeResult:
        """Tell whether the runtime does its work; one that nobody has needed yet does."""
        thread = self._thread
        return ProbeResult(True) if thread is None else liveness(thread.runtime)

    def readiness(self) -> ProbeResult:
        """Tell whether the runtime, which is opened for that if need be, can start runs."""
        return readiness_sync(self.runtime())

    def unfit(self) -> list[str]:
        """Return what keeps the runtime from executing runs; one that nobody has needed yet is kept by nothing."""
        thread = self._thread
        return [] if thread is None or not thread.runtime.is_open else thread.runtime.runs.unfit()

    def close(self) -> None:
        """Let what runs end within the settings' drain, and close."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()
            thread.join()

    def _start(self) -> Future[SagazRuntime]:
        with self._lock:
            if self._thread is None or self._thread.failed:
                self._thread = RuntimeThread(threaded_runtime(self._project))
                self._thread.start()
            return self._thread.opened


def threaded_runtime(project: Project, settings: Settings | None = None, *, listen: bool = False) -> SagazRuntime:
    """Return a runtime with a thread for the store and some for the steps, each with its own database connection."""
    given = settings or project.settings
    steps = StepThreads(_threads(project, given.step_threads), given.wording.setting("sync_threads"))

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
