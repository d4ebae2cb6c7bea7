"""Whether an event loop still turns."""

from __future__ import annotations

import asyncio
import time

__all__ = ["BEAT_SECONDS", "Pulse"]

BEAT_SECONDS = 0.5


class Pulse:
    """When an event loop last came round."""

    def __init__(self) -> None:
        self._beaten_at = time.monotonic()

    @property
    def age(self) -> float:
        """Seconds since then."""
        return time.monotonic() - self._beaten_at

    async def beat(self) -> None:
        """Note it until cancelled."""
        while True:
            self._beaten_at = time.monotonic()
            await asyncio.sleep(BEAT_SECONDS)
