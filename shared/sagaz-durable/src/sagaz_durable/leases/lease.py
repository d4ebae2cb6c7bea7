"""The lease of one run: whose it is, until when, and what becomes of it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress

from sagaz_durable.concurrency.clock import now
from sagaz_integration_core.contract.records import ClaimedRun, Renewal
from sagaz_integration_core.errors import LeaseLost

__all__ = ["Lease"]


class Lease:
    """One run's lease as this process sees it, by a clock of its own that counts suspend; readable from any thread.

    Args:
        taken_at: The time before the claim was sent; the store's clock started later, so that this process always
            believes its lease to end before the store does.
        margin: Seconds before the end at which the run is stopped.
        loop: Where the run is executed.

    Attributes:
        lost: Whether the run is not this process's any more.
        locked: Whether the last renewal found the row locked by another transaction.
        endless: Whether nobody else can see the run, so that the lease does not end while the process lives.
        after: Done when an earlier execution of the same run has stopped in this process, and its threads have left
            its steps; None when there is none.
        ended: What a later one waits for; None while there is none.
    """

    def __init__(
        self,
        run: ClaimedRun,
        taken_at: float,
        seconds: float,
        margin: float,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        endless: bool = False,
    ) -> None:
        self.run = run
        self.saga_id = run.saga_id
        self.attempt = run.attempt
        self.on_stop: Callable[[Exception], None] | None = None
        self.locked = False
        self.endless = endless
        self.after: Future[None] | None = None
        self.ended: Future[None] | None = None
        self._loop = loop
        self._margin = margin
        self.lost = False
        self.taken_at = 0.0
        self.ends_at = 0.0
        self.prolong(taken_at, seconds)

    def prolong(self, taken_at: float, seconds: float) -> None:
        """Note a renewal that was sent at ``taken_at``, unless one that was sent later is known already."""
        if taken_at > self.taken_at:
            self.taken_at = taken_at
            self.ends_at = math.inf if self.endless else taken_at + seconds - self._margin

    @property
    def remaining(self) -> float:
        """Seconds for which this process may still act on the run."""
        return -math.inf if self.lost else self.ends_at - now()

    def lose(self, why: str) -> None:
        """Tell the run that it is not this process's any more; callable from any thread, effective at once."""
        self.lost = True
        reason = LeaseLost(f"Run {self.saga_id} (attempt {self.attempt}): {why}")
        if self._loop is None:
            self.stop(reason)
            return
        with suppress(RuntimeError):  # The loop is closed: nothing runs on it.
            self._loop.call_soon_threadsafe(self.stop, reason)

    def answered(self, renewal: Renewal, sent_at: float, seconds: float) -> None:
        """Note what became of a renewal that was sent at ``sent_at``."""
        self.locked = self.saga_id in renewal.locked
        if self.saga_id in renewal.held:
            self.prolong(sent_at, seconds)
        elif not self.locked and not self.lost and self.ended is None:
            self.lose("another process has taken it over, or a person has settled it.")

    def stop(self, reason: Exception) -> None:
        """Have the run stop where it is; called on its own loop."""
        if self.on_stop is not None:
            self.on_stop(reason)
