"""Having work done on the event loop of a runtime, from wherever it is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from sagaz_durable.concurrency.process_id import current_pid
from sagaz_integration_core.errors import RuntimeNotOpen, UsageError

__all__ = ["SLOW_SECONDS", "Reachable"]

_NOT_OPEN = "The sagaz runtime is not open. It opens and closes with its application."

SLOW_SECONDS = 5.0
"""After how long a call that waits is looked into."""

T = TypeVar("T")


class Reachable:
    """What belongs to one event loop of one process, while it is open.

    Attributes:
        loop: The event loop that opened it.
    """

    loop: asyncio.AbstractEventLoop
    _made_by_opening: ClassVar[frozenset[str]] = frozenset({"loop"})
    """The attributes that are not there before."""

    def __init__(self) -> None:
        self._opened_by: int | None = None
        self._draining = False

    if not TYPE_CHECKING:  # For a type checker, every name would be an attribute.

        def __getattr__(self, name: str) -> Any:
            # Python asks here for what it has not found, so that what is there costs nothing.
            if name in self._made_by_opening:
                raise RuntimeNotOpen(f"{_NOT_OPEN} Use `{name}` after its start, or after `await runtime.open()`.")
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

    @property
    def is_open(self) -> bool:
        """Whether it can be used, in this process."""
        return self._opened_by == current_pid()

    def check_open(self) -> None:
        """Refuse new work unless the runtime is open, in this process, and not shutting down.

        Raises:
            RuntimeNotOpen: Saying which of the three it is.
        """
        if self._opened_by is None:
            raise RuntimeNotOpen(_NOT_OPEN)
        if self._opened_by != current_pid():
            raise RuntimeNotOpen(
                f"The sagaz runtime was opened in process {self._opened_by} before a fork, and this is "
                f"{current_pid()}. Open it in each process, after the fork."
            )
        if self._draining:
            raise RuntimeNotOpen("The sagaz runtime is shutting down and takes no new runs; try again elsewhere.")

    def call(
        self,
        work: Callable[[], Coroutine[Any, Any, T]],
        *,
        interruptible: bool = False,
        slow: Callable[[], None] | None = None,
    ) -> T:
        """Do asynchronous work from a synchronous thread and wait for it.

        Args:
            interruptible: What ends the wait (a time limit's exception, KeyboardInterrupt) cancels the work.
            slow: Called once by the waiting thread, when the work has taken `SLOW_SECONDS`.

        Raises:
            UsageError: Called on the event loop's own thread, which would wait for itself.
            RuntimeNotOpen: The event loop stands still.
        """
        self.check_open()
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self.loop:
            raise UsageError(
                "A synchronous call was made on the event loop that has to do its work, and would wait for itself. In "
                "`async def` code await the asynchronous form, whose name has no sync: `await saga.run(…)`, for one."
            )
        self._check_running()
        future = self.submit(work)
        try:
            with self.waiting():
                if slow is not None and not _is_done(future, SLOW_SECONDS):
                    slow()
                _is_done(future, None)
            # Out here: what it raises is its own, and the block may be a generator, which would touch it.
            return future.result()
        finally:
            if interruptible:
                future.cancel()

    def waiting(self) -> AbstractContextManager[None]:
        """Return what is entered around a thread's wait for the event loop."""
        return nullcontext()

    async def reach(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do asynchronous work from a coroutine on any event loop, this runtime's or another one.

        Raises:
            RuntimeNotOpen: This runtime's is another one, and stands still.
        """
        self.check_open()
        if asyncio.get_running_loop() is self.loop:
            return await work()
        self._check_running()
        return await asyncio.wrap_future(self.submit(work))

    def _check_running(self) -> None:
        if not self.loop.is_running():
            raise RuntimeNotOpen(
                "The event loop on which the sagaz runtime was opened is not running, so that this would wait for "
                "ever. Use the runtime on the loop that opened it. In tests, the fixture that enters the lifespan and "
                "the tests need the same loop: with pytest-asyncio @pytest_asyncio.fixture(scope='session', "
                "loop_scope='session') and @pytest.mark.asyncio(loop_scope='session'), or a fixture of scope "
                "'function'."
            )

    def submit(self, work: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """Have the event loop do asynchronous work; callable from any thread."""
        return asyncio.run_coroutine_threadsafe(work(), self.loop)


def _is_done(future: Future[Any], seconds: float | None) -> bool:
    try:
        future.exception(seconds)
    except TimeoutError:
        return False
    except CancelledError:
        pass
    return True
