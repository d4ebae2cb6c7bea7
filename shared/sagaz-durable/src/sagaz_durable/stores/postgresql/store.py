"""Durable runs in PostgreSQL: for many workers on many machines, woken by the commit that made a run due."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

from sagaz_durable.stores.base import Answer, BaseStore, does
from sagaz_durable.stores.postgresql import (
    interventions,
    journal,
    leases,
    outbox,
    reads,
    request_keys,
    signals,
)
from sagaz_durable.stores.postgresql import maintenance as upkeep
from sagaz_durable.stores.postgresql.database.notifications import FOR_SIGNAL, Notifications
from sagaz_durable.stores.postgresql.database.statements import Database
from sagaz_durable.stores.postgresql.joining import joining
from sagaz_durable.stores.postgresql.webhooks import delayed, listing, receiving
from sagaz_durable.stores.wanted_runs import Wanted
from sagaz_durable.transactions.statements import Joining
from sagaz_integration_core.contract.records import ClaimedRun

__all__ = ["PostgresStore"]

P = ParamSpec("P")
T = TypeVar("T")

_SOON_SECONDS = 0.01
"""After a claim for a signal, its run begins before the next claim, which looks for all that is due."""


def _does(
    work: Callable[Concatenate[Database, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[PostgresStore, P], Answer[T]]:
    """Return the method that does this with the store's database."""

    def method(self: PostgresStore, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        return work(self.database, *args, **kwargs)

    return does(work, method)


class PostgresStore(BaseStore):
    """Keeps runs in PostgreSQL, for any number of processes.

    Args:
        database: What executes its statements: the pool, or a framework's own connections.
        notifications: What tells of commits that made runs due; None where workers only poll.
    """

    embedded = False
    claim_portions = 2

    def __init__(self, database: Database, notifications: Notifications | None = None) -> None:
        super().__init__()
        self.database = database
        self.kind = database.kind
        self._notifications = notifications
        self._joining: Joining | None = None
        self._claims = leases.Claims(database, self._wake_soon)

    async def open(self) -> None:
        """Connect, and check the tables."""
        await self.database.open()
        await super().open()
        if (shown := self.database.shown) is not None:
            self._joining = joining(self.database, shown, await self.store_id())

    async def close(self) -> None:
        """Disconnect; harmless when already closed."""
        if self._notifications is not None:
            await self._notifications.stop()
        await self.database.close()

    def check(self) -> None:
        """Refuse the use of a store that is not open in this process and on this event loop."""
        self.database.check()

    async def check_ready(self, *, only_reads: bool = False) -> None:
        """Ask whether tables and rights are there."""
        await self.database.check_ready(only_reads=only_reads)

    @property
    def joining(self) -> Joining | None:
        """How runs are inserted through a caller's own connection, if that is another one than the store's."""
        self.database.check_process()
        return self._joining

    async def store_id(self) -> str:
        """Return the random id that was made with the tables."""
        return await self.database.store_id()

    async def wait(self, seconds: float) -> None:
        """Return when a commit made runs due, at the latest after ``seconds``."""
        self.check()
        if self._notifications is not None:
            self._notifications.start(self._told)
        await super().wait(seconds)

    def _told(self, said: str) -> None:
        if said == FOR_SIGNAL:
            self._claims.expect_signalled()
        else:
            self._claims.expect_any()
        self.wake()

    def _wake_soon(self) -> None:
        asyncio.get_running_loop().call_later(_SOON_SECONDS, self.wake)

    def wake_own(self) -> None:
        """Make `wait` return, unless the commit comes back as a notification."""
        if self._notifications is None or not self._notifications.listening:
            self.wake()

    async def claim_runs(self, /, owner: str, limit: int, lease_seconds: float, wanted: Wanted) -> list[ClaimedRun]:
        """Lease runs that are due, or whose lease has ended."""
        return await self._claims.claim(owner, limit, lease_seconds, wanted)

    insert_runs = _does(leases.insert)
    any_alone = _does(reads.any_alone)
    renew = _does(leases.renew)
    write_runs = _does(journal.write)

    load = _does(reads.load)
    statuses = _does(reads.statuses)
    load_steps = _does(reads.load_steps)
    load_attempts = _does(reads.load_attempts)
    load_audit = _does(interventions.load_audit)
    find = _does(reads.find)
    stats = _does(reads.stats)
    workers = _does(upkeep.live_workers)

    heartbeat = _does(upkeep.heartbeat)
    carry_out = _does(interventions.intervene)
    save_row = _does(upkeep.save_foreign)
    delete = _does(upkeep.delete)
    prune = _does(upkeep.prune)
    count_prunable = _does(upkeep.count_prunable)
    erase = _does(upkeep.erase)
    count_erasable = _does(upkeep.count_erasable)

    add_signals = _does(signals.send)
    load_waits = _does(reads.load_waits)
    rouse_lost = _does(upkeep.rouse_lost)
    count_lost = _does(upkeep.count_lost)
    count_signalled = _does(upkeep.count_signalled)
    find_signals = _does(signals.find_signals)
    count_untaken = _does(signals.count_untaken)
    prune_signals = _does(signals.prune_signals)
    count_prunable_signals = _does(signals.count_prunable_signals)

    claim_key = _does(request_keys.claim_key)
    renew_key = _does(request_keys.renew_key)
    answer_key = _does(request_keys.answer_key)
    free_key = _does(request_keys.free_key)
    find_key = _does(request_keys.find_key)
    prune_keys = _does(request_keys.prune_keys)

    record_webhook = _does(receiving.receive)
    redo_webhook = _does(receiving.replay)
    dismiss_webhook = _does(receiving.dismiss)
    release_delayed = _does(delayed.start_delayed)
    count_delayed = _does(delayed.count_delayed)
    find_webhooks = _does(listing.find_webhooks)
    count_quarantined = _does(listing.count_quarantined)
    prune_webhooks = _does(listing.prune_webhooks)
    count_prunable_webhooks = _does(listing.count_prunable_webhooks)

    add_events = _does(outbox.insert)
    due_events = _does(outbox.due)
    settle_events = _does(outbox.settle)
    find_events = _does(outbox.find)
    count_events = _does(outbox.count)
    revive_events = _does(outbox.retry)
    prune_events = _does(outbox.prune)
