"""The contracts that a store and a plugin implement."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from sagaz_integration_core.outbox import EventStore
from sagaz_integration_core.records import (
    NO_FIRST_STEPS,
    AuditRecord,
    ClaimedRun,
    FirstSteps,
    Inserted,
    Intervention,
    NewRun,
    RunFilter,
    RunRecord,
    RunStatus,
    RunWrite,
    StepRecord,
    StoreStats,
)

__all__ = ["Lifecycle", "RequestContext", "SagaStore"]


class Lifecycle(Protocol):
    """Something that is opened once, used, and closed once."""

    async def open(self) -> None:
        """Acquire what is needed; when it raises, nothing is left open."""
        ...

    async def close(self) -> None:
        """Give everything back; harmless when already closed."""
        ...


class RequestContext(Protocol):
    """What a plugin knows of the request at hand."""

    @property
    def correlation_id(self) -> str:
        """The id that ties the request's log records, runs and events together."""
        ...

    @property
    def propagate(self) -> bool:
        """Whether the id is also put into the context of the sagas that the request starts."""
        ...


class SagaStore(EventStore, Protocol):
    """Durable runs: everything the runtime asks of a database.

    A store is used from the event loop that opened it. Times are taken from the store's own clock. Every method
    raises `StoreUnavailable` (or a subclass) when the store cannot be reached, and nothing else for that reason;
    what it returned is durable.
    """

    kind: str
    """``memory``, ``sqlite``, ``postgres``, ``django``: for messages and listings."""

    embedded: bool
    """Whether no other process can see the rows, so that the runtime itself must run a worker."""

    async def open(self) -> None:
        """Connect, and create or check the tables.

        Raises:
            StoreUnavailable: It cannot be reached or written.
            StoreNotReady: Tables or rights are missing, or tables are old, and this store does not create them.
        """
        ...

    async def check_ready(self, *, only_reads: bool = False) -> None:
        """Ask an open store whether all that it needs is there, now; with ``only_reads``, all that reading needs.

        Raises:
            StoreNotReady: Tables or rights are missing.
        """
        ...

    async def close(self) -> None:
        """Disconnect; harmless when already closed."""
        ...

    async def store_id(self) -> str:
        """Return the random id that ``sagaz_meta`` has kept since the tables were made."""
        ...

    async def insert(self, runs: Sequence[NewRun], lease_seconds: float) -> list[Inserted]:
        """Insert runs in one transaction, one answer for each in the same order; wakes this store's workers."""
        ...

    async def claim(
        self,
        owner: str,
        limit: int,
        lease_seconds: float,
        saga_ids: Sequence[str] | None = None,
        first_steps: FirstSteps = NO_FIRST_STEPS,
    ) -> list[ClaimedRun]:
        """Lease up to ``limit`` runs that are due or whose lease has ended, oldest first; only ``saga_ids`` if given.

        A claimed run gets attempt + 1, this owner and a new lease; ``pending`` becomes ``executing``. A run whose
        former lease ended without a release gets failures + 1. No two claims return the same run at once. For a run
        that is claimed for the first time, the ``first_steps`` of its saga are journaled as ``started`` in the same
        transaction.
        """
        ...

    async def renew(self, owner: str, runs: Sequence[tuple[str, int]], lease_seconds: float) -> set[str]:
        """Prolong the leases of these (saga_id, attempt); return the saga_ids that are still held."""
        ...

    async def write(self, writes: Sequence[RunWrite]) -> list[bool]:
        """Commit all writes in one transaction, in order; False for each that was fenced out and left no trace."""
        ...

    async def load(self, saga_id: str) -> RunRecord | None:
        """Return one run."""
        ...

    async def load_steps(self, saga_id: str) -> list[StepRecord]:
        """Return a run's journal in the order in which its entries were started."""
        ...

    async def find(self, query: RunFilter) -> list[RunRecord]:
        """Return runs, newest first."""
        ...

    async def stats(self) -> StoreStats:
        """Return the figures for a health check."""
        ...

    async def heartbeat(self, worker: str, seconds: float) -> None:
        """Note that a worker is alive for the next ``seconds``; 0 takes the note back."""
        ...

    async def wait(self, seconds: float) -> None:
        """Return when runs may have become due, at the latest after ``seconds``."""
        ...

    def wake(self) -> None:
        """Make `wait` return now; callable from any thread."""
        ...

    async def save_foreign(
        self, saga_id: str, saga_name: str, status: str, context: str, metadata: dict[str, Any]
    ) -> None:
        """Insert or update a row on behalf of sagaz's own engine; it is marked `FOREIGN` and never claimed.

        Raises:
            ValueError: A run of ours has this saga_id.
        """
        ...

    async def delete(self, saga_id: str) -> bool:
        """Delete a finished or foreign run with its journal; False when there is none, or it is still active."""
        ...

    async def prune(self, older_than: datetime, statuses: Sequence[RunStatus], limit: int) -> int:
        """Delete at most ``limit`` runs that ended with these statuses before ``older_than``; return how many."""
        ...

    async def count_prunable(self, older_than: datetime, statuses: Sequence[RunStatus]) -> int:
        """Return how many runs `prune` would delete without a limit."""
        ...

    async def intervene(self, intervention: Intervention) -> bool:
        """Carry out a person's decision and note it, in one transaction; False when the run has changed meanwhile."""
        ...

    async def load_audit(self, saga_id: str) -> list[AuditRecord]:
        """Return what people have decided about a run, the oldest first; it is deleted with the run."""
        ...
