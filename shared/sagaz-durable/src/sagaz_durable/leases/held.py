"""The leases that this process holds, and the runs of which something still goes on in it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any

from sagaz_durable.leases.lease import Lease

__all__ = ["Held"]


class Held:
    """By saga_id, the leases of all runtimes of this process; usable from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._leases: dict[str, Lease] = {}
        self._left: dict[str, Future[None]] = {}

    def __bool__(self) -> bool:
        return bool(self._leases)

    def add(self, lease: Lease) -> None:
        """Begin to hold a lease; an execution of the same run that still goes on here loses its own."""
        with self._lock:
            before = self._leases.get(lease.saga_id)
            if before is not None:
                before.ended = lease.after = Future()
            else:
                lease.after = self._left.get(lease.saga_id)
            self._leases[lease.saga_id] = lease
        if before is not None:
            before.lose("this process has claimed it anew after its lease had ended.")

    def drop(self, lease: Lease, calls: Iterable[Future[Any]] = ()) -> None:
        """Stop holding a lease.

        Args:
            calls: Those that go on in their threads: a later execution of the same run waits for them, too.
        """
        going_on = [call for call in (*calls, lease.after) if call is not None and not call.done()]
        with self._lock:
            if self._leases.get(lease.saga_id) is lease:
                del self._leases[lease.saga_id]
            if going_on and lease.ended is None:
                lease.ended = self._left[lease.saga_id] = Future()
            ended = lease.ended
        if ended is not None:
            _when_done(going_on, lambda: self._nothing_goes_on(lease.saga_id, ended))

    def _nothing_goes_on(self, saga_id: str, ended: Future[None]) -> None:
        with self._lock:
            if self._left.get(saga_id) is ended:
                del self._left[saga_id]
        ended.set_result(None)

    def renewable(self) -> list[Lease]:
        """Return those that end unless they are renewed."""
        return [lease for lease in tuple(self._leases.values()) if not (lease.endless or lease.lost)]

    def any_locked(self) -> bool:
        """Whether the last renewal found a row locked."""
        return any(lease.locked for lease in tuple(self._leases.values()))


def _when_done(calls: Sequence[Future[Any]], then: Callable[[], None]) -> None:
    if calls:
        calls[0].add_done_callback(lambda _: _when_done(calls[1:], then))
    else:
        then()
