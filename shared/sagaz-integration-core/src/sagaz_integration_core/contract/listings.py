"""What people and probes are told of runs and workers."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime
from typing import Literal

from sagaz_integration_core.contract.record import record
from sagaz_integration_core.contract.records import AttemptOutcome, RunStatus

__all__ = ["AttemptRecord", "RunFilter", "StoreStats", "WorkerKind", "WorkerRecord"]

WorkerKind = Literal["worker", "embedded", "web", "sweep"]
"""``worker``: a worker command; ``embedded``: a worker in a process that serves requests, too; ``web``: such a process
without one, which executes runs of its own; ``sweep``: Celery's."""


@record
class AttemptRecord:
    """One row of ``sagaz_attempt``: an attempt that ended other than by the run's completion or rollback.

    ``owner`` had it from ``began_at`` to ``ended_at`` (aware datetimes in UTC). ``under_way`` names the steps that were
    journaled as started then, ``undo of`` before a compensation's, with commas in between; None for none.
    """

    saga_id: str
    attempt: int
    owner: str
    began_at: datetime
    ended_at: datetime
    outcome: AttemptOutcome
    detail: str | None
    under_way: str | None


@record
class WorkerRecord:
    """One row of ``sagaz_worker``: a process that lives, and the sagas that it knows; ``alive_until`` is aware."""

    name: str
    kind: WorkerKind
    sagas: tuple[str, ...]
    alive_until: datetime


@record
class RunFilter:
    """Which runs to list, newest first; ``before`` is the created_at and saga_id of the last one of the page before."""

    statuses: tuple[RunStatus, ...] = ()
    saga_name: str | None = None
    correlation_id: str | None = None
    owner: str | None = None
    limit: int = 50
    before: tuple[datetime, str] | None = None


@record
class StoreStats:
    """Figures for health checks; ages in seconds, by the store's clock.

    ``dead_events`` were set aside; ``oldest_unsent_age`` is that of the event which has waited longest to be sent.
    ``due_by_saga`` has the sagas of which runs are due, and how many. Processes of kind ``web`` are not counted as
    ``live_workers``. ``overdue`` runs have not ended although their deadline has passed. ``asking`` runs wait for a
    person to decide about a step.
    """

    counts: dict[RunStatus, int]
    due: int
    oldest_due_age: float | None
    live_workers: int
    dead_events: int = 0
    oldest_unsent_age: float | None = None
    due_by_saga: dict[str, int] = field(default_factory=dict)
    untaken_signals: int = 0
    overdue: int = 0
    asking: int = 0
