"""The in-process wake-up: tells whoever waits on the event loop, from any thread, that runs may be due."""

from __future__ import annotations

import asyncio

__all__ = ["WakeUp"]


class WakeUp:
    """A flag that ends everybody's wait; raised while nobody waits, it ends the next one."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def bind(self) -> None:
        """Belong to the running event loop from now on; whoever waits on it already goes on doing so."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._event = asyncio.Event()
            self._loop = loop

    async def wait(self, seconds: float) -> None:
        """Return when woken, at the latest after ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return
        # Cleared before the caller looks for work: a wake-up that comes while it looks ends its next wait.
        self._event.clear()

    def wake(self) -> None:
        """Raise the flag; harmless before `bind` and after the loop has ended."""
        loop = self._loop
        if loop is None or self._event.is_set():
            return
        if _running_loop() is loop:
            self._event.set()
            return
        try:
            loop.call_soon_threadsafe(self._event.set)
        except RuntimeError:
            # The loop is closed, so nobody waits.
            self._loop = None


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
