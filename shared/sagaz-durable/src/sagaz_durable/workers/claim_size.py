"""How many runs a worker claims at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sagaz_durable.concurrency.clock import now
from sagaz_integration_core.contract.records import ClaimedRun

__all__ = ["ClaimSize"]

_FEW = 10
"""So many runs are claimed at once if there is room: with fewer, a statement costs more than two of them gain."""

_NEW_SECONDS = 1.0
"""For how long after a new run others are expected."""


class ClaimSize:
    """The most runs that one claim of a worker is for.

    Where thousands of timers end at once, large claims would have a new run wait for many that wake up; as long as new
    ones come, too, few are claimed at a time, which costs those that wake up two fifths of their throughput.

    Args:
        most: How many there are otherwise.
    """

    def __init__(self, most: int) -> None:
        self._most = max(most, _FEW)
        self._new_at = -math.inf
        self._wake_up = False

    def claimed(self, runs: Sequence[ClaimedRun]) -> None:
        """Take note of what a claim has found."""
        new = sum(run.attempt == 1 for run in runs)
        if new:
            self._new_at = now()
        self._wake_up = len(runs) > 2 * new

    @property
    def next(self) -> int:
        """The size of the next claim."""
        return _FEW if self._wake_up and now() - self._new_at < _NEW_SECONDS else self._most
