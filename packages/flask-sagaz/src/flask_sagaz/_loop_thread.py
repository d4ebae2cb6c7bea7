"""An event loop in a thread of its own, which carries one runtime from its opening to its end."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import Future
from contextlib import suppress

from flask_sagaz import _process_exit as _exits
from sagaz_durable.concurrency.process_id import current_pid
from sagaz_durable.operations.health import ProbeResult, liveness
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.runtime.start_warnings import warn_at_start

__all__ = ["RuntimeThread"]

logger = logging.getLogger(__name__)

_MARGIN = 5.0
"""Seconds that closing the store may take after everything has been drained."""


class RuntimeThread:
    """Opens a runtime, lets it work, and closes it when told to; all in the thread that it starts.

    Attributes:
        failed: Whether it could not open the runtime, or has ended without having been told to.
        started_at: When it was made, by the monotonic clock.
    """

    def __init__(self, runtime: SagazRuntime) -> None:
        self.failed = False
        self.started_at = time.monotonic()
        self._runtime = runtime
        self._pid = current_pid()
        self._opened: Future[None] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        # A plain flag: a garbage collection that stops this may interrupt a thread that holds an Event's lock.
        self._told = False
        self._stopping = asyncio.Event()
        # A thread begins with an empty context, so that nothing in the loop refers to a request or an application.
        self._thread = threading.Thread(target=self._run, name="sagaz-loop", daemon=True)

    def start(self) -> None:
        """Start the thread; `runtime` waits until the runtime is open."""
        _exits.add(self)
        self._thread.start()

    def runtime(self) -> SagazRuntime:
        """Return the open runtime.

        Raises:
            SagazError: It could not be opened.
        """
        self._opened.result()
        return self._runtime

    def liveness(self) -> ProbeResult:
        """Tell whether the runtime does its work."""
        opened = self._opened.done() and self._opened.exception() is None
        return liveness(self._runtime) if opened else ProbeResult(True)

    def wait(self) -> None:
        """Wait until the runtime is open, or cannot be."""
        if not self._opened.done():
            self._opened.exception()

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # SystemExit, too: a step may raise it.
            self.failed = True
            self._report(error)
        finally:
            _exits.discard(self)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            await self._runtime.open(patient=True)
            warn_at_start(self._runtime)
            await self._runtime.begin()
            self._opened.set_result(None)
            if not self._told:
                await self._stopping.wait()
        finally:
            await self._runtime.close()

    def _report(self, error: BaseException) -> None:
        if self._opened.done():
            logger.error("The event loop of sagaz has ended unexpectedly; its next use starts another.", exc_info=error)
        else:
            logger.warning("The sagaz runtime cannot be opened: %s", error)
            self._opened.set_exception(error)

    def stop(self) -> None:
        """Have the runtime drained and the thread ended soon; callable from anywhere, also by a garbage collection."""
        self._told = True
        if self._pid == current_pid() and self._loop is not None:
            with suppress(RuntimeError):  # The loop is closed already.
                self._loop.call_soon_threadsafe(self._stopping.set)

    def join(self) -> None:
        """Wait until the thread has ended; not longer than draining may take, for a store may hang."""
        if self._pid == current_pid() and threading.current_thread() is not self._thread:
            self._thread.join(self._runtime.settings.drain_seconds + _MARGIN)
