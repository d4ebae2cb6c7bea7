"""Durable runs in PostgreSQL: for many workers on many machines, woken by the commit that made a run due."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from psycopg import sql

from sagaz_durable.stores.foreign_rows import correlation_id_of, taken
from sagaz_durable.stores.postgresql import claims, interventions, journal, leases, reads
from sagaz_durable.stores.postgresql import erasure as erasing
from sagaz_durable.stores.postgresql import maintenance as upkeep
from sagaz_durable.stores.postgresql.database.address import read_address
from sagaz_durable.stores.postgresql.database.errors import how_to_migrate
from sagaz_durable.stores.postgresql.database.listener import Listener
from sagaz_durable.stores.postgresql.database.pool import Connections
from sagaz_durable.stores.postgresql.database.rights import LACKING, lacking_values, what_lacks
from sagaz_durable.stores.postgresql.database.schema import find_tables, migrate_tables
from sagaz_durable.stores.postgresql.events import PostgresEvents
from sagaz_durable.stores.postgresql.joining import joining
from sagaz_durable.stores.postgresql.sql import ANY_DUE
from sagaz_durable.stores.wakeup import WakeUp
from sagaz_durable.transactions.statements import Joining
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
from sagaz_integration_core.settings.settings import Settings

__all__ = ["PostgresStore", "migrate"]

logger = logging.getLogger(__name__)


async def migrate(settings: Settings) -> list[str]:
    """Create the tables, or bring them up to date, and return the names of the migrations that did.

    Any number of processes may do it at once. It needs the right to create tables (and the schema, if that is
    missing); using them afterwards does not.

    Raises:
        StoreUnavailable: The server cannot be reached, or the user lacks these rights.
    """
    return await migrate_tables(read_address(settings.storage_url, settings.wording), settings.schema)


class PostgresStore(PostgresEvents):
    """Keeps runs in PostgreSQL, for any number of processes.

    It also works through a transaction pooler, which it notices: statements are not prepared, and instead of listening
    for commits workers poll.

    Args:
        settings: Of which it uses storage_url, schema, migrate, notify and pool_size.
        only_reads: Nothing will be written, so that no right to do so is needed.
    """

    kind = "postgres"
    embedded = False
    claim_portions = 2

    def __init__(self, settings: Settings, *, only_reads: bool = False) -> None:
        self._settings = settings
        self._only_reads = only_reads
        self._address = read_address(settings.storage_url, settings.wording)
        self._db = Connections(self._address, settings.pool_size)
        self._wakeup = WakeUp()
        self._listener: Listener | None = None

    async def open(self) -> None:
        """Connect and check the tables; with the setting ``migrate``, bring them up to date first."""
        if self._db.is_open:
            return
        if self._settings.migrate and not self._only_reads:
            await migrate(self._settings)
        found = await find_tables(self._address, self._settings.schema, only_reads=self._only_reads)
        if found.encoding not in ("UTF8", "SQL_ASCII"):
            logger.warning(
                "The PostgreSQL store %s is in a database of encoding %s: a context or a result with a character that "
                "this has not is refused. Have its database created with ENCODING 'UTF8'.",
                self._address.shown, found.encoding,
            )  # fmt: skip
        self._found = found
        channel = _channel(found.schema)
        wake = f"pg_notify('{channel}', '')" if self._settings.notify else "NULL"
        await self._db.open({"schema": sql.Identifier(found.schema).as_string(), "wake": wake})
        self._wakeup.bind()
        self._joining: Joining = joining(self._db, found)
        listens = self._settings.notify and not self._address.pgbouncer
        self._listener = Listener(self._address, channel, self._db.text(ANY_DUE), self.wake) if listens else None

    async def check_ready(self, *, only_reads: bool = False) -> None:
        """Ask whether tables and rights are there."""
        rows = await self._db.fetch(LACKING, lacking_values(self._found.schema, only_reads=only_reads))
        subject = f"The PostgreSQL store {self._address.shown}"
        if lack := what_lacks(subject, rows, only_reads=only_reads, migrate=how_to_migrate(self._address.wording)):
            raise lack

    async def close(self) -> None:
        """Disconnect; harmless when already closed."""
        listener, self._listener = self._listener, None
        if listener is not None and self._db.is_open:
            await listener.stop()
        await self._db.close()

    @property
    def joining(self) -> Joining:
        """How runs are inserted through a caller's own connection."""
        self._db.check_process()
        return self._joining

    async def store_id(self) -> str:
        """Return the random id that was made with the tables."""
        return self.joining.store_id

    async def insert(self, runs: Sequence[NewRun], lease_seconds: float) -> list[Inserted]:
        """Insert runs in one statement."""
        inserted = await leases.insert(self._db, runs, lease_seconds)
        if not self._listening and any(run.owner is None for run in runs):
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
        return await claims.claim(self._db, owner, limit, lease_seconds, claims.Wanted(sagas, saga_ids, alone))

    async def any_alone(self, sagas: Collection[str]) -> bool:
        """Whether a run of these sagas is due that is to be executed alone."""
        return await claims.any_alone(self._db, sagas)

    async def renew(self, owner: str, runs: Sequence[tuple[str, int]], lease_seconds: float) -> Renewal:
        """Prolong leases that are still held."""
        return await leases.renew(self._db, owner, runs, lease_seconds)

    async def write(self, writes: Sequence[RunWrite]) -> list[bool | None]:
        """Commit all writes in one statement."""
        answers = await journal.write(self._db, writes)
        if not self._listening and any(write.release is not None for write in writes):
            self.wake()
        return answers

    async def load(self, saga_id: str) -> RunRecord | None:
        """Return one run."""
        return await reads.load(self._db, saga_id)

    async def load_steps(self, saga_id: str) -> list[StepRecord]:
        """Return a run's journal in the order in which its entries were started."""
        return await reads.load_steps(self._db, saga_id)

    async def find(self, query: RunFilter) -> list[RunRecord]:
        """Return runs, newest first."""
        return await reads.find(self._db, query)

    async def stats(self) -> StoreStats:
        """Return the figures for a health check."""
        return await reads.stats(self._db)

    async def load_attempts(self, saga_id: str) -> list[AttemptRecord]:
        """Return how a run's earlier attempts ended, the oldest first."""
        return await reads.load_attempts(self._db, saga_id)

    async def heartbeat(
        self, worker: str, seconds: float, kind: WorkerKind = "worker", sagas: Collection[str] = ()
    ) -> None:
        """Note that a process is alive for the next ``seconds``, and which sagas it knows; 0 takes the note back."""
        await upkeep.heartbeat(self._db, worker, seconds, kind, sagas)

    async def workers(self) -> list[WorkerRecord]:
        """Return the processes that are alive."""
        return await upkeep.live_workers(self._db)

    async def wait(self, seconds: float) -> None:
        """Return when a commit made runs due, at the latest after ``seconds``."""
        self._db.check()
        if self._listener is not None:
            self._listener.start()
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
        if not await upkeep.save_foreign(self._db, saga_id, saga_name, status, context, correlation_id):
            raise taken(saga_id)

    async def delete(self, saga_id: str) -> bool:
        """Delete a finished or foreign run with its journal; its events stay until they are sent."""
        return await upkeep.delete(self._db, saga_id)

    async def prune(self, older_than: datetime, statuses: Sequence[RunStatus], limit: int) -> int:
        """Delete runs that ended before ``older_than``, at most ``limit``; return how many."""
        return await upkeep.prune(self._db, older_than, statuses, limit)

    async def count_prunable(self, older_than: datetime, statuses: Sequence[RunStatus]) -> int:
        """Return how many runs `prune` would delete without a limit."""
        return await upkeep.count_prunable(self._db, older_than, statuses)

    async def erase(self, erasure: Erasure, limit: int) -> int:
        """Erase at most ``limit`` runs, those first that ended first; return how many."""
        return await erasing.erase(self._db, erasure, limit)

    async def count_erasable(self, erasure: Erasure) -> int:
        """Return how many runs `erase` would erase without a limit."""
        return await erasing.count_erasable(self._db, erasure)

    async def intervene(self, intervention: Intervention) -> bool:
        """Carry out a person's decision and note it; False when the run has changed meanwhile."""
        done = await interventions.intervene(self._db, intervention)
        if not self._listening:
            self.wake()
        return done

    async def load_audit(self, saga_id: str) -> list[AuditRecord]:
        """Return what people have decided about a run, the oldest first."""
        return await interventions.load_audit(self._db, saga_id)

    @property
    def _listening(self) -> bool:
        """Whether a commit of our own comes back as a notification, so that waking ourselves would be twice."""
        return self._listener is not None and self._listener.listening


def _channel(schema: str) -> str:
    """Return the channel of a store; PostgreSQL cuts names at 63 bytes, and refuses longer ones in pg_notify."""
    plain = schema.isascii() and schema.isidentifier() and len(schema) <= 56
    return f"sagaz_{schema if plain else hashlib.sha256(schema.encode()).hexdigest()[:32]}"
