"""Durable runs in an SQLite file: one transaction for each call."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, Concatenate, ParamSpec, TypeVar

from sagaz_durable.stores.base import Answer, BaseStore, does
from sagaz_durable.stores.sqlite import (
    attempts,
    claims,
    interventions,
    journal,
    leases,
    outbox,
    reads,
    request_keys,
    signals,
    waits,
)
from sagaz_durable.stores.sqlite import maintenance as upkeep
from sagaz_durable.stores.sqlite.database.transactions import Transactions
from sagaz_durable.stores.sqlite.joining import joining
from sagaz_durable.stores.sqlite.webhooks import delayed, listing, receiving
from sagaz_durable.stores.wanted_runs import Wanted
from sagaz_durable.transactions.statements import Joining
from sagaz_integration_core.contract.events import OutboxRecord
from sagaz_integration_core.contract.records import ClaimedRun

__all__ = ["SQLiteStore"]

P = ParamSpec("P")
T = TypeVar("T")


def _reads(
    work: Callable[Concatenate[sqlite3.Connection, P], T],
) -> Callable[Concatenate[SQLiteStore, P], Answer[T]]:
    """Return the method that does this in a transaction that only reads."""

    def method(self: SQLiteStore, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        return self.transactions.read(lambda sqlite: work(sqlite, *args, **kwargs))

    return does(work, method)


def _writes(
    work: Callable[Concatenate[sqlite3.Connection, P], T], *, wary: bool = False
) -> Callable[Concatenate[SQLiteStore, P], Answer[T]]:
    """Return the method that does this in a transaction that writes.

    Args:
        wary: Its caller may itself be inside of the transaction that holds the lock.
    """

    def method(self: SQLiteStore, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        return self.transactions.write(lambda sqlite: work(sqlite, *args, **kwargs), wary=wary)

    return does(work, method)


class SQLiteStore(BaseStore):
    """Keeps runs in an SQLite file, which several processes of one machine may share.

    Args:
        transactions: What executes its transactions: a `ConnectionThread`, or a framework's own connections.
    """

    embedded = False
    claim_portions = 1

    def __init__(self, transactions: Transactions) -> None:
        super().__init__()
        self.transactions = transactions
        self.kind = transactions.kind
        self.joining: Joining | None = None

    async def open(self) -> None:
        """Connect, and make the tables when they are missing."""
        await self.transactions.open()
        await super().open()
        if (path := self.transactions.path) is not None:
            self.joining = joining(path, await self.store_id())

    async def close(self) -> None:
        """Finish what was asked for, and disconnect; harmless when already closed."""
        await self.transactions.close()

    def check(self) -> None:
        """Refuse the use of a store that is not open in this process."""
        self.transactions.check()

    async def check_ready(self, *, only_reads: bool = False) -> None:
        """Ask whether the file is there, and may be written."""
        await self.transactions.check_ready(only_reads=only_reads)

    async def store_id(self) -> str:
        """Return the random id that was made with the tables."""
        return await self.transactions.store_id()

    async def claim_runs(self, /, owner: str, limit: int, lease_seconds: float, wanted: Wanted) -> list[ClaimedRun]:
        """Lease runs that are due, or whose lease has ended."""
        if not await self.transactions.read(lambda sqlite: claims.any_due(sqlite, wanted)):
            return []
        return await self.transactions.write(lambda sqlite: claims.claim(sqlite, owner, limit, lease_seconds, wanted))

    insert_runs = _writes(leases.insert, wary=True)
    any_alone = _reads(claims.any_alone)
    renew = _writes(leases.renew)
    write_runs = _writes(journal.write)

    load = _reads(reads.load)
    statuses = _reads(reads.statuses)
    load_steps = _reads(leases.load_steps)
    load_attempts = _reads(attempts.load_attempts)
    load_audit = _reads(interventions.load_audit)
    find = _reads(reads.find)
    stats = _reads(reads.stats)
    workers = _reads(upkeep.live_workers)

    heartbeat = _writes(upkeep.heartbeat)
    carry_out = _writes(interventions.intervene)
    save_row = _writes(upkeep.save_foreign)
    delete = _writes(upkeep.delete)
    prune = _writes(upkeep.prune)
    count_prunable = _reads(upkeep.count_prunable)
    erase = _writes(upkeep.erase)
    count_erasable = _reads(upkeep.count_erasable)

    add_signals = _writes(signals.send, wary=True)
    load_waits = _reads(waits.load_waits)
    rouse_lost = _writes(waits.rouse_lost)
    count_lost = _reads(waits.count_lost)
    count_signalled = _reads(waits.count_signalled)
    find_signals = _reads(signals.find_signals)
    count_untaken = _reads(signals.count_untaken)
    prune_signals = _writes(signals.prune_signals)
    count_prunable_signals = _reads(signals.count_prunable_signals)

    claim_key = _writes(request_keys.claim_key, wary=True)
    renew_key = _writes(request_keys.renew_key)
    answer_key = _writes(request_keys.answer_key)
    free_key = _writes(request_keys.free_key)
    find_key = _reads(request_keys.find_key)
    prune_keys = _writes(request_keys.prune_keys)

    record_webhook = _writes(receiving.receive, wary=True)
    redo_webhook = _writes(receiving.replay)
    dismiss_webhook = _writes(receiving.dismiss)
    release_delayed = _writes(delayed.start_delayed)
    count_delayed = _reads(delayed.count_delayed)
    find_webhooks = _reads(listing.find_webhooks)
    count_quarantined = _reads(listing.count_quarantined)
    prune_webhooks = _writes(listing.prune_webhooks)
    count_prunable_webhooks = _reads(listing.count_prunable_webhooks)

    async def due_events(self, limit: int, lease_seconds: float) -> list[OutboxRecord]:
        """Lease and return events to publish, at most the oldest pending one of each saga."""
        if not await self.transactions.read(outbox.any_due):
            return []
        return await self.transactions.write(lambda sqlite: outbox.due(sqlite, limit, lease_seconds))

    add_events = _writes(outbox.insert, wary=True)
    settle_events = _writes(outbox.settle)
    find_events = _reads(outbox.find)
    count_events = _reads(outbox.count)
    revive_events = _writes(outbox.retry)

    async def prune_events(self, older_than: datetime, limit: int) -> int:
        """Delete events that were sent before ``older_than``; return how many."""
        if not await self.transactions.read(lambda sqlite: outbox.any_sent(sqlite, older_than)):
            return 0
        return await self.transactions.write(lambda sqlite: outbox.prune(sqlite, older_than, limit))
