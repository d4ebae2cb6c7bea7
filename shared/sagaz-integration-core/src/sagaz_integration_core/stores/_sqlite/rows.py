"""How records and times are kept in SQLite's rows, and read from them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sagaz_integration_core.outbox import OutboxRecord
from sagaz_integration_core.records import AuditRecord, NewRun, Phase, RunRecord, RunWrite, StepRecord, StepWrite

__all__ = [
    "after",
    "audit_record",
    "event_record",
    "new_run_row",
    "now",
    "run_record",
    "stamp",
    "started_row",
    "step_record",
    "step_row",
    "when",
]

Row = tuple[Any, ...]


def now() -> datetime:
    """Return this machine's time, which every process on an SQLite file shares."""
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    """Return a time as text that sorts as it reads, in the form that Django gives its own on SQLite."""
    return moment.astimezone(UTC).isoformat(" ", "microseconds")[:26]


def after(moment: datetime, seconds: float) -> str:
    """Return the text of the time that many seconds later."""
    return stamp(moment + timedelta(seconds=seconds))


def when(value: str | datetime | None) -> datetime | None:
    """Read a time, or none; a connection of Django's has made a datetime of it."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return None if moment is None else moment.replace(tzinfo=UTC)


def new_run_row(run: NewRun, moment: datetime, lease_seconds: float) -> dict[str, Any]:
    """Return the parameters that insert a run, leased when it has an owner."""
    leased = run.owner is not None
    expires = after(moment, lease_seconds) if leased else None
    due = stamp(moment if run.not_before is None else run.not_before)
    return {
        "saga_id": run.saga_id,
        "saga_name": run.saga_name,
        "status": "executing" if leased else "pending",
        "context": run.context,
        "correlation_id": run.correlation_id,
        "attempt": int(leased),
        "owner": run.owner,
        "expires": expires,
        "available": expires or due,
        "now": stamp(moment),
        "fingerprint": run.fingerprint,
    }


def started_row(saga_id: str, step: str, phase: Phase, attempt: int, now: str) -> Row:
    """Return the parameters that insert or replace the journal entry of a step that is about to be called."""
    return (saga_id, step, phase, "started", None, None, attempt, now, None)


def step_row(write: RunWrite, step: StepWrite, now: str) -> Row:
    """Return the parameters that insert or replace a journal entry."""
    if step.status == "started":
        return started_row(write.saga_id, step.step, step.phase, write.attempt, now)
    return (write.saga_id, step.step, step.phase, step.status, step.result, step.error, write.attempt, None, now)


def run_record(row: Row) -> RunRecord:
    """Read a row of ``sagaz_run``."""
    return RunRecord(*_with_times(row, 9, 14))


def step_record(row: Row) -> StepRecord:
    """Read a row of ``sagaz_step``."""
    return StepRecord(*_with_times(row, 7, 9))


def event_record(row: Row) -> OutboxRecord:
    """Read a row of ``sagaz_outbox``."""
    return OutboxRecord(*_with_times(row, 9, 12))


def audit_record(row: Row) -> AuditRecord:
    """Read a row of ``sagaz_audit``, but for its number."""
    return AuditRecord(*_with_times(row, 6, 7))


def _with_times(row: Row, first: int, end: int) -> list[Any]:
    return [*row[:first], *map(when, row[first:end]), *row[end:]]
