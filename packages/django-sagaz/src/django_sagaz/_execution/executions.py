"""How this process executes runs: on the caller's thread, on the caller's event loop, or on a loop of its own."""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from django.db import connections

from django_sagaz._execution.asgiref_bridge import has_waiting_parent, thread_sensitive_in
from django_sagaz._execution.caller_loop import CallerLoop
from django_sagaz._execution.shared_loop import Host
from django_sagaz._execution.step_threads import SensitiveThread
from django_sagaz._project.project import Project
from django_sagaz._stores.connections import refuse_transaction
from django_sagaz._stores.runners import ThreadSensitive, immediately
from sagaz_durable.concurrency.greenlets import refuse_greenlets
from sagaz_durable.masked_errors import masked_error
from sagaz_durable.operations.health import ProbeResult
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_integration_core.errors import SagazError

__all__ = ["Executions"]

T = TypeVar("T")

_MARGIN = 2.0
Work = Callable[[SagazRuntime], Coroutine[Any, Any, T]]


class Executions:
    """Gives work a runtime that suits whoever asks for it.

    - A synchronous caller gets a loop on its own thread, which uses the thread's own connection (`CallerLoop`).
    - So does a coroutine for which a synchronous thread waits: an async view under WSGI, an async test.
    - Any other coroutine (an async view under ASGI) hands the work to a loop that all share, with connections of its
      own: a request that ends early then takes nothing away from its saga.
    - With ``STORAGE_URL``, that loop does everything.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._host = Host(project)
        self._lock = threading.Lock()
        self._idle: list[_OnCallersThread] = []
        self._busy: set[_OnCallersThread] = set()
        self._closed = False
        atexit.register(self.drain)
        _alive.add(self)

    def run(self, work: Work[T]) -> T:
        """Do work for a synchronous caller."""
        if self._project.alias is None:
            return self._host.call(work)
        place = self._take()
        try:
            result = place.run(work)
        except Exception:
            self._give_back(place)
            raise
        except BaseException:
            # Its loop was left in the middle of something.
            self._busy.discard(place)
            _kept.append(place)
            place.abandon()
            raise
        self._give_back(place)
        return result

    def run_apart(self, work: Work[T]) -> T:
        """Do work for a thread that is no request's: on the loop that all share, in a ``TestCase`` on its own.

        There a lease is renewed while a plain step runs. What ends the wait, a time limit's exception, cancels the
        work.
        """
        if self._project.is_private:
            return self.run(work)
        return self._host.call(work, interruptible=True)

    def shared_runtime(self) -> SagazRuntime:
        """Return the runtime of the loop that all share, which is opened for that if need be."""
        return self._host.runtime()

    def _take(self) -> _OnCallersThread:
        with self._lock:
            place = self._idle.pop() if self._idle else _OnCallersThread(self._project)
            self._busy.add(place)
            return place

    def _give_back(self, place: _OnCallersThread) -> None:
        with self._lock:
            self._busy.discard(place)
            if not self._closed:
                self._idle.append(place)
                return
        place.close()

    async def arun(self, work: Work[T]) -> T:
        """Do work for a coroutine."""
        if self._project.alias is None or not has_waiting_parent():
            return await self._host.reach(work)
        caller = ThreadSensitive()
        await caller(lambda: refuse_transaction(self._project.alias))
        runtime = self._project.runtime(caller, step_pool=lambda _: SensitiveThread())
        runtime.is_private = await caller(lambda: self._project.is_private)
        await runtime.open()
        try:
            return await work(runtime)
        finally:
            await runtime.close()

    def liveness(self) -> ProbeResult:
        """Tell whether the loop that all share does its work."""
        return self._host.liveness()

    def readiness(self) -> ProbeResult:
        """Tell whether sagas can be started now."""
        if self._project.alias is None:
            return self._host.readiness()
        if problems := self._unfit():
            return ProbeResult(False, "; ".join(problems))
        try:
            immediately(self._project.lacks.ask(self._project.store))
        except SagazError as error:
            return ProbeResult(False, str(error))
        except Exception as error:
            return ProbeResult(False, f"The database cannot be asked: {masked_error(error)}")
        return ProbeResult(True)

    def _unfit(self) -> list[str]:
        with self._lock:
            places = list(self._busy)
        return [*self._host.unfit(), *(problem for place in places for problem in place.unfit())]

    def drain(self) -> None:
        """Let the runs of other threads end within the settings' drain, and give the rest back; the process ends."""
        with self._lock:
            busy = list(self._busy)
        for place in busy:
            place.drain()
        deadline = time.monotonic() + self._project.settings.drain_seconds + _MARGIN
        while self._busy and time.monotonic() < deadline:
            time.sleep(0.01)
        self.close()

    def close(self) -> None:
        """End what is idle, and let the rest end by itself; runs that were interrupted are resumed by workers."""
        atexit.unregister(self.drain)
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for place in idle:
            place.close()
        self._host.close()

    def forget(self) -> None:
        """Leave to the parent, after a fork, what is the parent's: its loops, and the connection of this thread."""
        places = [*self._idle, *self._busy]
        # Another thread of the parent's may have held the lock, and none of them is here.
        self._lock = threading.Lock()
        self._idle, self._busy = [], set()
        self._host = Host(self._project)
        if places and self._project.alias is not None:
            connection = connections[self._project.alias]
            # Closing it would end the parent's session; Django opens another one.
            _kept.extend([*places, connection.connection])
            connection.connection = None


_alive: weakref.WeakSet[Executions] = weakref.WeakSet()

_kept: list[Any] = []
"""What is not used any more and must not be collected: what a fork has got of its parent's would be closed for the
parent too, and what was interrupted would complain that it had not come to its end."""


def _forget_all() -> None:
    for executions in list(_alive):
        executions.forget()


os.register_at_fork(after_in_child=_forget_all)


class _OnCallersThread:
    """A loop and its runtime, used by one caller at a time."""

    def __init__(self, project: Project) -> None:
        refuse_greenlets()
        self._project = project
        self._loop = CallerLoop()
        self._runtime = project.runtime(
            self._loop.thread,
            step_pool=lambda _: self._loop.thread,
            step_scope=lambda: thread_sensitive_in(self._loop.thread),
        )

    def run(self, work: Work[T]) -> T:
        self._runtime.is_private = self._project.is_private
        return self._loop.run(lambda: self._work(work))

    async def _work(self, work: Work[T]) -> T:
        if not self._runtime.is_open:
            await self._runtime.open()
        return await work(self._runtime)

    def unfit(self) -> list[str]:
        return self._runtime.runs.unfit() if self._runtime.is_open else []

    def drain(self) -> None:
        self._loop.soon(self._drain)

    async def _drain(self) -> None:
        if self._runtime.is_open:
            await self._runtime.drain()

    def abandon(self) -> None:
        """Leave what runs to whoever finds its lease ended: Ctrl-C may have ended a call that the process survives."""
        if self._runtime.is_open:
            self._runtime.keeper.abandon(self._runtime.leases)

    def close(self) -> None:
        self._loop.run(self._runtime.close)
        self._loop.close()
