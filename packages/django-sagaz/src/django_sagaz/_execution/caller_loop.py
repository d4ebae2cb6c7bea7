"""An event loop on the caller's own thread, which stops for everything that is synchronous.

Django's connections belong to threads, and refuse to be used while an event loop runs on theirs. Handing each call to
another thread and back costs about as much as the call; here the loop is left, the call is made, and the loop goes on.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from contextvars import Context
from typing import Any, ParamSpec, TypeVar, TypeVarTuple

from django_sagaz._execution.asgiref_bridge import own_loop
from sagaz_integration_core.context.current_step import current

__all__ = ["CallerLoop", "CallerThread"]

T = TypeVar("T")
P = ParamSpec("P")
Ts = TypeVarTuple("Ts")

_NO_STEP = ("", "")
"""What a loop stands still for that is no step: a database call."""


class _Loop(asyncio.SelectorEventLoop):
    """Refuses what would wait for it in a call for which it stands still.

    asgiref remembers which loop has a thread make a call; ``async_to_sync`` inside of that call gives its work to that
    loop, unless it is refused, and then to a new one.
    """

    calling: int | None = None
    """The thread that makes a call now."""

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        if self.calling == threading.get_ident():
            raise RuntimeError("This event loop stands still during the call.")
        return super().call_soon_threadsafe(callback, *args, context=context)


class CallerThread(Executor):
    """Makes calls on the thread that drives a `CallerLoop`; also a `Runner` for its store."""

    def __init__(self, loop: _Loop) -> None:
        self._loop = loop
        self._standing: tuple[str, str] | None = None
        self._calls: deque[Callable[[], None]] = deque()

    async def __call__(self, work: Callable[[], T]) -> T:
        """Make a database call."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._defer(future, work, _NO_STEP)
        return await future

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Make a call, of a step for example; called on the loop."""
        future: Future[T] = Future()

        step = current.get(None)
        what = _NO_STEP
        if step is not None:
            what = (step.saga_id, step.step if step.phase == "do" else f"{step.step}:{step.phase}")
        self._defer(future, lambda: fn(*args, **kwargs), what)
        return future

    def standing(self) -> tuple[str, str] | None:
        """Return the run and the step that the loop stands still for now, for `LoopWatch`; callable from any thread."""
        return self._standing

    async def close(self) -> None:
        """Nothing was opened: the connection is the caller's."""

    def make_calls(self) -> None:
        """Make the calls that the loop stopped for."""
        while self._calls:
            self._calls.popleft()()

    def _defer(self, future: Any, work: Callable[[], T], what: tuple[str, str]) -> None:
        def call() -> None:
            if future.cancelled():
                return
            try:
                result = self._standing_still(work, what)
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        self._calls.append(call)
        self._loop.stop()

    def _standing_still(self, work: Callable[[], T], what: tuple[str, str]) -> T:
        self._loop.calling, self._standing = threading.get_ident(), what
        try:
            return work()
        finally:
            self._loop.calling = self._standing = None


class CallerLoop:
    """The loop itself; idle between runs, and driven by whichever thread has work for it."""

    def __init__(self) -> None:
        self._loop = _Loop()
        self.thread = CallerThread(self._loop)

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do asynchronous work on this thread, to its end.

        What a call raises that is no `Exception`, as KeyboardInterrupt, ends it at once; the loop is then useless.
        """
        task = self._loop.create_task(work())
        task.add_done_callback(lambda _: self._loop.stop())
        with own_loop():
            while not task.done():
                self._loop.run_forever()
                self.thread.make_calls()
        return task.result()

    def soon(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have the thread that drives it do something besides; callable from any other one."""
        asyncio.run_coroutine_threadsafe(work(), self._loop)

    def close(self) -> None:
        """Give back what the loop holds, tasks that nobody waits for included."""
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()
