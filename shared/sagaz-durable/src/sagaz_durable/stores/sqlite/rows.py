"""How records and times are kept in SQLite's rows, and read from them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from sagaz_integration_core.contract.decisions import AuditRecord
from sagaz_integration_core.contract.events import OutboxRecord
from sagaz_integration_core.contract.listings import AttemptRecord, WorkerRecord
from sagaz_integration_core.contract.records import FirstStep, NewRun, RunRecord, RunWrite, StepRecord, StepWrite

__all__ = [
    "after",
    "attempt_record",
    "audit_record",
    "begun_rows",
    "deadline_of",
    "event_record",
    "new_run_row",
    "now",
    "run_record",
    "stamp",
    "step_record",
    "step_row",
    "when",
    "worker_record",
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
    leased = run.lease_owner is not None
    expires = after(moment, lease_seconds) if leased else None
    due = stamp(moment if run.not_before is None else run.not_before)
    return {
        "saga_id": run.saga_id,
        "saga_name": run.saga_name,
        "status": "executing" if leased else "pending",
        "context": run.context,
        "correlation_id": run.correlation_id,
        "attempt": int(leased),
        "lease_owner": run.lease_owner,
        "expires": expires,
        "available": expires or due,
        "now": stamp(moment),
        "leased_at": stamp(moment) if leased else None,
        "fingerprint": run.fingerprint,
        "deadline": deadline_of(run, moment),
        "owner": run.owner,
    }


def deadline_of(run: NewRun, moment: datetime) -> str | None:
    """Return the text of a new run's deadline."""
    if run.deadline is None:
        return None
    return stamp(run.deadline) if isinstance(run.deadline, datetime) else after(moment, run.deadline)


def begun_rows(saga_id: str, steps: Iterable[FirstStep], now: str) -> list[Row]:
    """Return the parameters that insert the journal entries of the steps with which a run begins."""
    return [(saga_id, step.name, "do", "started", None, None, 1, now, None, step.compensated) for step in steps]


def step_row(write: RunWrite, step: StepWrite, now: str) -> Row:
    """Return the parameters that insert or replace a journal entry."""
    key = (write.saga_id, step.step, step.phase, step.status)
    if step.status == "started":
        return (*key, None, None, write.attempt, now, None, step.compensated and step.phase == "do")
    return (*key, step.result, step.error, write.attempt, None, now, False)


def run_record(row: Row) -> RunRecord:
    """Read a row of ``sagaz_run``."""
    *values, leased_at, suspicions, alone, deadline, owner = row
    rest = (when(leased_at), suspicions, bool(alone), when(deadline), owner)
    return RunRecord(*[*_with_times(tuple(values), 9, 14), *rest])


def step_record(row: Row) -> StepRecord:
    """Read a row of ``sagaz_step``."""
    return StepRecord(*[*_with_times(row[:9], 7, 9), bool(row[9])])


def attempt_record(row: Row) -> AttemptRecord:
    """Read a row of ``sagaz_attempt``."""
    return AttemptRecord(*_with_times(row, 3, 5))


def worker_record(row: Row) -> WorkerRecord:
    """Read a row of ``sagaz_worker``."""
    name, kind, sagas, alive_until = row
    return WorkerRecord(
        name, kind, tuple(json.loads(sagas)), datetime.fromisoformat(str(alive_until)).replace(tzinfo=UTC)
    )


def event_record(row: Row) -> OutboxRecord:
    """Read a row of ``sagaz_outbox``."""
    return OutboxRecord(*_with_times(row, 9, 12))


def audit_record(row: Row) -> AuditRecord:
    """Read a row of ``sagaz_audit``, but for its number."""
    return AuditRecord(*_with_times(row, 6, 7))


def _with_times(row: Row, first: int, end: int) -> list[Any]:
    return [*row[:first], *map(when, row[first:end]), *row[end:]]
