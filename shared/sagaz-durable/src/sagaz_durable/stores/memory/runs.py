"""Runs and their journals in dictionaries, with a queue of what is due and an end to what is kept."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from heapq import heappop, heappush

from sagaz_integration_core.contract.decisions import AuditRecord
from sagaz_integration_core.contract.listings import AttemptRecord, RunFilter
from sagaz_integration_core.contract.records import FINISHED, RunRecord, RunStatus, StepRecord

__all__ = ["Runs"]

Journal = dict[tuple[str, str], StepRecord]
Due = tuple[datetime, int, str]


class Runs:
    """All runs of a store."""

    def __init__(self) -> None:
        self.rows: dict[str, RunRecord] = {}
        self._journals: dict[str, Journal] = {}
        self._audits: dict[str, list[AuditRecord]] = {}
        self._attempts: dict[str, list[AttemptRecord]] = {}
        # By saga, whether they are executed alone, and whether they wait. Whoever becomes due at another time is queued
        # again; an entry that tells of a former time is skipped.
        self._queues: dict[tuple[str, bool, bool], list[Due]] = defaultdict(list)
        self._queued = 0
        self._finished: dict[str, None] = {}

    def put(self, row: RunRecord) -> None:
        """Insert or replace a run."""
        old = self.rows.get(row.saga_id)
        self.rows[row.saga_id] = row
        if row.available_at is not None and (old is None or _place(old) != _place(row)):
            self._queued += 1
            heappush(self._queues[row.saga_name, *_place(row)[1:]], (row.available_at, self._queued, row.saga_id))
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

    def forget_results(self, saga_id: str) -> None:
        """Remove what steps returned from a journal."""
        journal = self._journals.get(saga_id, {})
        self._journals[saga_id] = {key: replace(entry, result=None) for key, entry in journal.items()}

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

    def end_attempt(self, record: AttemptRecord) -> None:
        """Keep how an attempt ended."""
        self._attempts.setdefault(record.saga_id, []).append(record)

    def attempts(self, saga_id: str) -> list[AttemptRecord]:
        """Return how the attempts of a run ended, the oldest first."""
        return list(self._attempts.get(saga_id, []))

    def of_owner(self, owner: str) -> list[RunRecord]:
        """Return the runs that a process has leased."""
        return [row for row in self.rows.values() if row.lease_owner == owner]

    def saw_die(self, owner: str) -> bool:
        """Whether an attempt of this process ended by its death."""
        return any(
            record.owner == owner and record.outcome == "died"
            for records in self._attempts.values()
            for record in records
        )

    def next_due(
        self, moment: datetime, names: Collection[str], *, alone: bool, waiting: Collection[bool] = (False, True)
    ) -> RunRecord | None:
        """Return the oldest due run of these sagas; whoever takes it has to `put` it with another time.

        Args:
            waiting: Of those that have not waited, of those that have, or of both.
        """
        places = [(name, alone, waits) for name in names for waits in waiting]
        heads = [head for place in places if (head := self._head(place)) is not None and head[0] <= moment]
        return self.rows[min(heads)[2]] if heads else None

    def due_of(
        self, saga_ids: Collection[str], moment: datetime, names: Collection[str], *, alone: bool
    ) -> RunRecord | None:
        """Return the oldest one that is due of these runs."""
        chosen = (self.rows[saga_id] for saga_id in saga_ids if saga_id in self.rows)
        due = [row for row in chosen if _is_due(row, moment) and row.saga_name in names and row.alone == alone]
        return min(due, key=_available_at, default=None)

    def _head(self, place: tuple[str, bool, bool]) -> Due | None:
        queue = self._queues.get(place)
        while queue:
            available_at, _, saga_id = queue[0]
            row = self.rows.get(saga_id)
            if row is not None and _place(row) == (available_at, *place[1:]):
                return queue[0]
            heappop(queue)
        return None

    def count_due(self, moment: datetime) -> tuple[dict[str, int], datetime | None]:
        """Return how many runs of which sagas are due, and since when the oldest one is."""
        due = [row for row in self.rows.values() if _is_due(row, moment)]
        return dict(Counter(row.saga_name for row in due)), min(map(_available_at, due), default=None)

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
        self._attempts.pop(saga_id, None)
        self._finished.pop(saga_id, None)

    def surplus(self, keep: int) -> list[str]:
        """Return the runs that ended first, as far as there are more than ``keep``."""
        excess = len(self._finished) - keep
        return [saga_id for saga_id, _ in zip(self._finished, range(excess), strict=False)]


def _is_due(row: RunRecord, moment: datetime) -> bool:
    return row.available_at is not None and row.available_at <= moment


def _place(row: RunRecord) -> tuple[datetime | None, bool, bool]:
    return row.available_at, row.alone, row.status == "waiting"


def _available_at(row: RunRecord) -> datetime:
    return row.available_at or row.created_at


def _matches(row: RunRecord, query: RunFilter) -> bool:
    return (
        (not query.statuses or row.status in query.statuses)
        and query.saga_name in (None, row.saga_name)
        and query.correlation_id in (None, row.correlation_id)
        and query.owner in (None, row.owner)
        and (query.before is None or _age(row) < query.before)
    )


def _age(row: RunRecord) -> tuple[datetime, str]:
    return row.created_at, row.saga_id
