"""The plain records that pass between the runtime and a store.

Their ``repr`` has no contexts, results and fingerprints: logs and error reports do, and those are anybody's secrets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import NamedTuple, TypeAlias

from sagaz_integration_core.contract.events import EventWrite
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.contract.statuses import (
    ACTIVE,
    ERASED,
    FINISHED,
    AttemptOutcome,
    Call,
    Direction,
    Phase,
    RunStatus,
    StepStatus,
)
from sagaz_integration_core.contract.waits import WaitRecord, WaitWrite

__all__ = [
    "ACTIVE", "ERASED", "FINISHED", "FOREIGN", "AttemptOutcome", "ClaimedRun", "Direction", "FirstStep", "FirstSteps",
    "Inserted", "NewRun", "Phase", "Release", "Renewal", "RunRecord", "RunStatus", "RunWrite", "StepRecord",
    "StepStatus", "StepWrite", "begun_by_claim", "erased_as", "resumed_by_claim",
]  # fmt: skip


class FirstStep(NamedTuple):
    """A step with which a run begins, and whether it has a compensation."""

    name: str
    compensated: bool


FirstSteps: TypeAlias = Mapping[str, Sequence[FirstStep]]
"""All sagas that a process knows, by name, with the steps that are journaled together with the claim of a new run.

