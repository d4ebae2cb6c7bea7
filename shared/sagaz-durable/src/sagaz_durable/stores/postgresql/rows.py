"""How records are read from PostgreSQL's rows, and given to its statements."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

from sagaz_durable.stores.postgresql.database.statements import Row
from sagaz_durable.stores.postgresql.sql import INSERT_FRESH, INSERT_MANY, INSERT_ONE
from sagaz_integration_core.contract.decisions import AuditRecord
from sagaz_integration_core.contract.events import OutboxRecord
from sagaz_integration_core.contract.listings import AttemptRecord, WorkerRecord
from sagaz_integration_core.contract.records import (
    ClaimedRun,
    FirstSteps,
    NewRun,
    RunRecord,
    StepRecord,
    begun_by_claim,
)
from sagaz_integration_core.contract.waits import WaitRecord

__all__ = [
    "Journal",
    "attempt_record",
    "audit_record",
    "claimed_run",
    "event_record",
    "insertion",
    "journal_in",
    "run_record",
    "step_record",
    "worker_record",
]


Journal: TypeAlias = tuple[list[StepRecord], list[WaitRecord]]


def insertion(
    runs: Sequence[NewRun], lease_seconds: float, *, once: bool = False
) -> tuple[str, tuple[str | None, ...]]:
    """Return the statement that inserts these runs, and its values: all are texts, which every driver passes alike.

    Args:
        once: It is not sent again when its connection breaks, as an earlier try may have been committed.
    """
    first = runs[0]
    if len(runs) == 1 and first.lease_owner is None and first.not_before is None and first.deadline is None:
        statement = INSERT_FRESH if once and first.fresh else INSERT_ONE
        return statement, (
            first.saga_id, first.saga_name, first.context, first.correlation_id, first.fingerprint, first.owner,
        )  # fmt: skip
    return INSERT_MANY, (json.dumps(_new_run_rows(runs, lease_seconds), ensure_ascii=False),)


def _new_run_rows(runs: Sequence[NewRun], lease_seconds: float) -> list[dict[str, Any]]:
    # In the order of the ids, so that no two callers wait for each other.
    return [
        {
            "saga_id": run.saga_id,
            "saga_name": run.saga_name,
            "context": run.context,
            "correlation_id": run.correlation_id,
            "not_before": _time(run.not_before),
            "lease_owner": run.lease_owner,
            "lease_seconds": None if run.lease_owner is None else lease_seconds,
            "fingerprint": run.fingerprint,
            "owner": run.owner,
            "first_steps": run.first_steps,
            **_deadline(run),
        }
        for run in sorted(runs, key=lambda run: run.saga_id)
    ]


def _deadline(run: NewRun) -> dict[str, Any]:
    if run.deadline is None or isinstance(run.deadline, datetime):
        return {"deadline": _time(run.deadline)}
    return {"deadline_seconds": run.deadline}


def claimed_run(row: Row, journal: Journal, first_steps: FirstSteps) -> ClaimedRun:
    """Read a row that a claim returns."""
    steps, waits = journal
    begun = tuple(step.name for step in begun_by_claim(row[1], row[6], first_steps))
    values: Row = (*row[:8], tuple(steps), begun, *row[8:12], row[13], tuple(waits), row[12])
    return ClaimedRun(*values)


def journal_in(saga_id: str, text: str) -> Journal:
    """Read the journal and the waits that a claim returns as JSON."""
    steps, waits = json.loads(text)
    return [_step_in(saga_id, *step) for step in steps or ()], [_wait_in(saga_id, *wait) for wait in waits or ()]


def _step_in(*row: Any) -> StepRecord:
    values: Row = (*row[:7], _read_time(row[7]), _read_time(row[8]), row[9])
    return StepRecord(*values)


def _wait_in(*row: Any) -> WaitRecord:
    values: Row = (*row[:6], _read_time(row[6]), _read_time(row[7]), *row[8:])
    return WaitRecord(*values)


def run_record(row: Row) -> RunRecord:
    """Read a row of ``sagaz_run``."""
    leased_at, suspicions, alone, deadline, owner = row[17:]
    times = map(_utc, row[9:14])
    values: Row = (*row[:9], *times, *row[14:17], _utc(leased_at), suspicions, alone, _utc(deadline), owner)
    return RunRecord(*values)


def step_record(row: Row) -> StepRecord:
    """Read a row of ``sagaz_step``."""
    values: Row = (*row[:7], _utc(row[7]), _utc(row[8]), row[9])
    return StepRecord(*values)


def attempt_record(row: Row) -> AttemptRecord:
    """Read a row of ``sagaz_attempt``."""
    values: Row = (*row[:3], row[3].astimezone(UTC), row[4].astimezone(UTC), *row[5:])
    return AttemptRecord(*values)


def worker_record(row: Row) -> WorkerRecord:
    """Read a row of ``sagaz_worker``, its sagas as an array of texts."""
    name, kind, sagas, alive_until = row
    return WorkerRecord(name, kind, tuple(sagas), alive_until.astimezone(UTC))


def event_record(row: Row) -> OutboxRecord:
    """Read a row of ``sagaz_outbox``."""
    return OutboxRecord(*row[:9], *(_utc(moment) for moment in row[9:]))


def audit_record(row: Row) -> AuditRecord:
    """Read a row of ``sagaz_audit``, but for its number."""
    values: Row = (*row[:6], row[6].astimezone(UTC))
    return AuditRecord(*values)


def _utc(moment: datetime | None) -> datetime | None:
    """Psycopg gives times in the session's time zone, which belongs to the user's configuration."""
    return None if moment is None else moment.astimezone(UTC)


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _read_time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
