"""What an engine asks of a store."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Protocol

from sagaz_integration_core.contract.decisions import AuditRecord, Erasure, Intervention
from sagaz_integration_core.contract.events import EventStore
from sagaz_integration_core.contract.listings import AttemptRecord, RunFilter, StoreStats, WorkerKind, WorkerRecord
from sagaz_integration_core.contract.records import (
    ClaimedRun,
    FirstSteps,
    Inserted,
    NewRun,
    Renewal,
    RunRecord,
    RunStatus,
    RunWrite,
    StepRecord,
)
from sagaz_integration_core.contract.request_keys import RequestKeyStore
from sagaz_integration_core.contract.waits import SignalStore
from sagaz_integration_core.contract.webhooks import WebhookStore

__all__ = ["SagaStore"]


class SagaStore(EventStore, SignalStore, RequestKeyStore, WebhookStore, Protocol):
    """Durable runs: everything the runtime asks of a database.

    A store is used from the event loop that opened it. Times are taken from the store's own clock. Every method
    raises `StoreUnavailable` (or a subclass) when the store cannot be reached, and nothing else for that reason;
    `UnstorableValue` for a value that this database can never store, and `WriteRefused` when it refuses for another
    reason. What it returned is durable.
    """

    kind: str
    """``memory``, ``sqlite``, ``postgres``, ``django``: for messages and listings."""

    embedded: bool
    """Whether no other process can see the rows, so that the runtime itself must run a worker."""

    claim_portions: int
    """Into how many claims a worker divides its places: two when a server records the steps of one half of the runs
    while the other half takes its own, one when each further statement costs more than that brings."""

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
        sagas: FirstSteps,
        *,
        saga_ids: Sequence[str] | None = None,
        alone: bool = False,
    ) -> list[ClaimedRun]:
        """Lease up to ``limit`` runs of these ``sagas`` that are due or whose lease has ended.

        Of a saga the oldest come first, and first comes the saga whose oldest run has waited longest. Where the oldest
        is a ``waiting`` one whose time has come, thousands may be: such runs get at most half of the places (but one at
        least), others half, and what these leave stays free. A run that was sent a signal is not overtaken for ever.

        A ``waiting`` run is also due when an untaken signal is there for one of its open waits. In the transaction of
        the claim, waits of a claimed run that are over get their outcome: of each name, the first one gets the oldest
        signal that is addressed to the run, or to the wait's key.

        A claimed run gets attempt + 1, this owner and a new lease; ``pending`` becomes ``executing``, and ``waiting``
        becomes ``executing`` or ``compensating``, by its direction. No two claims
        return the same run at once, and what another transaction has locked is left out. For a run that is claimed for
        the first time, the first steps of its saga are journaled as ``started`` in the same transaction; so are, for
        any other, the ``waiting`` calls that go on because of it (`resumed_by_claim`).

        A lease that ended without a release is settled first. While its owner's heartbeat lives, it was lost, and the
        run is not charged. A dead owner that had this run alone charges it: failures + 1. One that had several makes
        suspects of all: they are not charged, come back within a lease, each at another time, and with the second
        suspicion they are ``alone``.

        Args:
            sagas: All that the caller knows, with their first steps; runs of others are not touched.
            saga_ids: Only these runs.
            alone: Claim at most one, of those that are to be executed alone, and none while half of the live workers
                have one; otherwise, claim none of those.
        """
        ...

    async def any_alone(self, sagas: Collection[str]) -> bool:
        """Whether a run of these sagas is due that is to be executed alone."""
        ...

    async def renew(self, owner: str, runs: Sequence[tuple[str, int]], lease_seconds: float) -> Renewal:
        """Prolong the leases of these (saga_id, attempt), without waiting for locked rows."""
        ...

    async def write(self, writes: Sequence[RunWrite]) -> list[bool | None]:
        """Commit all writes in one transaction, in order; an answer for each.

        True: it was recorded. False: it was fenced out and left no trace. None: another transaction has locked the
        run's row; nothing of it was recorded, and it is to be tried again, apart from others.

        Raises:
            UnstorableValue: This database can never store one of the values; nothing was recorded.
            WriteRefused: The database refused, and the connection is fine; nothing was recorded.
        """
        ...

    async def load(self, saga_id: str) -> RunRecord | None:
        """Return one run."""
        ...

    async def statuses(self, saga_ids: Collection[str]) -> dict[str, RunStatus]:
        """Return the statuses of these runs, as far as they are there."""
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

    async def load_attempts(self, saga_id: str) -> list[AttemptRecord]:
        """Return how a run's earlier attempts ended, the oldest first; they are deleted with the run."""
        ...

    async def heartbeat(
        self, worker: str, seconds: float, kind: WorkerKind = "worker", sagas: Collection[str] = ()
    ) -> None:
        """Note that a process is alive for the next ``seconds``, and which sagas it knows; 0 takes the note back.

        ``worker`` is the owner under which it claims runs.
        """
        ...

    async def workers(self) -> list[WorkerRecord]:
        """Return the processes that are alive."""
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

    async def erase(self, erasure: Erasure, limit: int) -> int:
        """Erase at most ``limit`` runs, those first that ended first, in one transaction; return how many.

        The answers to the requests that started them are erased, too; those requests' keys stay.
        What another transaction has locked is left out.
        """
        ...

    async def count_erasable(self, erasure: Erasure) -> int:
        """Return how many runs `erase` would erase without a limit."""
        ...

    async def intervene(self, intervention: Intervention) -> bool:
        """Carry out a person's decision and note it, in one transaction; False when the run has changed meanwhile."""
        ...

    async def load_audit(self, saga_id: str) -> list[AuditRecord]:
        """Return what people have decided about a run, the oldest first; it is deleted with the run."""
        ...
