"""Runs are deleted, or lose what they were given and have returned."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from file_store import request_keys, signals, webhooks
from file_store.outbox import empty_sent, forget_sent, has_unsent
from file_store.tables import Run, Tables, now
from sagaz_integration_core.contract.decisions import AuditRecord, Erasure
from sagaz_integration_core.contract.records import ACTIVE, ERASED, FOREIGN, RunStatus, erased_as


def delete(tables: Tables, saga_id: str) -> bool:
    run = tables.runs.get(saga_id)
    if run is None or (run.row.status in ACTIVE and run.row.fingerprint != FOREIGN):
        return False
    del tables.runs[saga_id]
    for its_id, signal in tables.signals.items():
        if saga_id in (signal.taken_by, signal.saga_id):
            tables.notes.pop(its_id, None)
    forget_sent(tables, saga_id)
    return True


def _ended(tables: Tables, before: datetime, statuses: Collection[RunStatus]) -> list[Run]:
    ended = [
        (row.finished_at, row.saga_id)
        for row in tables.rows()
        if row.status in statuses and row.finished_at is not None and row.finished_at < before
    ]
    return [tables.runs[saga_id] for _, saga_id in sorted(ended)]


def prune(tables: Tables, older_than: datetime, statuses: Sequence[RunStatus], limit: int) -> int:
    return sum(delete(tables, run.row.saga_id) for run in _ended(tables, older_than, statuses)[:limit])


def count_prunable(tables: Tables, older_than: datetime, statuses: Sequence[RunStatus]) -> int:
    return len(_ended(tables, older_than, statuses))


def _erasable(tables: Tables, erasure: Erasure) -> list[Run]:
    return [
        run
        for run in _ended(tables, erasure.before or datetime.max.replace(tzinfo=UTC), erasure.statuses)
        if (erasure.saga_ids is None or run.row.saga_id in erasure.saga_ids)
        and run.row.fingerprint != FOREIGN
        and erased_as(run.row.fingerprint) is None
        and not has_unsent(tables, run.row.saga_id)
    ]


def count_erasable(tables: Tables, erasure: Erasure) -> int:
    return len(_erasable(tables, erasure))


def erase(tables: Tables, erasure: Erasure, limit: int) -> int:
    chosen = _erasable(tables, erasure)[:limit]
    for run in chosen:
        row = run.row
        run.change(context="{}", fingerprint=ERASED + row.status, attempt=row.attempt + 1, updated_at=now())
        run.steps = {key: replace(entry, result=None) for key, entry in run.steps.items()}
        run.waits = [replace(wait, payload=None) for wait in run.waits]
        empty_sent(tables, row.saga_id)
        webhooks.erase(tables, row.saga_id)
        signals.erase(tables, row.saga_id)
        request_keys.erase(tables, row.saga_id)
        run.audit.append(
            AuditRecord(row.saga_id, "erase", erasure.actor, erasure.reason, row.status, row.status, now())
        )
    return len(chosen)
