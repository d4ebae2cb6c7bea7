"""Every other database through Django's ORM: MariaDB and MySQL, and whatever has a backend for Django."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from datetime import datetime
from typing import Any, Concatenate, ParamSpec, TypeVar

from django.db import OperationalError, connections, transaction

from django_sagaz._stores.errors import ConnectionDied, translated
from django_sagaz._stores.identity import read_store_id
from django_sagaz._stores.orm import attempts as orm_attempts
from django_sagaz._stores.orm import claims as orm_claims
from django_sagaz._stores.orm import erasure as orm_erasing
from django_sagaz._stores.orm import interventions as orm_interventions
from django_sagaz._stores.orm import journal as orm_journal
from django_sagaz._stores.orm import maintenance as orm_upkeep
from django_sagaz._stores.orm import runs as orm_runs
from django_sagaz._stores.orm.events import ORMEvents
from django_sagaz._stores.orm.signalling import ORMSignals
from django_sagaz._stores.ready import check_rights, check_tables
from django_sagaz._stores.runners import Runner, immediately
from sagaz_durable.stores.foreign_rows import correlation_id_of, taken
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

__all__ = ["ORMStore"]

T = TypeVar("T")
P = ParamSpec("P")

_DEADLOCKS = (1205, 1213)
"""MySQL's codes for a lock that was waited for too long, and for two that waited for each other."""

_PAUSES = (0.02, 0.1, 0.5)


