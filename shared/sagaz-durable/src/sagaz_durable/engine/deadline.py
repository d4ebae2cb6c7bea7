"""Until when a run may go forward, by this process's own clock once the store has told how long that is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sagaz_durable.concurrency.clock import now

__all__ = ["Deadline"]


class Deadline:
    """The deadline of one run that is executed here.

    Args:
        seconds: Until then; None for a run without one.
    """

    __slots__ = ("_ends_at",)

    def __init__(self, seconds: float | None) -> None:
        # Not by the event loop's clock: that may stand still while the machine is suspended, and the store's does not.
        self._ends_at = None if seconds is None else now() + seconds

    def tell(self, passed: Callable[[], None]) -> asyncio.TimerHandle | None:
        """Call this when it passes; the handle takes that back."""
        if self._ends_at is None:
            return None
        return asyncio.get_running_loop().call_later(max(0.0, self._ends_at - now()), passed)

    @property
    def has_passed(self) -> bool:
        """Whether it has."""
        return self._ends_at is not None and now() >= self._ends_at

    def at_most(self, seconds: float) -> float:
        """Return how many of these seconds are left until then."""
        return seconds if self._ends_at is None else max(0.0, min(seconds, self._ends_at - now()))
