"""The leases of the runs that one runtime executes, and the end of those that can no longer be kept."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Future
from typing import Any

from sagaz_durable.concurrency.clock import now
from sagaz_durable.leases.keeper import LeaseKeeper
from sagaz_durable.leases.lease import Lease
from sagaz_durable.leases.loop_watch import LoopWatch
from sagaz_integration_core.contract.listings import WorkerKind
from sagaz_integration_core.contract.records import ClaimedRun
from sagaz_integration_core.contract.store import SagaStore

__all__ = ["Leases"]

logger = logging.getLogger(__name__)


class Leases:
    """The leases of one runtime: taken and dropped on its event loop, renewed by the process's `LeaseKeeper`.

    Attributes:
        held: By saga_id, those whose runs go on.
        watch: What the keeper's thread knows of the event loop.
    """

    def __init__(
        self, keeper: LeaseKeeper, store: SagaStore, loop: asyncio.AbstractEventLoop, watch: LoopWatch
    ) -> None:
        self._keeper = keeper
        self._store = store
        self._loop = loop
        self.watch = watch
        self.held: dict[str, Lease] = {}
        self._beaten_at = -math.inf

    def hold(self, run: ClaimedRun, taken_at: float, *, endless: bool) -> Lease:
        """Begin to keep a lease that was just taken; an execution of the same run that still goes on here is stopped.

        A claim can only have returned it because that one's lease had ended.
        """
        lease = Lease(run, taken_at, self._keeper.seconds, self._keeper.margin, self._loop, endless=endless)
        self.watch.thread_id = threading.get_ident()
        self.held[run.saga_id] = lease
        self._keeper.hold(lease)
        return lease

    def drop(self, lease: Lease, calls: Iterable[Future[Any]] = ()) -> None:
        """Stop keeping a lease: the run ended, or was given back or lost, and of it only these calls go on here."""
        if self.held.get(lease.saga_id) is lease:
            del self.held[lease.saga_id]
        self._keeper.drop(lease, calls)

    async def run(self) -> None:
        """Until cancelled, give leases up before they end, whether or not the keeper could renew them."""
        while True:
            await asyncio.sleep(max(0.01, min(self._keeper.renew_seconds / 2, self._until_end())))
            await self.renew_here()
            if self._until_end() <= 0:
                # After the process was stopped, or its machine slept, they may still be its own.
                await self._keeper.renewed()
                self._give_up_ended()

    async def renew_here(self) -> None:
        """Renew what nobody else can see with the runtime's own store; before it claims, or it would claim its own."""
        due = now() - self._keeper.renew_seconds
        asked = [lease for lease in self.held.values() if lease.endless and lease.taken_at <= due]
        if not self._keeper.renews and self._beaten_at <= due and self._keeper.announced:
            self._beaten_at = now()
            await self._quietly(self._store.heartbeat(self._keeper.owner, *self._keeper.heartbeat()))
        if asked:
            await self._quietly(self._renew(asked))

    @property
    def owner(self) -> str:
        """Under which this process holds its leases."""
        return self._keeper.owner

    def announce(self, who: object, kind: WorkerKind, sagas: Callable[[], Iterable[str]]) -> None:
        """Tell the store from now on that this process claims runs of these sagas."""
        self._keeper.announce(who, kind, sagas)

    def withdraw(self, who: object) -> None:
        """Take an announcement back."""
        self._keeper.withdraw(who)

    async def withdrawn(self) -> None:
        """Have the store know at once that this process claims nothing any more."""
        if self._keeper.renews:
            await self._keeper.renewed()
        else:
            await self._quietly(self._store.heartbeat(self._keeper.owner, 0))

    async def _renew(self, asked: list[Lease]) -> None:
        sent_at = now()
        runs = [(lease.saga_id, lease.attempt) for lease in asked]
        renewal = await self._store.renew(self._keeper.owner, runs, self._keeper.seconds)
        for lease in asked:
            lease.answered(renewal, sent_at, self._keeper.seconds)

    async def _quietly(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception:
            # Nobody else takes these runs, and the next look is soon; but this task must not end.
            logger.exception("Leases could not be renewed, trying again")

    def _until_end(self) -> float:
        return min((lease.remaining for lease in self.held.values()), default=math.inf)

    def _give_up_ended(self) -> None:
        for lease in list(self.held.values()):
            if lease.remaining <= 0:
                del self.held[lease.saga_id]
                lease.lose(
                    "another transaction has its row locked, so that its lease could not be renewed in time; a worker "
                    "resumes it."
                    if lease.locked
                    else "its lease could not be renewed in time; a worker resumes it."
                )
