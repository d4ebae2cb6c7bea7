"""Keeping the leases of the runs that this process executes, and stopping those it can no longer keep."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from sagaz_integration_core.cancellation import cancel_all
from sagaz_integration_core.errors import LeaseLost, StoreUnavailable
from sagaz_integration_core.protocols import SagaStore

__all__ = ["Lease", "LeaseKeeper"]

logger = logging.getLogger(__name__)


class Lease:
    """One run's lease as this process sees it, by its own monotonic clock.

    Args:
        taken_at: The monotonic time before the claim was sent; the store's clock started later, so that this
            process always believes its lease to end before the store does.
        margin: Seconds before the end at which the run is stopped.
    """

    def __init__(self, saga_id: str, attempt: int, taken_at: float, seconds: float, margin: float) -> None:
        self.saga_id = saga_id
        self.attempt = attempt
        self.on_stop: Callable[[Exception], None] | None = None
        self._margin = margin
        self.taken_at = 0.0
        self.ends_at = 0.0
        self.prolong(taken_at, seconds)

    def prolong(self, taken_at: float, seconds: float) -> None:
        """Note a renewal that was sent at ``taken_at``, unless one that was sent later is known already."""
        if taken_at > self.taken_at:
            self.taken_at = taken_at
            self.ends_at = taken_at + seconds - self._margin

    @property
    def remaining(self) -> float:
        """Seconds for which this process may still act on the run."""
        return self.ends_at - time.monotonic()

    def lose(self, why: str) -> None:
        """Tell the run that it is not this process's any more."""
        self.stop(LeaseLost(f"Run {self.saga_id} (attempt {self.attempt}): {why}"))

    def stop(self, reason: Exception) -> None:
        """Have the run stop where it is."""
        if self.on_stop is not None:
            self.on_stop(reason)


class LeaseKeeper:
    """Renews all leases of a process in one statement, every ``renew_seconds``."""

    def __init__(self, store: SagaStore, owner: str, *, lease_seconds: float, renew_seconds: float) -> None:
        self._store = store
        self._owner = owner
        self._lease_seconds = lease_seconds
        self._renew_seconds = renew_seconds
        self._margin = min(2.0, lease_seconds / 10)
        self._held: dict[str, Lease] = {}
        self._renewed_at = 0.0

    def hold(self, saga_id: str, attempt: int, taken_at: float) -> Lease:
        """Begin to keep a lease that was just taken."""
        lease = Lease(saga_id, attempt, taken_at, self._lease_seconds, self._margin)
        self._held[saga_id] = lease
        return lease

    def drop(self, lease: Lease) -> None:
        """Stop keeping a lease: the run ended, or was given back or lost."""
        if self._held.get(lease.saga_id) is lease:
            del self._held[lease.saga_id]

    async def run(self) -> None:
        """Renew until cancelled; whatever the store does, or does not answer, leases are given up before they end."""
        renewal: asyncio.Task[None] | None = None
        try:
            while True:
                await asyncio.sleep(max(0.01, min(self._renew_seconds / 2, self._until_end())))
                if self._is_due() and (renewal is None or renewal.done()):
                    renewal = asyncio.create_task(self._renew())
                    # A loop that stood still past an end may find the lease still its own.
                    await asyncio.wait([renewal], timeout=max(self._margin, self._until_end()))
                self._give_up_ended()
        finally:
            if renewal is not None:
                await cancel_all([renewal])

    def _give_up_ended(self) -> None:
        for lease in list(self._held.values()):
            if lease.remaining <= 0:
                self.drop(lease)
                lease.lose("its lease could not be renewed in time; a worker resumes it.")

    async def renew_overdue(self, store: SagaStore) -> None:
        """Renew through another store what `run` should have renewed; for another thread, while the loop stands still.

        What is not held any more is left to `run`, which tells it on its own thread.

        Raises:
            StoreUnavailable: Nothing was renewed.
        """
        sent_at = time.monotonic()
        asked = [lease for lease in tuple(self._held.values()) if sent_at - lease.taken_at >= self._renew_seconds]
        if not asked:
            return
        leases = [(lease.saga_id, lease.attempt) for lease in asked]
        renewal = await store.renew(self._owner, leases, self._lease_seconds)
        for lease in asked:
            if lease.saga_id in renewal.held:
                lease.prolong(sent_at, self._lease_seconds)

    def _is_due(self) -> bool:
        return bool(self._held) and time.monotonic() >= self._renewed_at + self._renew_seconds

    def _until_end(self) -> float:
        return min((lease.remaining for lease in self._held.values()), default=self._renew_seconds)

    async def _renew(self) -> None:
        asked = list(self._held.values())
        sent_at = time.monotonic()
        try:
            renewal = await self._store.renew(
                self._owner, [(lease.saga_id, lease.attempt) for lease in asked], self._lease_seconds
            )
        except StoreUnavailable as error:
            logger.warning("%d leases could not be renewed, trying again: %s", len(asked), error)
            return
        except Exception:
            # Whatever it is: leases that nobody watches would not be given up in time.
            logger.exception("%d leases could not be renewed, trying again", len(asked))
            return
        self._renewed_at = sent_at
        for lease in asked:
            if lease.saga_id in renewal.held:
                lease.prolong(sent_at, self._lease_seconds)
            elif lease.saga_id not in renewal.locked and self._held.get(lease.saga_id) is lease:
                self.drop(lease)
                lease.lose("another process has taken it over, or a person has settled it.")
