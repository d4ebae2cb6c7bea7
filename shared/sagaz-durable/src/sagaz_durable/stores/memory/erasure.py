"""The erasure of what ended runs were given and have returned; their journals stay."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from sagaz_durable.stores.memory import request_keys, webhooks
from sagaz_durable.stores.memory.outbox import Outbox
from sagaz_durable.stores.memory.rows import Rows
from sagaz_integration_core.contract.decisions import AuditRecord, Erasure
from sagaz_integration_core.contract.records import ERASED, FOREIGN, RunRecord, erased_as

__all__ = ["count_erasable", "erase"]


def count_erasable(rows: Rows, erasure: Erasure) -> int:
    """Return how many runs an erasure means."""
    return len(_erasable(rows, erasure))


def erase(rows: Rows, erasure: Erasure, limit: int) -> int:
    """Erase at most ``limit`` runs; return how many."""
    chosen, moment, runs = _erasable(rows, erasure)[:limit], datetime.now(UTC), rows.runs
    for saga_id in chosen:
        row = runs.rows[saga_id]
        runs.put(
            replace(
                row,
                context="{}",
                fingerprint=ERASED + row.status,
                attempt=row.attempt + 1,
                version=row.version + 1,
                updated_at=moment,
            )
        )
        runs.forget_results(saga_id)
        rows.outbox.empty_sent(saga_id)
        webhooks.erase(rows, saga_id)
        rows.waits.erase(saga_id)
        request_keys.erase(rows, saga_id)
        runs.note(AuditRecord(saga_id, "erase", erasure.actor, erasure.reason, row.status, row.status, moment))
    return len(chosen)


def _erasable(rows: Rows, erasure: Erasure) -> list[str]:
    """Return the runs that are meant, those first that ended first."""
    ended = rows.runs.ended(erasure.before or datetime.max.replace(tzinfo=UTC), erasure.statuses)
    return [saga_id for saga_id in ended if _is_meant(rows.runs.rows[saga_id], rows.outbox, erasure)]


def _is_meant(row: RunRecord, outbox: Outbox, erasure: Erasure) -> bool:
    return (
        (erasure.saga_ids is None or row.saga_id in erasure.saga_ids)
        and row.fingerprint != FOREIGN
        and erased_as(row.fingerprint) is None
        and not outbox.has_unsent(row.saga_id)
    )
