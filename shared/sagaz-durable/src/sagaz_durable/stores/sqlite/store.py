"""Durable runs in an SQLite file: one connection, in one thread, one transaction for each call."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sagaz_durable.stores.foreign_rows import correlation_id_of, taken
from sagaz_durable.stores.sqlite import attempts, claims, interventions, journal, leases, reads
from sagaz_durable.stores.sqlite import erasure as erasing
from sagaz_durable.stores.sqlite import maintenance as upkeep
from sagaz_durable.stores.sqlite.database import schema
from sagaz_durable.stores.sqlite.database.connection import check_writable
from sagaz_durable.stores.sqlite.database.thread import ConnectionThread
from sagaz_durable.stores.sqlite.events import SQLiteEvents
from sagaz_durable.stores.sqlite.joining import joining
from sagaz_durable.stores.wakeup import WakeUp
from sagaz_integration_core.contract.decisions import AuditRecord, Erasure, Intervention
from sagaz_integration_core.contract.listings import AttemptRecord, RunFilter, StoreStats, WorkerKind, WorkerRecord
from sagaz_integration_core.contract.records import (
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
from sagaz_integration_core.settings.wording import NEUTRAL, Wording

__all__ = ["SQLiteStore"]


class SQLiteStore(SQLiteEvents):
    """Keeps runs in an SQLite file, which several processes of one machine may share.

    Args:
        path: The file; it is made, with its tables, when it is not there. Its directory must be.
        busy_seconds: How long to wait for another connection's write transaction.
        wording: How the setting that says so is spelled.
    """

    kind = "sqlite"
    embedded = False
    claim_portions = 1

    def __init__(self, path: str | os.PathLike[str], *, busy_seconds: float = 5.0, wording: Wording = NEUTRAL) -> None:
        self._path = os.path.abspath(path)
        self._thread = ConnectionThread(self._path, busy_seconds, wording)
        self._wakeup = WakeUp()

    async def open(self) -> None:
        """Connect, and make the tables when they are missing."""
        await self._thread.open()
        self._wakeup.bind()
        self.joining = joining(self._path, await self.store_id())

    async def check_ready(self, *, only_reads: bool = False) -> None:
        """Ask whether the file is there, and may be written."""
        await self.store_id()
        if not only_reads:
            check_writable(self._path)

    async def close(self) -> None:
        """Finish what was asked for, and disconnect; harmless when already closed."""
        await self._thread.close()

    async def store_id(self) -> str:
        """Return the random id that was made with the tables."""
        return await self._thread.read(schema.read_store_id)

    async def insert(self, runs: Sequence[NewRun], lease_seconds: float) -> list[Inserted]:
        """Insert runs in one transaction."""
        inserted = await self._thread.write(lambda sqlite: leases.insert(sqlite, runs, lease_seconds), wary=True)
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
        wanted = claims.Wanted(sagas, saga_ids, alone)
        if not await self._thread.read(lambda sqlite: claims.any_due(sqlite, wanted)):
            return []
        return await self._thread.write(lambda sqlite: claims.claim(sqlite, owner, limit, lease_seconds, wanted))

    async def any_alone(self, sagas: Collection[str]) -> bool:
        """Whether a run of these sagas is due that is to be executed alone."""
        wanted = claims.Wanted(dict.fromkeys(sagas, ()), None, alone=True)
        return await self._thread.read(lambda sqlite: claims.any_due(sqlite, wanted))

    async def renew(self, owner: str, runs: Sequence[tuple[str, int]], lease_seconds: float) -> Renewal:
        """Prolong leases that are still held."""
        return await self._thread.write(lambda sqlite: leases.renew(sqlite, owner, runs, lease_seconds))

    async def write(self, writes: Sequence[RunWrite]) -> list[bool | None]:
        """Commit all writes in one transaction."""
        answers = await self._thread.write(lambda sqlite: journal.write(sqlite, writes))
        if any(write.release is not None for write in writes):
            self.wake()
        return answers

    async def load(self, saga_id: str) -> RunRecord | None:
        """Return one run."""
        return await self._thread.read(lambda sqlite: reads.load(sqlite, saga_id))

    async def load_steps(self, saga_id: str) -> list[StepRecord]:
        """Return a run's journal in the order in which its entries were started."""
        return await self._thread.read(lambda sqlite: leases.steps_of(sqlite, [saga_id])[saga_id])

    async def find(self, query: RunFilter) -> list[RunRecord]:
        """Return runs, newest first."""
        return await self._thread.read(lambda sqlite: reads.find(sqlite, query))

    async def stats(self) -> StoreStats:
        """Return the figures for a health check."""
        return await self._thread.read(reads.stats)

    async def load_attempts(self, saga_id: str) -> list[AttemptRecord]:
        """Return how a run's earlier attempts ended, the oldest first."""
        return await self._thread.read(lambda sqlite: attempts.load_attempts(sqlite, saga_id))

    async def heartbeat(
        self, worker: str, seconds: float, kind: WorkerKind = "worker", sagas: Collection[str] = ()
    ) -> None:
        """Note that a process is alive for the next ``seconds``, and which sagas it knows; 0 takes the note back."""
        await self._thread.write(lambda sqlite: upkeep.heartbeat(sqlite, worker, seconds, kind, sagas))

    async def workers(self) -> list[WorkerRecord]:
        """Return the processes that are alive."""
        return await self._thread.read(upkeep.live_workers)

    async def wait(self, seconds: float) -> None:
        """Return when this process made runs due, at the latest after ``seconds``: other processes' are polled for."""
        self._thread.check()
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
        correlation_id = correlation_id_of(metadata)
        if not await self._thread.write(
            lambda sqlite: upkeep.save_foreign(sqlite, saga_id, saga_name, status, context, correlation_id)
        ):
            raise taken(saga_id)

    async def delete(self, saga_id: str) -> bool:
        """Delete a finished or foreign run with its journal; its events stay until they are sent."""
        return await self._thread.write(lambda sqlite: upkeep.delete(sqlite, saga_id))

    async def prune(self, older_than: datetime, statuses: Sequence[RunStatus], limit: int) -> int:
        """Delete runs that ended before ``older_than``, at most ``limit``; return how many."""
        return await self._thread.write(lambda sqlite: upkeep.prune(sqlite, older_than, statuses, limit))

    async def count_prunable(self, older_than: datetime, statuses: Sequence[RunStatus]) -> int:
        """Return how many runs `prune` would delete without a limit."""
        return await self._thread.read(lambda sqlite: upkeep.count_prunable(sqlite, older_than, statuses))

    async def erase(self, erasure: Erasure, limit: int) -> int:
        """Erase at most ``limit`` runs, those first that ended first; return how many."""
        return await self._thread.write(lambda sqlite: erasing.erase(sqlite, erasure, limit))

    async def count_erasable(self, erasure: Erasure) -> int:
        """Return how many runs `erase` would erase without a limit."""
        return await self._thread.read(lambda sqlite: erasing.count_erasable(sqlite, erasure))

    async def intervene(self, intervention: Intervention) -> bool:
        """Carry out a person's decision and note it; False when the run has changed meanwhile."""
        done = await self._thread.write(lambda sqlite: interventions.intervene(sqlite, intervention))
        self.wake()
        return done

    async def load_audit(self, saga_id: str) -> list[AuditRecord]:
        """Return what people have decided about a run, the oldest first."""
        return await self._thread.read(lambda sqlite: interventions.load_audit(sqlite, saga_id))
