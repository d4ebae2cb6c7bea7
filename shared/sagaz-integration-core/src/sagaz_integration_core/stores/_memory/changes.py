"""What a claim, a write or a journal entry makes of a record; records never change, they are replaced."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import cast

from sagaz_integration_core.records import (
    ACTIVE,
    FINISHED,
    AuditRecord,
    ClaimedRun,
    Intervention,
    NewRun,
    Phase,
    Release,
    RunRecord,
    RunStatus,
    RunWrite,
    StepRecord,
    StepWrite,
)

__all__ = [
    "audited",
    "claimed",
    "entered",
    "foreign",
    "inserted",
    "intervened",
    "is_held",
    "leased",
    "prolonged",
    "started",
    "written",
]


def inserted(run: NewRun, moment: datetime, lease_seconds: float) -> RunRecord:
    """Return the record of a new run, leased when it has an owner."""
    leased = run.owner is not None
    expires = moment + timedelta(seconds=lease_seconds) if leased else None
    return RunRecord(
        saga_id=run.saga_id,
        saga_name=run.saga_name,
        status="executing" if leased else "pending",
        context=run.context,
        error=None,
        correlation_id=run.correlation_id,
        attempt=int(leased),
        failures=0,
        lease_owner=run.owner,
        lease_expires_at=expires,
        available_at=expires or run.not_before or moment,
        created_at=moment,
        updated_at=moment,
        finished_at=None,
        fingerprint=run.fingerprint,
    )


def leased(row: RunRecord, owner: str, moment: datetime, lease_seconds: float) -> RunRecord:
    """Return the record of a due run as its new owner's."""
    expires = moment + timedelta(seconds=lease_seconds)
    return replace(
        row,
        status="executing" if row.status == "pending" else row.status,
        attempt=row.attempt + 1,
        # A lease that is still there has ended without a release.
        failures=row.failures + (row.lease_owner is not None),
        lease_owner=owner,
        lease_expires_at=expires,
        available_at=expires,
        updated_at=moment,
    )


def prolonged(row: RunRecord, moment: datetime, lease_seconds: float) -> RunRecord:
    """Return the record with a later end of its lease."""
    expires = moment + timedelta(seconds=lease_seconds)
    return replace(row, lease_expires_at=expires, available_at=expires)


def claimed(row: RunRecord, steps: Iterable[StepRecord], begun: Sequence[str]) -> ClaimedRun:
    """Return what its new owner learns of a run."""
    return ClaimedRun(
        row.saga_id,
        row.saga_name,
        row.status,
        row.context,
        row.error,
        row.correlation_id,
        row.attempt,
        row.failures,
        tuple(steps),
        tuple(begun),
    )


def is_held(row: RunRecord, owner: str, attempt: int) -> bool:
    """Whether the run is still this owner's in this attempt."""
    return row.lease_owner == owner and row.attempt == attempt and row.status in ACTIVE


def written(row: RunRecord, write: RunWrite, moment: datetime) -> RunRecord:
    """Return the record after a write; the very same one when the write has journal entries only."""
    if write.status is None and write.error is None and write.release is None:
        return row
    row = replace(
        row,
        status=write.status or row.status,
        error=row.error if write.error is None else write.error,
        updated_at=moment,
    )
    if row.status in FINISHED:
        return replace(row, lease_owner=None, lease_expires_at=None, available_at=None, finished_at=moment)
    return row if write.release is None else _released(row, write.release, moment)


def started(saga_id: str, step: str, phase: Phase, attempt: int, moment: datetime) -> StepRecord:
    """Return the journal entry of a step that is about to be called."""
    return StepRecord(saga_id, step, phase, "started", None, None, attempt, moment, None)


def entered(old: StepRecord | None, write: RunWrite, step: StepWrite, moment: datetime) -> StepRecord:
    """Return the journal entry that a write makes of an older one, or of none."""
    key = (write.saga_id, step.step, step.phase)
    if step.status == "started":
        return started(*key, write.attempt, moment)
    attempt, started_at = (write.attempt, None) if old is None else (old.attempt, old.started_at)
    return StepRecord(*key, step.status, step.result, step.error, attempt, started_at, moment)


def intervened(row: RunRecord, change: Intervention, moment: datetime) -> RunRecord:
    """Return the record after a person's decision."""
    ends = change.status in FINISHED
    return replace(
        row,
        status=change.status,
        attempt=row.attempt + 1,
        failures=0,
        error=row.error if change.error is None else change.error,
        lease_owner=None,
        lease_expires_at=None,
        available_at=None if ends else max(moment, row.lease_expires_at or moment),
        updated_at=moment,
        finished_at=moment if ends else None,
    )


def audited(change: Intervention, moment: datetime) -> AuditRecord:
    """Return the note of a person's decision."""
    return AuditRecord(change.saga_id, change.action, change.actor, change.reason, change.found, change.status, moment)


def foreign(new: NewRun, status: str, old: RunRecord | None, moment: datetime) -> RunRecord:
    """Return the record of a row of sagaz's own engine, which keeps the time when it was first seen."""
    row = old or replace(inserted(new, moment, 0), available_at=None)
    return replace(
        row,
        saga_name=new.saga_name,
        status=cast(RunStatus, status),
        context=new.context,
        correlation_id=new.correlation_id or row.correlation_id,
        updated_at=moment,
        finished_at=moment if status in FINISHED else None,
    )


def _released(row: RunRecord, release: Release, moment: datetime) -> RunRecord:
    return replace(
        row,
        status="pending" if row.status == "executing" else row.status,
        failures=row.failures + release.failed,
        lease_owner=None,
        lease_expires_at=None,
        available_at=moment + timedelta(seconds=release.delay),
    )
