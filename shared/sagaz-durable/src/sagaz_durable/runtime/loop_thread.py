"""An event loop in a thread of its own, which carries one runtime from its opening to the end of the process."""

from __future__ import annotations

import asyncio
import atexit

# Imported first, so that its own exit function, after which no executor takes work any more, is called after ours.
import concurrent.futures.thread  # noqa: F401
import logging
import threading
import time
from concurrent.futures import Future
from contextlib import suppress

from sagaz_durable.calls.interpreter_exit import caused_by_exit
from sagaz_durable.concurrency.greenlets import refuse_greenlets
from sagaz_durable.concurrency.process_id import current_pid
from sagaz_durable.runtime.runtime import SagazRuntime

__all__ = ["RuntimeThread"]

logger = logging.getLogger(__name__)

_MARGIN = 5.0
"""Seconds that closing the store may take after everything has been drained."""

_running: set[RuntimeThread] = set()
"""The threads that exit is to end. What a fork has inherited stays here too: collecting a copied event loop would
disturb the one of the parent."""


class RuntimeThread:
    """Opens a runtime, lets it work, and closes it when told to or at exit; all in the thread that it starts.

    Args:
        runtime: Not opened yet.

    Attributes:
        opened: Has the runtime when it is open, or why it could not be opened.
        failed: Whether it could not be opened, or has ended without having been told to: another one is needed.
        started_at: When it was made, by the monotonic clock.

    Raises:
        SettingsError: Threads are greenlets here, by monkey-patching.
    """

    def __init__(self, runtime: SagazRuntime) -> None:
        refuse_greenlets()
        self.runtime = runtime
        self.opened: Future[SagazRuntime] = Future()
        # It waits for nobody: a coroutine that is cancelled while it waits would cancel it for all others.
        self.opened.set_running_or_notify_cancel()
        self.failed = False
        self.started_at = time.monotonic()
        self._pid = current_pid()
        self._loop: asyncio.AbstractEventLoop | None = None
        # A plain flag: a garbage collection that stops this may interrupt a thread that holds an Event's lock.
        self._told = False
        self._stopping = asyncio.Event()
        # A thread begins with an empty context, so that nothing in the loop refers to a request or an application.
        self._thread = threading.Thread(target=self._run, name="sagaz-loop", daemon=True)

    def start(self) -> None:
        """Start the thread, without waiting until the runtime is open."""
        _running.add(self)
        self._thread.start()

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # SystemExit, too: a step may raise it.
            self.failed = True
            self._report(error)
        finally:
            _running.discard(self)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            await self.runtime.open(patient=True)
            await self.runtime.begin()
            self.opened.set_result(self.runtime)
            if not self._told:
                await self._stopping.wait()
        finally:
            await self.runtime.close()

    def _report(self, error: BaseException) -> None:
        if self.opened.done() and caused_by_exit(error):
            logger.debug("Python 3.12 gives asyncio no thread at exit to end its own ones with.", exc_info=error)
        elif self.opened.done():
            logger.error("The event loop of sagaz has ended unexpectedly; its next use starts another.", exc_info=error)
        else:
            logger.warning("The sagaz runtime cannot be opened: %s", error)
            self.opened.set_exception(error)

    def stop(self) -> None:
        """Have the runtime drained and the thread ended soon; callable from anywhere, also by a garbage collection."""
        self._told = True
        if self._pid == current_pid() and self._loop is not None:
            with suppress(RuntimeError):  # The loop is closed already.
                self._loop.call_soon_threadsafe(self._stopping.set)

    def join(self) -> None:
        """Wait until the thread has ended; not longer than draining may take, for a store may hang."""
        if self._pid == current_pid() and threading.current_thread() is not self._thread:
            self._thread.join(self.runtime.settings.drain_seconds + _MARGIN)


def _end_all() -> None:
    threads = tuple(_running)
    for thread in threads:
        thread.stop()
    for thread in threads:
        thread.join()


# atexit's functions are called after all threads but daemons were joined: too late to drain.
getattr(threading, "_register_atexit", atexit.register)(_end_all)
