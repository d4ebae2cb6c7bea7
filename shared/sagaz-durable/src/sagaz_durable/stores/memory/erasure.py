"""The erasure of what ended runs were given and have returned; their journals stay."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from sagaz_durable.stores.memory.outbox import Outbox
from sagaz_durable.stores.memory.runs import Runs
from sagaz_integration_core.contract.decisions import AuditRecord, Erasure
from sagaz_integration_core.contract.records import ERASED, FOREIGN, RunRecord, erased_as

__all__ = ["erasable", "erase"]


def erasable(runs: Runs, outbox: Outbox, erasure: Erasure) -> list[str]:
    """Return the runs that an erasure means, those first that ended first."""
    ended = runs.ended(erasure.before or datetime.max.replace(tzinfo=UTC), erasure.statuses)
    return [saga_id for saga_id in ended if _is_meant(runs.rows[saga_id], outbox, erasure)]


def erase(runs: Runs, outbox: Outbox, erasure: Erasure, limit: int) -> int:
    """Erase at most ``limit`` runs; return how many."""
    chosen, moment = erasable(runs, outbox, erasure)[:limit], datetime.now(UTC)
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
        outbox.empty_sent(saga_id)
        runs.note(AuditRecord(saga_id, "erase", erasure.actor, erasure.reason, row.status, row.status, moment))
    return len(chosen)


def _is_meant(row: RunRecord, outbox: Outbox, erasure: Erasure) -> bool:
    return (
        (erasure.saga_ids is None or row.saga_id in erasure.saga_ids)
        and row.fingerprint != FOREIGN
        and erased_as(row.fingerprint) is None
        and not outbox.has_unsent(row.saga_id)
    )
