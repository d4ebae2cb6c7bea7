"""One thread in each process that keeps its leases, whatever the code of steps does to its event loops."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from sagaz_durable.concurrency.clock import now
from sagaz_durable.concurrency.process_id import current_pid, unique_name
from sagaz_durable.leases.announcements import Announcements
from sagaz_durable.leases.blocked_loops import BlockedLoops, HeldLeases, StepLimit
from sagaz_durable.leases.connection import KeeperConnection, KeeperStore
from sagaz_durable.leases.held import Held
from sagaz_durable.leases.lease import Lease
from sagaz_durable.leases.renewal import quietly, renew_all
from sagaz_integration_core.contract.listings import WorkerKind
from sagaz_integration_core.contract.records import Renewal
from sagaz_integration_core.contract.store import SagaStore

__all__ = ["LeaseKeeper"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_LOOK_SECONDS = 0.5
"""How often it is looked whether event loops turn, and whether leases are to be renewed."""

_IDLE_LOOKS = 4
"""After so many looks without a lease the thread disconnects, and sleeps until there is one."""

_STOPPED_SECONDS = 1.0
"""So much longer than it was meant to, the thread slept: the whole process stood still."""

_CLOSE_SECONDS = 5.0


class LeaseKeeper:
    """Renews the leases of this process in one statement, tells that it lives, and watches its event loops.

    The thread is started by the first lease, and is connected from the first renewal that is due until nothing is held
    any more; a process that claims runs is always connected. A heartbeat is sent together with each renewal and never
    outlives it: whoever finds that a lease has ended can tell a process that died from one that could not renew.

    Args:
        connection: Made when the first renewal is due; None where nobody else can see the runs, so that leases do not
            end.

    Attributes:
        owner: Under which this process holds its leases.
        seconds: How long a lease lasts.
    """

    def __init__(
        self,
        connection: Callable[[], KeeperConnection] | None,
        *,
        lease_seconds: float,
        renew_seconds: float,
        step_limit: StepLimit,
        backoff: Callable[[int], float],
    ) -> None:
        self.owner = unique_name()
        self.seconds = lease_seconds
        self.renew_seconds = renew_seconds
        self.margin = min(2.0, lease_seconds / 10)
        self.loops = BlockedLoops(self, lease_seconds, step_limit, backoff)
        self._pid = current_pid()
        self._store = KeeperStore(connection, lease_seconds)
        self._held = Held()
        self._users = 0
        self._runtimes: set[HeldLeases] = set()
        self._announced = Announcements()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._asleep = self._closing = False
        self._ended: Future[None] = Future()
        self._asked_to_renew: Future[None] | None = None
        self._renewed_at = -math.inf
        self._beating = False

    # What runtimes ask, on their event loops.

    def acquire(self) -> bool:
        """Have the keeper stay for a runtime that is opened; False when it has ended, or is another process's."""
        if self.is_inherited:
            return False
        with self._lock:
            self._users += not self._closing
            return not self._closing

    def add(self, leases: HeldLeases) -> None:
        """Keep these leases too."""
        self._runtimes.add(leases)

    async def release(self, leases: HeldLeases) -> None:
        """Forget a runtime that is closed; the last one's end is the end of the thread, which is waited for."""
        self._forget(leases)
        if self._closing and self._thread is not None:
            # Within bounds: a store may hang.
            await asyncio.wait([asyncio.wrap_future(self._ended)], timeout=_CLOSE_SECONDS)

    def abandon(self, leases: HeldLeases) -> None:
        """Forget a runtime whose event loop will not turn again: its leases end, and others resume its runs."""
        self._forget(leases)
        for lease in tuple(leases.held.values()):
            self.drop(lease)

    def _forget(self, leases: HeldLeases) -> None:
        self._runtimes.discard(leases)
        with self._lock:
            self._users -= 1
            self._closing = not self._users
        if self._closing:
            self._wake.set()

    @property
    def is_inherited(self) -> bool:
        """Whether this is a fork of the process that it belongs to."""
        return self._pid != current_pid()

    def hold(self, lease: Lease) -> None:
        """Begin to keep a lease."""
        self._held.add(lease)
        # In a test's own transaction nothing is to be renewed, and no thread to be left.
        if (self._thread is None and not (lease.endless and self.renews)) or self._asleep:
            self._start()

    def drop(self, lease: Lease, calls: Iterable[Future[Any]] = ()) -> None:
        """Stop keeping a lease.

        Args:
            calls: Those that go on in their threads: a later execution of the same run waits for them, too.
        """
        self._held.drop(lease, calls)

    def announce(self, who: object, kind: WorkerKind, sagas: Callable[[], Iterable[str]]) -> None:
        """Tell the store from now on that this process claims runs of these sagas."""
        self._announced.add(who, kind, sagas)
        self._renewed_at = -math.inf
        self._start()

    @property
    def is_connected(self) -> bool:
        """Whether it holds a connection."""
        return self._store.is_connected

    @property
    def announced(self) -> bool:
        """Whether this process claims runs."""
        return bool(self._announced)

    def heartbeat(self) -> tuple[float, WorkerKind, list[str]]:
        """Return for how long the store is to know that this process lives, as what, and which sagas it claims."""
        lives = bool(self._announced or self._held)
        # No longer than a lease that is renewed after it: a process whose leases have ended has no heartbeat either.
        return self.seconds if lives else 0.0, self._announced.kind, self._announced.sagas

    def withdraw(self, who: object) -> None:
        """Take an announcement back."""
        self._announced.remove(who)
        self._renewed_at = -math.inf
        self._wake.set()

    async def renewed(self) -> None:
        """Return when a renewal was tried that began after this was called, or after the margin of a lease."""
        with self._lock:
            asked = self._asked_to_renew = self._asked_to_renew or Future()
        self._start()
        await asyncio.wait([asyncio.wrap_future(asked)], timeout=self.margin)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._work, name="sagaz-leases", daemon=True)
                self._thread.start()
        self._wake.set()

    # The thread.

    def _work(self) -> None:
        try:
            idle_looks = 0
            while not self._closing:
                idle_looks = 0 if self._held else idle_looks + 1
                if idle_looks > _IDLE_LOOKS and not self._announced:
                    self._disconnect()
                passed = self._wait(idle_looks)
                self._renew_when_due()
                self.loops.look(passed, self._runtimes)
        finally:
            self._disconnect()
            self._ended.set_result(None)

    def _wait(self, idle_looks: int) -> float:
        """Sleep until the next look; return how many seconds have passed for event loops that may be standing still."""
        pause = min(_LOOK_SECONDS, self.renew_seconds / 2)
        if idle_looks > _IDLE_LOOKS:
            pause = self.renew_seconds / 2 if self._announced else math.inf
            self._asleep = True
            if self._held:
                # One that was taken meanwhile has not seen that it has to wake this thread.
                pause = 0.0
        began = now()
        woken = self._wake.wait(None if pause == math.inf else pause)
        self._wake.clear()
        self._asleep = False
        slept = now() - began
        if not woken and slept > pause + _STOPPED_SECONDS:
            if self._held:
                logger.warning(
                    "This process stood still for %.1f s: it was stopped, its machine slept, or a call into C held the "
                    "interpreter. Steps go on only where the lease is still this process's.",
                    slept - pause,
                )
            return 0.0
        return slept

    def _renew_when_due(self) -> None:
        with self._lock:
            asked, self._asked_to_renew = self._asked_to_renew, None
        try:
            if self.renews and (asked is not None or self._is_due() or self._held.any_locked()):
                self._renew()
        finally:
            if asked is not None and not asked.done():
                asked.set_result(None)

    def _is_due(self) -> bool:
        since = min((lease.taken_at for lease in self._held.renewable()), default=math.inf)
        if self._announced or self._beating:
            since = min(since, self._renewed_at)
        return now() - since >= self.renew_seconds

    def _renew(self) -> None:
        asked = self._held.renewable()
        if self._is_due():
            quietly("The heartbeat was not noted", self._beat)
        if asked:
            quietly(f"{len(asked)} leases could not be renewed", lambda: renew_all(asked, self._renew_these))

    def _beat(self) -> None:
        sent_at = now()
        seconds, kind, names = self.heartbeat()
        self.ask(lambda store: store.heartbeat(self.owner, seconds, kind, names))
        self._renewed_at, self._beating = sent_at, seconds > 0

    def _renew_these(self, asked: Sequence[Lease]) -> None:
        runs = [(lease.saga_id, lease.attempt) for lease in asked]
        sent_at = now()
        renewal: Renewal = self.ask(lambda store: store.renew(self.owner, runs, self.seconds))
        for lease in asked:
            lease.answered(renewal, sent_at, self.seconds)

    def ask(self, work: Callable[[SagaStore], Awaitable[T]]) -> T:
        """Ask the store; on the keeper's thread."""
        return self._store.ask(work)

    @property
    def renews(self) -> bool:
        """Whether leases end, and others may then take the runs."""
        return self._store.exists

    def _disconnect(self) -> None:
        if not self._store.is_connected:
            return
        try:
            if self._beating:
                self.ask(lambda store: store.heartbeat(self.owner, 0))
        except Exception as error:
            logger.debug("The heartbeat was not taken back: %s", error)
        finally:
            self._beating = False
            self._store.close()
