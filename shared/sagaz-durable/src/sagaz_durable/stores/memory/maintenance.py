"""What keeps a store in order: workers' signs of life, decisions, rows of sagaz's own engine, and removals."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

from sagaz_durable.stores.ended_leases import decision
from sagaz_durable.stores.memory import mutations as changes
from sagaz_durable.stores.memory.rows import Rows
from sagaz_integration_core.contract.decisions import Intervention
from sagaz_integration_core.contract.events import of_run
from sagaz_integration_core.contract.listings import WorkerKind, WorkerRecord
from sagaz_integration_core.contract.records import ACTIVE, FINISHED, FOREIGN, NewRun, RunStatus

__all__ = ["count_prunable", "delete", "heartbeat", "intervene", "prune", "save_foreign"]


def heartbeat(
    rows: Rows, worker: str, seconds: float, kind: WorkerKind = "worker", sagas: Collection[str] = ()
) -> None:
    """Note until when a process is alive, and forget those that are not."""
    moment = datetime.now(UTC)
    rows.workers[worker] = WorkerRecord(worker, kind, tuple(sorted(sagas)), moment + timedelta(seconds=seconds))
    rows.workers = rows.living(moment)


def intervene(rows: Rows, change: Intervention) -> bool:
    """Carry out a decision and note it; False when the run has changed meanwhile."""
    row = rows.runs.rows.get(change.saga_id)
    expected = (change.attempt, change.found)
    if row is None or (row.attempt, row.status) != expected or row.fingerprint == FOREIGN:
        return False
    if change.version not in (None, row.version):
        return False
    moment = datetime.now(UTC)
    if row.lease_owner is not None:
        rows.end_attempt(row, "decided", decision(change), moment)
    if change.turns_back:
        rows.runs.forget_failed_undos(row.saga_id)
    if change.status == "waiting":
        rows.waits.end_timers(row.saga_id, moment)
    elif change.turns_back:
        rows.waits.forget(row.saga_id, but="undo")
    elif change.status in FINISHED:
        rows.waits.forget(row.saga_id)
    for event in change.events:
        rows.outbox.add(of_run(row.saga_id, event, row.created_at), moment)
    rows.runs.note(changes.audited(change, moment))
    rows.put(changes.intervened(row, change, moment))
    return True


def save_foreign(
    rows: Rows, saga_id: str, saga_name: str, status: str, context: str, correlation_id: str | None
) -> bool:
    """Insert or update a row of sagaz's own engine; False when a run of ours has this saga_id."""
    old = rows.runs.rows.get(saga_id)
    if old is not None and old.fingerprint != FOREIGN:
        return False
    new = NewRun(saga_id, saga_name, context, FOREIGN, correlation_id)
    rows.put(changes.foreign(new, status, old, datetime.now(UTC)))
    return True


def delete(rows: Rows, saga_id: str) -> bool:
    """Delete a finished or foreign run with its journal; its events stay until they are sent."""
    row = rows.runs.rows.get(saga_id)
    if row is None or (row.status in ACTIVE and row.fingerprint != FOREIGN):
        return False
    rows.remove(saga_id)
    return True


def prune(rows: Rows, older_than: datetime, statuses: Sequence[RunStatus], limit: int) -> int:
    """Delete runs that ended before ``older_than``, those first that ended first."""
    old = rows.runs.ended(older_than, statuses)[:limit]
    for saga_id in old:
        rows.remove(saga_id)
    return len(old)


def count_prunable(rows: Rows, older_than: datetime, statuses: Sequence[RunStatus]) -> int:
    """Return how many runs ended before ``older_than``."""
    return len(rows.runs.ended(older_than, statuses))
