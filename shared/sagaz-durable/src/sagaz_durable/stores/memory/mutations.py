"""What a claim, a write or a journal entry makes of a record; records never change, they are replaced."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import cast

from sagaz_durable.stores.ended_leases import ALONE_FROM, executed_as, under_way
from sagaz_integration_core.contract.decisions import AuditRecord, Intervention
from sagaz_integration_core.contract.listings import AttemptRecord
from sagaz_integration_core.contract.records import (
    ACTIVE,
    FINISHED,
    AttemptOutcome,
    ClaimedRun,
    Direction,
    FirstStep,
    NewRun,
    Phase,
    Release,
    RunRecord,
    RunStatus,
    RunWrite,
    StepRecord,
    StepWrite,
)
from sagaz_integration_core.contract.waits import WaitRecord

__all__ = [
    "attempted",
    "audited",
    "begun",
    "claimed",
    "entered",
    "foreign",
    "inserted",
    "intervened",
    "is_held",
    "leased",
    "prolonged",
    "suspected",
    "written",
]

_DIRECTIONS: dict[RunStatus, Direction] = {"compensating": "back", "pending": "forward"}


def inserted(run: NewRun, moment: datetime, lease_seconds: float) -> RunRecord:
    """Return the record of a new run, leased when it has an owner."""
    leased = run.lease_owner is not None
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
        lease_owner=run.lease_owner,
        lease_expires_at=expires,
        available_at=expires or run.not_before or moment,
        created_at=moment,
        updated_at=moment,
        finished_at=None,
        fingerprint=run.fingerprint,
        leased_at=moment if leased else None,
        deadline=_deadline(run, moment),
        owner=run.owner,
    )


def _deadline(run: NewRun, moment: datetime) -> datetime | None:
    if run.deadline is None or isinstance(run.deadline, datetime):
        return run.deadline
    return moment + timedelta(seconds=run.deadline)


def leased(row: RunRecord, owner: str, moment: datetime, lease_seconds: float, *, charged: bool) -> RunRecord:
    """Return the record of a due run as its new owner's."""
    expires = moment + timedelta(seconds=lease_seconds)
    return replace(
        row,
        status=executed_as(row.status, row.direction),
        attempt=row.attempt + 1,
        failures=row.failures + charged,
        lease_owner=owner,
        lease_expires_at=expires,
        available_at=expires,
        updated_at=moment,
        version=row.version + 1,
        leased_at=moment,
    )


def suspected(row: RunRecord, moment: datetime, delay: float) -> RunRecord:
    """Return the record of a run whose owner died while it had several."""
    return replace(
        _released(row, Release(delay), moment),
        updated_at=moment,
        version=row.version + 1,
        suspicions=row.suspicions + 1,
        alone=row.suspicions + 1 >= ALONE_FROM,
    )


def prolonged(row: RunRecord, moment: datetime, lease_seconds: float) -> RunRecord:
    """Return the record with a later end of its lease."""
    expires = moment + timedelta(seconds=lease_seconds)
    return replace(row, lease_expires_at=expires, available_at=expires)


def claimed(
    row: RunRecord,
    steps: Iterable[StepRecord],
    begun: Sequence[FirstStep],
    waits: tuple[WaitRecord, ...],
    *,
    after_death: bool,
) -> ClaimedRun:
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
        tuple(step.name for step in begun),
        row.direction,
        row.version,
        row.suspicions,
        row.alone,
        after_death,
        waits,
        None if row.deadline is None else (row.deadline - row.updated_at).total_seconds(),
    )


def is_held(row: RunRecord, owner: str, attempt: int) -> bool:
    """Whether the run is still this owner's in this attempt."""
    return row.lease_owner == owner and row.attempt == attempt and row.status in ACTIVE


def written(row: RunRecord, write: RunWrite, moment: datetime, wait_ends_at: datetime | None) -> RunRecord:
    """Return the record after a write; one that waits is due when the first of its waits ends."""
    progress = write.progress
    row = replace(
        row,
        status=write.status or row.status,
        error=row.error if write.error is None else write.error,
        direction="back" if write.status == "compensating" else row.direction,
        updated_at=moment,
        version=row.version + 1,
        failures=0 if progress else row.failures,
        suspicions=0 if progress else row.suspicions,
        alone=row.alone and not progress,
    )
    if row.status in FINISHED:
        return replace(row, lease_owner=None, lease_expires_at=None, available_at=None, finished_at=moment)
    if write.release is None:
        return row
    row = _released(row, write.release, moment)
    if not write.release.waits:
        return row
    ends = [wait_ends_at, row.deadline if write.release.by_deadline else None]
    return replace(row, status="waiting", available_at=min((one for one in ends if one is not None), default=None))


def begun(row: RunRecord, step: FirstStep) -> StepRecord:
    """Return the journal entry of a step with which a run begins."""
    write = StepWrite(step.name, "do", "started", compensated=step.compensated)
    return entered(None, row.saga_id, row.attempt, write, row.updated_at)


def entered(old: StepRecord | None, saga_id: str, attempt: int, step: StepWrite, moment: datetime) -> StepRecord:
    """Return the journal entry that a write makes of an older one, or of none."""
    key = (saga_id, step.step, step.phase)
    if step.status == "started":
        return StepRecord(*key, "started", None, None, attempt, moment, None, step.compensated and step.phase == "do")
    if old is None:
        return StepRecord(*key, step.status, step.result, step.error, attempt, None, moment)
    return replace(old, status=step.status, result=step.result, error=step.error, finished_at=moment)


def attempted(
    row: RunRecord,
    steps: Iterable[StepRecord],
    outcome: AttemptOutcome,
    detail: str | None,
    ended_at: datetime | None,
) -> AttemptRecord:
    """Return the record of the attempt that a leased run was in."""
    began_at = row.leased_at or row.created_at
    started: list[tuple[str, Phase]] = [(step.step, step.phase) for step in steps if step.status == "started"]
    return AttemptRecord(
        row.saga_id, row.attempt, row.lease_owner or "", began_at, ended_at or began_at, outcome, detail,
        under_way(started),
    )  # fmt: skip


def intervened(row: RunRecord, change: Intervention, moment: datetime) -> RunRecord:
    """Return the record after a person's decision."""
    ends = change.status in FINISHED
    return replace(
        row,
        status=change.status,
        attempt=row.attempt + 1,
        failures=0,
        suspicions=0,
        alone=False,
        version=row.version + 1,
        direction=_DIRECTIONS.get(change.status, row.direction),
        error=row.error if change.error is None and change.action != "retry" else change.error,
        deadline=None if change.action == "retry" else row.deadline,
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
