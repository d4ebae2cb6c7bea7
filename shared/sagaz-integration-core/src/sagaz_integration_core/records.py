"""The plain records that pass between the runtime and a store, and the words that they are made of.

Their ``repr`` has no contexts, results and fingerprints: logs and error reports do, and those are anybody's secrets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from sagaz_integration_core.outbox import EventWrite

__all__ = [
    "ACTIVE",
    "FINISHED",
    "FOREIGN",
    "NO_FIRST_STEPS",
    "Action",
    "AuditRecord",
    "ClaimedRun",
    "FirstSteps",
    "Inserted",
    "Intervention",
    "NewRun",
    "Phase",
    "Release",
    "RunFilter",
    "RunRecord",
    "RunStatus",
    "RunWrite",
    "StepRecord",
    "StepStatus",
    "StepWrite",
    "StoreStats",
    "begun_by_claim",
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

FirstSteps: TypeAlias = Mapping[str, Sequence[str]]
"""By the sagas' names, the steps with which a run begins; a saga that is not there gets no journal in advance."""

NO_FIRST_STEPS: FirstSteps = {}

FOREIGN = "foreign"
"""The fingerprint of rows that unmodified sagaz code saved through the storage interface: listed, never claimed."""


@dataclass(frozen=True, slots=True)
class NewRun:
    """One run to insert.

    With ``owner`` the row is inserted already leased by that process: ``executing``, attempt 1. Without, it is
    ``pending`` (attempt 0) and due at ``not_before`` (an aware datetime), or at once. ``fresh`` tells that the saga_id
    was made for this run alone, so that nothing can be there under it. ``first_steps`` of a leased run are journaled as
    ``started`` together with it.
    """

    saga_id: str
    saga_name: str
    context: str = field(repr=False)
    fingerprint: str = field(repr=False)
    correlation_id: str | None = None
    not_before: datetime | None = None
    owner: str | None = None
    fresh: bool = False
    first_steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Inserted:
    """What became of a `NewRun`: ``created``, or a row with this saga_id was there already (and was left as it is)."""

    saga_id: str
    created: bool
    fingerprint: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class StepWrite:
    """One journal entry; (saga_id, step, phase) is its key, a later entry replaces the status of an earlier one.

    ``started`` sets started_at and attempt and clears result, error and finished_at; every other status sets
    finished_at and leaves started_at.
    """

    step: str
    phase: Phase
    status: StepStatus
    result: str | None = field(default=None, repr=False)
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
    result: str | None = field(repr=False)
    error: str | None
    attempt: int
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class ClaimedRun:
    """A run that this process now holds under a lease, with its journal so far (in the order of its steps' start).

    ``begun`` are the steps that were journaled as ``started`` in this attempt, together with the lease.
    """

    saga_id: str
    saga_name: str
    status: RunStatus
    context: str = field(repr=False)
    error: str | None
    correlation_id: str | None
    attempt: int
    failures: int
    steps: tuple[StepRecord, ...] = ()
    begun: tuple[str, ...] = ()


def begun_by_claim(saga_name: str, attempt: int, first_steps: FirstSteps) -> tuple[str, ...]:
    """Return the steps that are journaled together with the claim that made this attempt: those of a first one."""
    return tuple(first_steps.get(saga_name, ())) if attempt == 1 else ()


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One row of ``sagaz_run``; datetimes are aware, in UTC."""

    saga_id: str
    saga_name: str
    status: RunStatus
    context: str = field(repr=False)
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
    fingerprint: str = field(repr=False)


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
    """Figures for health checks; ages in seconds, by the store's clock.

    ``dead_events`` were set aside; ``oldest_unsent_age`` is that of the event which has waited longest to be sent.
    """

    counts: dict[RunStatus, int]
    due: int
    oldest_due_age: float | None
    live_workers: int
    dead_events: int = 0
    oldest_unsent_age: float | None = None
