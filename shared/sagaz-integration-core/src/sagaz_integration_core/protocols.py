"""The contracts that a store and a plugin implement, and the plain records that pass between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from sagaz_integration_core.outbox import EventStore, EventWrite, OutboxRecord

__all__ = [
    "ACTIVE",
    "FINISHED",
    "FOREIGN",
    "Action",
    "AuditRecord",
    "ClaimedRun",
    "EventWrite",
    "Inserted",
    "Intervention",
    "Lifecycle",
    "NewRun",
    "OutboxRecord",
    "Phase",
    "Release",
    "RequestContext",
    "RunFilter",
    "RunRecord",
    "RunStatus",
    "RunWrite",
    "SagaStore",
    "StepRecord",
    "StepStatus",
    "StepWrite",
    "StoreStats",
]

RunStatus = Literal["pending", "executing", "compensating", "completed", "rolled_back", "failed"]
"""Values of sagaz's ``SagaStatus``. ``failed`` means that a person is needed."""

StepStatus = Literal["started", "done", "failed", "in_doubt"]
"""``in_doubt``: ended without telling whether its effect took place (a timeout); it is compensated like ``done``."""

Phase = Literal["do", "undo"]

Action = Literal["retry", "cancel", "resolve"]
"""What a person can decide about a run."""

ACTIVE: tuple[RunStatus, ...] = ("pending", "executing", "compensating")
FINISHED: tuple[RunStatus, ...] = ("completed", "rolled_back", "failed")

FOREIGN = "foreign"
"""The fingerprint of rows that unmodified sagaz code saved through the storage interface: listed, never claimed."""


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


@dataclass(frozen=True, slots=True)
class NewRun:
    """One run to insert.

    With ``owner`` the row is inserted already leased by that process: ``executing``, attempt 1. Without, it is
    ``pending`` (attempt 0) and due at ``not_before`` (an aware datetime), or at once. ``fresh`` tells that the saga_id
    was made for this run alone, so that nothing can be there under it.
    """

    saga_id: str
    saga_name: str
    context: str
    fingerprint: str
    correlation_id: str | None = None
    not_before: datetime | None = None
    owner: str | None = None
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Inserted:
    """What became of a `NewRun`: ``created``, or a row with this saga_id was there already (and was left as it is)."""

    saga_id: str
    created: bool
    fingerprint: str


@dataclass(frozen=True, slots=True)
class StepWrite:
    """One journal entry; (saga_id, step, phase) is its key, a later entry replaces the status of an earlier one.

    ``started`` sets started_at and attempt and clears result, error and finished_at; every other status sets
    finished_at and leaves started_at.
    """

    step: str
    phase: Phase
    status: StepStatus
    result: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """Gives a lease back, so that any worker may claim the run after ``delay`` seconds.

    ``failed`` adds one to failures. An ``executing`` run becomes ``pending``; ``compensating`` stays.
    """

    delay: float = 0.0
    failed: bool = False


@dataclass(frozen=True, slots=True)
class RunWrite:
    """Everything that one run wants recorded together, or not at all.

    It takes effect only while the row still has this ``owner`` and ``attempt``. ``status`` replaces the run's
    status; one of `FINISHED` also sets finished_at and drops the lease. ``error`` replaces the run's error when it
    is not None. At most one of a finished ``status`` and ``release`` is given.
    """

    saga_id: str
    owner: str
    attempt: int
    steps: tuple[StepWrite, ...] = ()
    events: tuple[EventWrite, ...] = ()
    status: RunStatus | None = None
    error: str | None = None
    release: Release | None = None


@dataclass(frozen=True, slots=True)
class Intervention:
    """A person's decision about one run; it takes effect only while the run has this ``attempt`` and status ``found``.

    The run gets ``status``, attempt + 1 (which fences out whoever executes it) and no failures, and loses its lease.
    One of `FINISHED` ends it; otherwise it is due at once, or when the lease that it had would have ended: by then its
    former owner has stopped. ``compensating`` also forgets the compensations that failed, so that they are called
    again. ``error`` replaces the run's error when it is not None.
    """

    saga_id: str
    attempt: int
    found: RunStatus
    status: RunStatus
    action: Action
    actor: str
    reason: str
    error: str | None = None
    events: tuple[EventWrite, ...] = ()


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One row of ``sagaz_audit``: who decided what about a run, and why; ``at`` is an aware datetime in UTC."""

    saga_id: str
    action: Action
    actor: str
    reason: str
    found: RunStatus
    status: RunStatus
    at: datetime


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One row of ``sagaz_step``."""

    saga_id: str
    step: str
    phase: Phase
    status: StepStatus
    result: str | None
    error: str | None
    attempt: int
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class ClaimedRun:
    """A run that this process now holds under a lease, with its journal so far (in the order of its steps' start)."""

    saga_id: str
    saga_name: str
    status: RunStatus
    context: str
    error: str | None
    correlation_id: str | None
    attempt: int
    failures: int
    steps: tuple[StepRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One row of ``sagaz_run``; datetimes are aware, in UTC."""

    saga_id: str
    saga_name: str
    status: RunStatus
    context: str
    error: str | None
    correlation_id: str | None
    attempt: int
    failures: int
    lease_owner: str | None
    lease_expires_at: datetime | None
    available_at: datetime | None
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    fingerprint: str


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs to list, newest first; ``before`` is the created_at and saga_id of the last one of the page before."""

    statuses: tuple[RunStatus, ...] = ()
    saga_name: str | None = None
    correlation_id: str | None = None
    limit: int = 50
    before: tuple[datetime, str] | None = None


@dataclass(frozen=True, slots=True)
class StoreStats:
    """Figures for health checks; ages in seconds, by the store's clock."""

    counts: dict[RunStatus, int]
    due: int
    oldest_due_age: float | None
    live_workers: int


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
            StoreNotMigrated: Its tables are missing or old, and this store does not create them by itself.
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
        self, owner: str, limit: int, lease_seconds: float, saga_ids: Sequence[str] | None = None
    ) -> list[ClaimedRun]:
        """Lease up to ``limit`` runs that are due or whose lease has ended, oldest first; only ``saga_ids`` if given.

        A claimed run gets attempt + 1, this owner and a new lease; ``pending`` becomes ``executing``. A run whose
        former lease ended without a release gets failures + 1. No two claims return the same run at once.
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
