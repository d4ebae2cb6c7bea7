"""Writes that wait a moment for others with which to share a commit, under one timer for all runs of an event loop."""

from __future__ import annotations

import asyncio
from typing import Protocol

__all__ = ["HeldWrites"]

_SECONDS = 0.005
"""How long the end of a step may wait for the beginning of the next one; at most twice as long."""


class Holder(Protocol):
    """Something that holds writes back."""

    def flush(self) -> None:
        """Begin to write them now."""
        ...


class HeldWrites:
    """Flushes what was not released in time.

    Almost everything is: a timer for each would be set, sorted and taken back three times in a run of three steps.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._fresh: dict[Holder, None] = {}
        self._old: dict[Holder, None] = {}
        self._ticking = False

    def hold(self, holder: Holder) -> None:
        """Have this one flushed soon, unless it is released before."""
        self._fresh[holder] = None
        if not self._ticking:
            self._tick_soon()

    def release(self, holder: Holder) -> None:
        """Forget it; harmless when it is not held."""
        self._fresh.pop(holder, None)
        self._old.pop(holder, None)

    def _tick_soon(self) -> None:
        self._ticking = True
        self._loop.call_later(_SECONDS, self._tick)

    def _tick(self) -> None:
        self._ticking = False
        due, self._old, self._fresh = self._old, self._fresh, {}
        if self._old:
            self._tick_soon()
        for holder in due:
            holder.flush()
