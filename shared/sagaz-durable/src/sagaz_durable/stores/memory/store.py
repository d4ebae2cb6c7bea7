"""Runs in this process's memory, with the rules of a durable store: for development, tests and what may be lost."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sagaz_durable.stores.ended_leases import decision
from sagaz_durable.stores.foreign_rows import correlation_id_of, taken
from sagaz_durable.stores.memory import erasure as erasing
from sagaz_durable.stores.memory import mutations as changes
from sagaz_durable.stores.memory.claims import Claim
from sagaz_durable.stores.memory.events import MemoryEvents
from sagaz_durable.stores.memory.outbox import Outbox
from sagaz_durable.stores.memory.rows import Rows
from sagaz_durable.stores.memory.runs import Runs
from sagaz_durable.stores.memory.signals import MemorySignals
from sagaz_durable.stores.memory.waits import Waits
from sagaz_durable.stores.open_check import Opened
from sagaz_durable.stores.wakeup import WakeUp
from sagaz_integration_core.contract.decisions import AuditRecord, Erasure, Intervention
from sagaz_integration_core.contract.events import of_run
from sagaz_integration_core.contract.listings import AttemptRecord, RunFilter, StoreStats, WorkerKind, WorkerRecord
from sagaz_integration_core.contract.records import (
    ACTIVE,
    FINISHED,
    FOREIGN,
    ClaimedRun,
    FirstSteps,
    Inserted,
    NewRun,
    Renewal,
    RunRecord,
    RunStatus,
    RunWrite,
    StepRecord,
)

__all__ = ["MemoryStore"]


class MemoryStore(MemoryEvents, MemorySignals):
    """Keeps runs as long as the process lives; no other process sees them.

    Args:
        keep_finished: How many finished runs are kept; beyond it those that ended first are forgotten, and with them
            their idempotency keys. As many sent events are kept.
    """

    kind = "memory"
    embedded = True
    claim_portions = 1

    def __init__(self, keep_finished: int = 10_000) -> None:
        self._opened = Opened("The memory store")
        self._wakeup = WakeUp()
        # A start may come from another thread than the runtime's.
        self._lock = threading.Lock()
        self._id = uuid.uuid4().hex
        self._runs = Runs()
        self._outbox = Outbox(keep_finished)
        self._waits = Waits(keep_finished)
        self._rows = Rows(self._runs, self._outbox, self._waits, keep_finished)
        self._workers: dict[str, WorkerRecord] = {}

    async def open(self) -> None:
        """Belong to this process and event loop."""
        self._wakeup.bind()
        self._opened.set()

    async def check_ready(self, *, only_reads: bool = False) -> None:
        """Nothing can be missing."""
        self._opened.check()

    async def close(self) -> None:
        """Refuse further use; what is kept is there again after another `open`."""
        self._opened.clear()

    async def store_id(self) -> str:
        """Return the random id that was made with the store."""
        self._opened.check()
        return self._id

    async def insert(self, runs: Sequence[NewRun], lease_seconds: float) -> list[Inserted]:
        """Insert runs."""
        with self._use():
            moment = datetime.now(UTC)
            inserted = [self._rows.insert(run, moment, lease_seconds) for run in runs]
        if any(run.owner is None for run in runs):
            self.wake()
        return inserted

    async def claim(
        self,
        owner: str,
        limit: int,
        lease_seconds: float,
        sagas: FirstSteps,
        *,
        saga_ids: Sequence[str] | None = None,
        alone: bool = False,
    ) -> list[ClaimedRun]:
        """Lease runs that are due, or whose lease has ended."""
        with self._use():
            moment = datetime.now(UTC)
            claim = Claim(self._runs, self._waits, self._living(moment), moment, lease_seconds, sagas)
            return claim.take(owner, limit, saga_ids, alone=alone)

    async def any_alone(self, sagas: Collection[str]) -> bool:
        """Whether a run of these sagas is due that is to be executed alone."""
        with self._use():
            return self._runs.next_due(datetime.now(UTC), dict.fromkeys(sagas, ()), alone=True) is not None

    async def renew(self, owner: str, runs: Sequence[tuple[str, int]], lease_seconds: float) -> Renewal:
        """Prolong leases that are still held."""
        with self._use():
            moment = datetime.now(UTC)
            rows = [self._rows.held(saga_id, owner, attempt) for saga_id, attempt in runs]
            held = [row for row in rows if row is not None]
            for row in held:
                self._runs.put(changes.prolonged(row, moment, lease_seconds))
            return Renewal({row.saga_id for row in held}, set())

    async def write(self, writes: Sequence[RunWrite]) -> list[bool | None]:
        """Record all writes in order."""
        with self._use():
            moment = datetime.now(UTC)
            answers: list[bool | None] = [self._rows.write(write, moment) for write in writes]
        if any(write.release is not None for write in writes):
            self.wake()
        return answers

    async def load(self, saga_id: str) -> RunRecord | None:
        """Return one run."""
        with self._use():
            return self._runs.rows.get(saga_id)

    async def statuses(self, saga_ids: Collection[str]) -> dict[str, RunStatus]:
        """Return the statuses of these runs."""
        with self._use():
            return {saga_id: self._runs.rows[saga_id].status for saga_id in saga_ids if saga_id in self._runs.rows}

    async def load_steps(self, saga_id: str) -> list[StepRecord]:
        """Return a run's journal in the order in which its entries were started."""
        with self._use():
            return self._runs.journal(saga_id)

    async def find(self, query: RunFilter) -> list[RunRecord]:
        """Return runs, newest first."""
        with self._use():
            return self._runs.find(query)

    async def stats(self) -> StoreStats:
        """Return the figures for a health check."""
        with self._use():
            moment = datetime.now(UTC)
            counts: dict[RunStatus, int] = dict.fromkeys((*ACTIVE, *FINISHED), 0)
            counts.update(Counter(row.status for row in self._runs.rows.values()))
            due, oldest = self._runs.count_due(moment)
            age = None if oldest is None else (moment - oldest).total_seconds()
            dead, first = self._outbox.count_waiting()
            unsent_age = None if first is None else (moment - first).total_seconds()
            live = sum(worker.kind != "web" for worker in self._living(moment).values())
            overdue = sum(
                row.deadline is not None and row.deadline < moment and row.status in ACTIVE
                for row in self._runs.rows.values()
            )
            untaken = self._waits.count_untaken()
            return StoreStats(counts, sum(due.values()), age, live, dead, unsent_age, due, untaken, overdue)

    async def load_attempts(self, saga_id: str) -> list[AttemptRecord]:
        """Return how a run's earlier attempts ended, the oldest first."""
        with self._use():
            return self._runs.attempts(saga_id)

    async def heartbeat(
        self, worker: str, seconds: float, kind: WorkerKind = "worker", sagas: Collection[str] = ()
    ) -> None:
        """Note that a process is alive for the next ``seconds``, and which sagas it knows; 0 takes the note back."""
        with self._use():
            moment = datetime.now(UTC)
            record = WorkerRecord(worker, kind, tuple(sorted(sagas)), moment + timedelta(seconds=seconds))
            self._workers[worker] = record
            self._workers = self._living(moment)

    async def workers(self) -> list[WorkerRecord]:
        """Return the processes that are alive."""
        with self._use():
            return sorted(self._living(datetime.now(UTC)).values(), key=lambda worker: worker.name)

    async def wait(self, seconds: float) -> None:
        """Return when runs may have become due, at the latest after ``seconds``."""
        self._opened.check()
        await self._wakeup.wait(seconds)

    def wake(self) -> None:
        """Make `wait` return now; callable from any thread."""
        self._wakeup.wake()

    async def save_foreign(
        self, saga_id: str, saga_name: str, status: str, context: str, metadata: dict[str, Any]
    ) -> None:
        """Insert or update a row on behalf of sagaz's own engine.

        Raises:
            ValueError: A run of ours has this saga_id.
        """
        with self._use():
            old = self._runs.rows.get(saga_id)
            if old is not None and old.fingerprint != FOREIGN:
                raise taken(saga_id)
            new = NewRun(saga_id, saga_name, context, FOREIGN, correlation_id_of(metadata))
            self._rows.put(changes.foreign(new, status, old, datetime.now(UTC)))

    async def delete(self, saga_id: str) -> bool:
        """Delete a finished or foreign run with its journal; its events stay until they are sent."""
        with self._use():
            row = self._runs.rows.get(saga_id)
            if row is None or (row.status in ACTIVE and row.fingerprint != FOREIGN):
                return False
            self._rows.remove(saga_id)
            return True

    async def prune(self, older_than: datetime, statuses: Sequence[RunStatus], limit: int) -> int:
        """Delete runs that ended before ``older_than``, at most ``limit``; return how many."""
        with self._use():
            old = self._runs.ended(older_than, statuses)[:limit]
            for saga_id in old:
                self._rows.remove(saga_id)
            return len(old)

    async def count_prunable(self, older_than: datetime, statuses: Sequence[RunStatus]) -> int:
        """Return how many runs `prune` would delete without a limit."""
        with self._use():
            return len(self._runs.ended(older_than, statuses))

    async def erase(self, erasure: Erasure, limit: int) -> int:
        """Erase at most ``limit`` runs, those first that ended first; return how many."""
        with self._use():
            return erasing.erase(self._runs, self._outbox, erasure, limit)

    async def count_erasable(self, erasure: Erasure) -> int:
        """Return how many runs `erase` would erase without a limit."""
        with self._use():
            return len(erasing.erasable(self._runs, self._outbox, erasure))

    async def intervene(self, intervention: Intervention) -> bool:
        """Carry out a person's decision and note it; False when the run has changed meanwhile."""
        with self._use():
            row = self._runs.rows.get(intervention.saga_id)
            expected = (intervention.attempt, intervention.found)
            if row is None or (row.attempt, row.status) != expected or row.fingerprint == FOREIGN:
                return False
            moment = datetime.now(UTC)
            if row.lease_owner is not None:
                self._rows.end_attempt(row, "decided", decision(intervention), moment)
            if intervention.status == "compensating":
                self._runs.forget_failed_undos(row.saga_id)
                self._waits.forget(row.saga_id)
            elif intervention.status in FINISHED:
                self._waits.forget(row.saga_id)
            elif intervention.status == "waiting":
                self._waits.end_timers(row.saga_id, moment)
            for event in intervention.events:
                self._outbox.add(of_run(row.saga_id, event, row.created_at), moment)
            self._runs.note(changes.audited(intervention, moment))
            self._rows.put(changes.intervened(row, intervention, moment))
        self.wake()
        return True

    async def load_audit(self, saga_id: str) -> list[AuditRecord]:
        """Return what people have decided about a run, the oldest first."""
        with self._use():
            return self._runs.audit(saga_id)

    def _use(self) -> threading.Lock:
        self._opened.check()
        return self._lock

    def _living(self, moment: datetime) -> dict[str, WorkerRecord]:
        return {name: worker for name, worker in self._workers.items() if worker.alive_until > moment}
