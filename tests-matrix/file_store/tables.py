"""All that the file keeps, and what is asked about it."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sagaz_durable.stores.ended_leases import under_way
from sagaz_integration_core.contract.decisions import AuditRecord
from sagaz_integration_core.contract.events import OutboxRecord
from sagaz_integration_core.contract.listings import AttemptRecord, RunFilter, StoreStats, WorkerRecord
from sagaz_integration_core.contract.records import (
    ACTIVE,
    FINISHED,
    AttemptOutcome,
    RunRecord,
    RunStatus,
    StepRecord,
    StepWrite,
)
from sagaz_integration_core.contract.waits import DECISIONS, SignalRecord, WaitRecord
from sagaz_integration_core.contract.webhooks import WebhookRecord

__all__ = ["Run", "Tables", "find", "load", "load_attempts", "load_audit", "load_steps", "now", "stats", "workers"]


def now() -> datetime:
    """Return the time by this store's clock."""
    return datetime.now(UTC)


@dataclass
class Run:
    """A run's row, and what is deleted with it."""

    row: RunRecord
    steps: dict[tuple[str, str], StepRecord] = field(default_factory=dict)
    attempts: list[AttemptRecord] = field(default_factory=list)
    audit: list[AuditRecord] = field(default_factory=list)
    waits: list[WaitRecord] = field(default_factory=list)

    def change(self, **values: object) -> None:
        """Replace values of the row; unlike a renewal, this is a new version of it."""
        self.row = replace(self.row, version=self.row.version + 1, **values)  # type: ignore[arg-type]

    def enter(self, write: StepWrite, moment: datetime) -> None:
        """Insert or replace a journal entry; one that is started again moves to the end."""
        key = (write.step, write.phase)
        if write.status == "started":
            self.steps.pop(key, None)
            compensated = write.compensated and write.phase == "do"
            attempt, started_at, finished_at = self.row.attempt, moment, None
        else:
            old = self.steps.get(key)
            compensated = old is not None and old.compensated
            attempt = self.row.attempt if old is None else old.attempt
            started_at, finished_at = old and old.started_at, moment
        self.steps[key] = StepRecord(
            self.row.saga_id, *key, write.status, write.result, write.error, attempt, started_at, finished_at,
            compensated,
        )  # type: ignore[arg-type]  # fmt: skip

    def end_attempt(self, outcome: AttemptOutcome, detail: str | None, ended_at: datetime) -> None:
        """Note how the attempt ended in which the run is."""
        row, started = self.row, [(s.step, s.phase) for s in self.steps.values() if s.status == "started"]
        began_at, owner = row.leased_at or row.created_at, row.lease_owner or ""
        ended = AttemptRecord(
            row.saga_id, row.attempt, owner, began_at, ended_at, outcome, detail, under_way(started)
        )  # fmt: skip
        self.attempts.append(ended)


@dataclass
class Tables:
    """Everything; a commit writes it to the file."""

    store_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    runs: dict[str, Run] = field(default_factory=dict)
    events: dict[int, OutboxRecord] = field(default_factory=dict)
    last_event: int = 0
    workers: dict[str, WorkerRecord] = field(default_factory=dict)
    signals: dict[str, SignalRecord] = field(default_factory=dict)
    notes: dict[str, AuditRecord] = field(default_factory=dict)
    keys: dict[str, Any] = field(default_factory=dict)
    webhooks: dict[str, WebhookRecord] = field(default_factory=dict)
    webhook_notes: list[AuditRecord] = field(default_factory=list)

    def rows(self) -> Iterator[RunRecord]:
        """Yield the rows of all runs, in the order in which they were inserted."""
        return (run.row for run in self.runs.values())

    def living(self) -> list[WorkerRecord]:
        """Return the processes that are alive, by name."""
        moment = now()
        alive = [worker for worker in self.workers.values() if worker.alive_until > moment]
        return sorted(alive, key=lambda worker: worker.name)


def load(tables: Tables, saga_id: str) -> RunRecord | None:
    run = tables.runs.get(saga_id)
    return run and run.row


def load_steps(tables: Tables, saga_id: str) -> list[StepRecord]:
    return list(tables.runs[saga_id].steps.values()) if saga_id in tables.runs else []


def load_attempts(tables: Tables, saga_id: str) -> list[AttemptRecord]:
    return list(tables.runs[saga_id].attempts) if saga_id in tables.runs else []


def load_audit(tables: Tables, saga_id: str) -> list[AuditRecord]:
    """Return the notes of a run, with those of signals that it took, or was sent, before it waited or was there."""
    if saga_id not in tables.runs:
        return [note for note in tables.webhook_notes if note.saga_id == saga_id]
    mine = [its_id for its_id, one in tables.signals.items() if saga_id in (one.taken_by, one.saga_id)]
    early = [replace(tables.notes[its_id], saga_id=saga_id) for its_id in mine if its_id in tables.notes]
    return sorted([*tables.runs[saga_id].audit, *early], key=lambda note: note.at)


def workers(tables: Tables) -> list[WorkerRecord]:
    return tables.living()


def find(tables: Tables, query: RunFilter) -> list[RunRecord]:
    def age(row: RunRecord) -> tuple[datetime, str]:
        return row.created_at, row.saga_id

    found = [
        row
        for row in tables.rows()
        if (not query.statuses or row.status in query.statuses)
        and query.saga_name in (None, row.saga_name)
        and query.correlation_id in (None, row.correlation_id)
        and query.owner in (None, row.owner)
        and (query.before is None or age(row) < query.before)
    ]
    return sorted(found, key=age, reverse=True)[: query.limit]


def stats(tables: Tables) -> StoreStats:
    moment = now()
    counts: dict[RunStatus, int] = dict.fromkeys((*ACTIVE, *FINISHED), 0)
    counts.update(Counter(row.status for row in tables.rows()))
    due = [row for row in tables.rows() if row.available_at is not None and row.available_at <= moment]
    events = tables.events.values()
    return StoreStats(
        counts,
        len(due),
        _age(moment, (row.available_at or moment for row in due)),
        sum(worker.kind != "web" for worker in tables.living()),
        sum(event.status == "dead" for event in events),
        _age(moment, (event.created_at for event in events if event.status == "pending")),
        dict(Counter(row.saga_name for row in due)),
        sum(signal.taken_at is None for signal in tables.signals.values()),
        sum(row.deadline is not None and row.deadline < moment and not row.finished_at for row in tables.rows()),
        sum(
            any(one.outcome is None and one.name.startswith(DECISIONS) for one in run.waits)
            for run in tables.runs.values()
        ),
    )


def _age(moment: datetime, times: Iterable[datetime]) -> float | None:
    oldest = min(times, default=None)
    return None if oldest is None else (moment - oldest).total_seconds()
