"""What is asked about runs, by people and by health checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime

from sagaz_durable.stores.memory.rows import Rows
from sagaz_integration_core.contract.decisions import AuditRecord
from sagaz_integration_core.contract.listings import AttemptRecord, RunFilter, StoreStats, WorkerRecord
from sagaz_integration_core.contract.records import ACTIVE, FINISHED, RunRecord, RunStatus, StepRecord

__all__ = ["find", "live_workers", "load", "load_attempts", "load_audit", "load_steps", "stats", "statuses"]


def load(rows: Rows, saga_id: str) -> RunRecord | None:
    """Return one run."""
    return rows.runs.rows.get(saga_id)


def statuses(rows: Rows, saga_ids: Collection[str]) -> dict[str, RunStatus]:
    """Return the statuses of these runs."""
    return {saga_id: rows.runs.rows[saga_id].status for saga_id in saga_ids if saga_id in rows.runs.rows}


def load_steps(rows: Rows, saga_id: str) -> list[StepRecord]:
    """Return a run's journal in the order in which its entries were started."""
    return rows.runs.journal(saga_id)


def load_attempts(rows: Rows, saga_id: str) -> list[AttemptRecord]:
    """Return how a run's earlier attempts ended, the oldest first."""
    return rows.runs.attempts(saga_id)


def load_audit(rows: Rows, saga_id: str) -> list[AuditRecord]:
    """Return what people have decided about a run, the oldest first."""
    return sorted([*rows.runs.audit(saga_id), *rows.waits.notes(saga_id)], key=lambda note: note.at)


def find(rows: Rows, query: RunFilter) -> list[RunRecord]:
    """Return the runs that match, the newest first."""
    return rows.runs.find(query)


def live_workers(rows: Rows) -> list[WorkerRecord]:
    """Return the processes that are alive."""
    return sorted(rows.living(datetime.now(UTC)).values(), key=lambda worker: worker.name)


def stats(rows: Rows) -> StoreStats:
    """Return the figures for a health check."""
    moment = datetime.now(UTC)
    counts: dict[RunStatus, int] = dict.fromkeys((*ACTIVE, *FINISHED), 0)
    counts.update(Counter(row.status for row in rows.runs.rows.values()))
    due, oldest = rows.runs.count_due(moment)
    age = None if oldest is None else (moment - oldest).total_seconds()
    dead, first = rows.outbox.count_waiting()
    unsent_age = None if first is None else (moment - first).total_seconds()
    live = sum(worker.kind != "web" for worker in rows.living(moment).values())
    overdue = sum(
        row.deadline is not None and row.deadline < moment and row.status in ACTIVE for row in rows.runs.rows.values()
    )
    untaken = rows.waits.count_untaken()
    asking = rows.waits.count_asking()
    return StoreStats(counts, sum(due.values()), age, live, dead, unsent_age, due, untaken, overdue, asking)
