"""Runs and their journals in dictionaries, with a queue of what is due and an end to what is kept."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from heapq import heappop, heappush

from sagaz_integration_core.records import FINISHED, AuditRecord, RunFilter, RunRecord, RunStatus, StepRecord

__all__ = ["Runs"]

Journal = dict[tuple[str, str], StepRecord]


class Runs:
    """All runs of a store."""

    def __init__(self) -> None:
        self.rows: dict[str, RunRecord] = {}
        self._journals: dict[str, Journal] = {}
        self._audits: dict[str, list[AuditRecord]] = {}
        # Whoever becomes due at another time is queued again; an entry that tells of a former time is skipped.
        self._queue: list[tuple[datetime, int, str]] = []
        self._queued = 0
        self._finished: dict[str, None] = {}

    def put(self, row: RunRecord) -> None:
        """Insert or replace a run."""
        old = self.rows.get(row.saga_id)
        self.rows[row.saga_id] = row
        if row.available_at is not None and (old is None or old.available_at != row.available_at):
            self._queued += 1
            heappush(self._queue, (row.available_at, self._queued, row.saga_id))
        if row.status in FINISHED:
            self._finished[row.saga_id] = None
        else:
            self._finished.pop(row.saga_id, None)

    def enter(self, entry: StepRecord) -> None:
        """Insert or replace a journal entry; one that was started again moves to the end."""
        journal = self._journals.setdefault(entry.saga_id, {})
        if entry.status == "started":
            journal.pop((entry.step, entry.phase), None)
        journal[entry.step, entry.phase] = entry

    def entry(self, saga_id: str, step: str, phase: str) -> StepRecord | None:
        """Return one journal entry."""
        return self._journals.get(saga_id, {}).get((step, phase))

    def journal(self, saga_id: str) -> list[StepRecord]:
        """Return the journal of a run, in the order in which its entries were started."""
        return list(self._journals.get(saga_id, {}).values())

    def forget_failed_undos(self, saga_id: str) -> None:
        """Remove the entries of compensations that failed."""
        journal = self._journals.get(saga_id, {})
        self._journals[saga_id] = {
            key: entry for key, entry in journal.items() if (entry.phase, entry.status) != ("undo", "failed")
        }

    def note(self, record: AuditRecord) -> None:
        """Keep a person's decision."""
        self._audits.setdefault(record.saga_id, []).append(record)

    def audit(self, saga_id: str) -> list[AuditRecord]:
        """Return what people have decided about a run, the oldest first."""
        return list(self._audits.get(saga_id, []))

    def due(self, moment: datetime, only: Collection[str] | None) -> Iterator[RunRecord]:
        """Yield the runs that are due, the oldest first; whoever takes one has to `put` it with another time."""
        if only is not None:
            chosen = (self.rows[saga_id] for saga_id in dict.fromkeys(only) if saga_id in self.rows)
            yield from sorted((row for row in chosen if _is_due(row, moment)), key=_available_at)
            return
        while self._queue and self._queue[0][0] <= moment:
            available_at, _, saga_id = heappop(self._queue)
            row = self.rows.get(saga_id)
            if row is not None and row.available_at == available_at:
                yield row

    def count_due(self, moment: datetime) -> tuple[int, datetime | None]:
        """Return how many runs are due, and since when the oldest one is."""
        times = [_available_at(row) for row in self.rows.values() if _is_due(row, moment)]
        return len(times), min(times, default=None)

    def find(self, query: RunFilter) -> list[RunRecord]:
        """Return the runs that match, the newest first."""
        found = [row for row in self.rows.values() if _matches(row, query)]
        return sorted(found, key=_age, reverse=True)[: query.limit]

    def ended(self, before: datetime, statuses: Collection[RunStatus]) -> list[str]:
        """Return the runs with these statuses that ended before a time, those first that ended first."""
        chosen = ((row.finished_at, row.saga_id) for row in self.rows.values() if row.status in statuses)
        return [saga_id for _, saga_id in sorted((at, saga_id) for at, saga_id in chosen if at and at < before)]

    def remove(self, saga_id: str) -> None:
        """Forget a run and its journal."""
        del self.rows[saga_id]
        self._journals.pop(saga_id, None)
        self._audits.pop(saga_id, None)
        self._finished.pop(saga_id, None)

    def surplus(self, keep: int) -> list[str]:
        """Return the runs that ended first, as far as there are more than ``keep``."""
        excess = len(self._finished) - keep
        return [saga_id for saga_id, _ in zip(self._finished, range(excess), strict=False)]


def _is_due(row: RunRecord, moment: datetime) -> bool:
    return row.available_at is not None and row.available_at <= moment


def _available_at(row: RunRecord) -> datetime:
    return row.available_at or row.created_at


def _matches(row: RunRecord, query: RunFilter) -> bool:
    return (
        (not query.statuses or row.status in query.statuses)
        and query.saga_name in (None, row.saga_name)
        and query.correlation_id in (None, row.correlation_id)
        and (query.before is None or _age(row) < query.before)
    )


def _age(row: RunRecord) -> tuple[datetime, str]:
    return row.created_at, row.saga_id