class ORMStore(ORMEvents, ORMSignals):
    """Keeps runs in any database that Django can use; workers poll.

    Args:
        run: Makes the database calls.
    """

    kind = "django"
    embedded = False
    claim_portions = 1

    def __init__(self, alias: str, run: Runner) -> None:
        self._alias = alias
        self._run = run
        self._wakeup = WakeUp()

    async def open(self) -> None:
        """Belong to the running event loop; Django connects when there is something to ask."""
        self._wakeup.bind()

    async def check_ready(self, *, only_reads: bool = False) -> None:
        """Ask whether tables and rights are there."""

        def check() -> None:
            check_tables(connections[self._alias])
            check_rights(connections[self._alias], only_reads=only_reads)

        await self._run(check)

    async def close(self) -> None:
        """Disconnect what is not the caller's."""
        await self._run.close()

    async def _do(self, work: Callable[Concatenate[Any, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(lambda: self._transact(lambda connection: work(connection, *args, **kwargs)))

    def _transact(self, work: Callable[[Any], T]) -> T:
        connection = connections[self._alias]
        with translated(connection):
            for pause in _PAUSES:
                try:
                    with nullcontext() if connection.in_atomic_block else transaction.atomic(self._alias):
                        return work(connection)
                except OperationalError as error:
                    if connection.in_atomic_block or error.args[:1] not in [(code,) for code in _DEADLOCKS]:
                        raise
                    time.sleep(pause)
            with transaction.atomic(self._alias):
                return work(connection)

    async def store_id(self) -> str:
        """Return the store's random id."""
        return await self._run(lambda: read_store_id(connections[self._alias]))

    async def insert(self, runs: Sequence[NewRun], lease_seconds: float) -> list[Inserted]:
        """Insert runs in one transaction."""
        began_at = time.monotonic()
        try:
            inserted = await self._do(orm_runs.insert, runs, lease_seconds)
        except ConnectionDied:
            # Whether it was committed is not known; what it has made is recognised.
            inserted = await self._do(orm_runs.insert, runs, lease_seconds, began_at=began_at)
        if any(run.owner is None for run in runs):
            self.wake()
        return inserted

    def start(self, run: NewRun) -> Inserted:
        """Insert a run on this thread's connection, here and now."""
        [inserted] = immediately(self.insert([run], 0.0))
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
        return await self._do(orm_claims.claim, owner, limit, lease_seconds, orm_claims.Wanted(sagas, saga_ids, alone))

    async def any_alone(self, sagas: Collection[str]) -> bool:
        """Whether a run of these sagas is due that is to be executed alone."""
        return await self._do(orm_claims.any_alone, sagas)

    async def renew(self, owner: str, runs: Sequence[tuple[str, int]], lease_seconds: float) -> Renewal:
        """Prolong leases that are still held."""
        return await self._do(orm_runs.renew, owner, runs, lease_seconds)

    async def write(self, writes: Sequence[RunWrite]) -> list[bool | None]:
        """Commit all writes in one transaction."""
        answers = await self._do(orm_journal.write, writes)
        if any(write.release is not None for write in writes):
            self.wake()
        return answers

    async def load(self, saga_id: str) -> RunRecord | None:
        """Return one run."""
        return await self._do(orm_upkeep.load, saga_id)

    async def statuses(self, saga_ids: Collection[str]) -> dict[str, RunStatus]:
        """Return the statuses of these runs."""
        return await self._do(orm_upkeep.statuses, saga_ids)

    async def load_steps(self, saga_id: str) -> list[StepRecord]:
        """Return a run's journal in the order in which its entries were started."""
        return (await self._do(orm_runs.steps_of, [saga_id]))[saga_id]

    async def find(self, query: RunFilter) -> list[RunRecord]:
        """Return runs, newest first."""
        return await self._do(orm_upkeep.find, query)

    async def stats(self) -> StoreStats:
        """Return the figures for a health check."""
        return await self._do(orm_upkeep.stats)

    async def load_attempts(self, saga_id: str) -> list[AttemptRecord]:
        """Return how a run's earlier attempts ended, the oldest first."""
        return await self._do(orm_attempts.load_attempts, saga_id)

    async def heartbeat(
        self, worker: str, seconds: float, kind: WorkerKind = "worker", sagas: Collection[str] = ()
    ) -> None:
        """Note that a process is alive for the next ``seconds``, and which sagas it knows; 0 takes the note back."""
        await self._do(orm_upkeep.heartbeat, worker, seconds, kind, sagas)

    async def workers(self) -> list[WorkerRecord]:
        """Return the processes that are alive."""
        return await self._do(orm_upkeep.live_workers)

    async def wait(self, seconds: float) -> None:
        """Return when this process made runs due, at the latest after ``seconds``: other processes' are polled for."""
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
        if not await self._do(orm_upkeep.save_foreign, saga_id, saga_name, status, context, correlation_id):
            raise taken(saga_id)

    async def delete(self, saga_id: str) -> bool:
        """Delete a finished or foreign run with its journal; its events stay until they are sent."""
        return await self._do(orm_upkeep.delete, saga_id)

    async def prune(self, older_than: datetime, statuses: Sequence[RunStatus], limit: int) -> int:
        """Delete runs that ended before ``older_than``, at most ``limit``; return how many."""
        return await self._do(orm_upkeep.prune, older_than, statuses, limit)

    async def count_prunable(self, older_than: datetime, statuses: Sequence[RunStatus]) -> int:
        """Return how many runs `prune` would delete without a limit."""
        return await self._do(orm_upkeep.count_prunable, older_than, statuses)

    async def erase(self, erasure: Erasure, limit: int) -> int:
        """Erase at most ``limit`` runs, those first that ended first; return how many."""
        return await self._do(orm_erasing.erase, erasure, limit)

    async def count_erasable(self, erasure: Erasure) -> int:
        """Return how many runs `erase` would erase without a limit."""
        return await self._do(orm_erasing.count_erasable, erasure)

    async def intervene(self, intervention: Intervention) -> bool:
        """Carry out a person's decision and note it; False when the run has changed meanwhile."""
        done = await self._do(orm_interventions.intervene, intervention)
        self.wake()
        return done

    async def load_audit(self, saga_id: str) -> list[AuditRecord]:
        """Return what people have decided about a run, the oldest first."""
        return await self._do(orm_interventions.load_audit, saga_id)