A saga of which that is not known in advance has none there: its steps are journaled when they begin.
"""

FOREIGN = "foreign"
"""The fingerprint of rows that unmodified sagaz code saved through the storage interface: listed, never claimed."""


def erased_as(fingerprint: str) -> str | None:
    """Return the status that a run had when it was erased; None for one that was not."""
    return fingerprint.removeprefix(ERASED) if fingerprint.startswith(ERASED) else None


@record
class NewRun:
    """One run to insert.

    With ``lease_owner`` the row is inserted already leased by that process: ``executing``, attempt 1. Without, it is
    ``pending`` (attempt 0) and due at ``not_before`` (an aware datetime), or at once. ``fresh`` tells that the saga_id
    was made for this run alone, so that nothing can be there under it. ``first_steps`` of a leased run are journaled as
    ``started`` together with it. ``deadline`` is an aware datetime, or seconds from the insertion on. ``owner`` is whom
    the application says that the run belongs to: a user, a tenant.
    """

    saga_id: str
    saga_name: str
    context: str = field(repr=False)
    fingerprint: str = field(repr=False)
    correlation_id: str | None = None
    not_before: datetime | None = None
    lease_owner: str | None = None
    fresh: bool = False
    first_steps: tuple[FirstStep, ...] = ()
    deadline: datetime | float | None = None
    owner: str | None = None


@record
class Inserted:
    """What became of a `NewRun`: ``created``, or a row with this saga_id was there already (and was left as it is).

    ``fingerprint`` and ``owner`` are those of the row.
    ``recognised`` tells that the answer of its creation was lost, and that the row is as it was to be made.
    """

    saga_id: str
    created: bool
    fingerprint: str = field(repr=False)
    recognised: bool = False
    owner: str | None = None


@record
class StepWrite:
    """One journal entry; (saga_id, step, phase) is its key, a later entry replaces the status of an earlier one.

    ``started`` sets started_at and attempt and clears result, error and finished_at; every other status sets
    finished_at and leaves started_at. ``compensated`` tells of a ``started`` step (not of a compensation) that it has a
    compensation now, when it is called; every other entry leaves what was noted.
    """

    step: str
    phase: Phase
    status: StepStatus
    result: str | None = field(default=None, repr=False)
    error: str | None = None
    compensated: bool = False


@record
class Release:
    """Gives a lease back, so that any worker may claim the run after ``delay`` seconds.

    ``failed`` adds one to failures. An ``executing`` run becomes ``pending``; ``compensating`` stays. ``detail`` tells
    why, in the record of this attempt.

    With ``waits`` the run becomes ``waiting``, and is due when the first of its open waits ends: at once if a signal
    for one is there, by its time, or by the signal that comes; with ``by_deadline``, at the run's deadline at the
    latest. No record is made of the attempt.
    """

    delay: float = 0.0
    failed: bool = False
    detail: str | None = None
    waits: bool = False
    by_deadline: bool = False


@record
class RunWrite:
    """Everything that one run wants recorded together, or not at all.

    It takes effect only while the row still has this ``owner`` and ``attempt``. ``status`` replaces the run's
    status; one of `FINISHED` also sets finished_at and drops the lease, and ``compensating`` turns the direction to
    ``back``. ``error`` replaces the run's error when it is not None. At most one of a finished ``status`` and
    ``release`` is given. A ``done`` entry is progress, and so is a ``waiting`` one: it clears failures and suspicions.
    ``waits`` are registered; those of the calls in ``left_waits`` are deleted, whether they are open or not, of the
    calls in ``missed_waits`` those whose signal did not come in time, or was another run's, and with ``stops_waiting``
    all that are open.
    """

    saga_id: str
    owner: str
    attempt: int
    steps: tuple[StepWrite, ...] = ()
    events: tuple[EventWrite, ...] = ()
    status: RunStatus | None = None
    error: str | None = None
    release: Release | None = None
    waits: tuple[WaitWrite, ...] = ()
    left_waits: tuple[Call, ...] = ()
    missed_waits: tuple[Call, ...] = ()
    stops_waiting: bool = False

    @property
    def progress(self) -> bool:
        """Whether the run has got further by this."""
        return any(step.status in ("done", "waiting") for step in self.steps)


@record
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
    compensated: bool = False


@record
class ClaimedRun:
    """A run that this process now holds under a lease, with its journal so far (in the order of its steps' start).

    ``begun`` are the steps that were journaled as ``started`` in this attempt, together with the lease. An entry in
    ``steps`` that is ``started`` in this attempt is of a call that goes on after a wait, and that was not called yet.
    ``after_death`` tells that the attempt before this one gave no end of its own: its lease ended. ``alone`` runs are
    executed with nothing beside them. ``waits`` are those that its calls have registered, in that order; the claim has
    given an outcome to those that are over, and has taken their signals: at most one of a name at a time.
    ``deadline_in`` are the seconds that are left until its deadline, by the store's clock; None without one.
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
    direction: Direction = "forward"
    version: int = 1
    suspicions: int = 0
    alone: bool = False
    after_death: bool = False
    waits: tuple[WaitRecord, ...] = ()
    deadline_in: float | None = None


def begun_by_claim(saga_name: str, attempt: int, first_steps: FirstSteps) -> tuple[FirstStep, ...]:
    """Return the steps that are journaled together with the claim that made this attempt: those of a first one."""
    return tuple(first_steps.get(saga_name, ())) if attempt == 1 else ()


def resumed_by_claim(waits: Iterable[WaitRecord], attempt: int, direction: Direction) -> set[Call]:
    """Return the calls that go on with this attempt: a wait of theirs ended with its claim, and they are still wanted.

    A store journals those of them that are ``waiting`` as ``started`` together with the claim.
    """
    is_back = direction == "back"
    return {(wait.step, wait.phase) for wait in waits if wait.attempt == attempt and (wait.phase == "undo") == is_back}


@record
class Renewal:
    """What became of leases that were to be renewed, by saga_id.

    ``locked`` are rows that another transaction has locked: neither renewed nor lost. What is in neither set is held
    no more.
    """

    held: set[str]
    locked: set[str]


@record
class RunRecord:
    """One row of ``sagaz_run``; datetimes are aware, in UTC.

    ``version`` grows by every change but a renewal. ``leased_at`` is when the present or last lease was taken.
    ``suspicions`` counts deaths of processes that executed other runs too; ``alone`` keeps such a run to itself.
    After ``deadline`` it does not go forward any more, unless it has passed a pivot. ``owner`` is whom it belongs to,
    as its start said, for ever.
    """

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
    direction: Direction = "forward"
    version: int = 1
    leased_at: datetime | None = None
    suspicions: int = 0
    alone: bool = False
    deadline: datetime | None = None
    owner: str | None = None
