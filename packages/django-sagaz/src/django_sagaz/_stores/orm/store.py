"""Every other database through Django's ORM: MariaDB and MySQL, and whatever has a backend for Django."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

from django.db import OperationalError, connections, transaction

from django_sagaz._stores.errors import ConnectionDied, translated
from django_sagaz._stores.identity import read_store_id
from django_sagaz._stores.orm import (
    attempts,
    claims,
    delayed,
    erasure,
    interventions,
    journal,
    outbox,
    request_keys,
    signals,
    waits,
    webhooks,
)
from django_sagaz._stores.orm import maintenance as upkeep
from django_sagaz._stores.orm import runs as orm_runs
from django_sagaz._stores.ready import check_rights, check_tables
from django_sagaz._stores.runners import Runner, immediately
from sagaz_durable.stores.base import Answer, BaseStore, does
from sagaz_integration_core.contract.records import Inserted, NewRun, RunWrite
from sagaz_integration_core.contract.request_keys import KeyClaim, NewKey
from sagaz_integration_core.contract.waits import NewSignal, Sent

__all__ = ["ORMStore"]

T = TypeVar("T")
P = ParamSpec("P")

_DEADLOCKS = (1205, 1213)
"""MySQL's codes for a lock that was waited for too long, and for two that waited for each other."""

_PAUSES = (0.02, 0.1, 0.5)


def _does(work: Callable[Concatenate[Any, P], T]) -> Callable[Concatenate[ORMStore, P], Answer[T]]:
    """Return the method that does this in a transaction."""

    def method(self: ORMStore, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        return self.transact(lambda connection: work(connection, *args, **kwargs))

    return does(work, method)


class ORMStore(BaseStore):
    """Keeps runs in any database that Django can use; workers poll.

    Args:
        run: Makes the database calls.
    """

    kind = "django"
    embedded = False
    claim_portions = 1

    def __init__(self, alias: str, run: Runner) -> None:
        super().__init__()
        self._alias = alias
        self._run = run

    async def close(self) -> None:
        """Disconnect what is not the caller's."""
        await self._run.close()

    def check(self) -> None:
        """Django opens connections when they are needed."""

    async def check_ready(self, *, only_reads: bool = False) -> None:
        """Ask whether tables and rights are there."""

        def check() -> None:
            check_tables(connections[self._alias])
            check_rights(connections[self._alias], only_reads=only_reads)

        await self._run(check)

    async def store_id(self) -> str:
        """Return the store's random id."""
        return await self._run(lambda: read_store_id(connections[self._alias]))

    async def transact(self, work: Callable[[Any], T]) -> T:
        """Return what is done in one transaction, where the runner makes its calls."""
        return await self._run(lambda: _transact(self._alias, work))

    def start(self, run: NewRun) -> Inserted:
        """Insert a run on this thread's connection, here and now."""
        [inserted] = immediately(self.insert([run], 0.0))
        return inserted

    def send_here(self, signal: NewSignal) -> Sent:
        """Insert a signal on this thread's connection, here and now."""
        connection = connections[self._alias]
        with translated(connection):
            [sent] = signals.send(connection, [signal])
            return sent

    def claim_key_here(self, key: NewKey) -> KeyClaim:
        """Claim the key of a request on this thread's connection, here and now."""
        connection = connections[self._alias]
        with translated(connection):
            return request_keys.claim_key(connection, key)

    def answer_key_here(self, key_id: str, answer: str) -> bool:
        """Keep the answer under a key that the transaction on this thread's connection holds."""
        connection = connections[self._alias]
        with translated(connection):
            return request_keys.answer_key(connection, key_id, None, answer)

    def write_here(self, write: RunWrite) -> bool | None:
        """Write into the journal on this thread's connection, as a part of the transaction that is open there."""
        connection = connections[self._alias]
        with translated(connection):
            [accepted] = journal.write(connection, [write])
            return accepted

    async def insert_runs(self, /, runs: Sequence[NewRun], lease_seconds: float) -> list[Inserted]:
        """Insert runs in one transaction."""
        began_at = time.monotonic()
        insert = partial(orm_runs.insert, runs=runs, lease_seconds=lease_seconds)
        try:
            return await self.transact(insert)
        except ConnectionDied:
            # Whether it was committed is not known; what it has made is recognised.
            return await self.transact(partial(insert, began_at=began_at))

    claim_runs = _does(claims.claim)
    any_alone = _does(claims.any_alone)
    renew = _does(orm_runs.renew)
    write_runs = _does(journal.write)

    load = _does(upkeep.load)
    statuses = _does(upkeep.statuses)
    load_steps = _does(orm_runs.load_steps)
    load_attempts = _does(attempts.load_attempts)
    load_audit = _does(interventions.load_audit)
    find = _does(upkeep.find)
    stats = _does(upkeep.stats)
    workers = _does(upkeep.live_workers)

    heartbeat = _does(upkeep.heartbeat)
    carry_out = _does(interventions.intervene)
    save_row = _does(upkeep.save_foreign)
    delete = _does(upkeep.delete)
    prune = _does(upkeep.prune)
    count_prunable = _does(upkeep.count_prunable)
    erase = _does(erasure.erase)
    count_erasable = _does(erasure.count_erasable)

    add_signals = _does(signals.send)
    load_waits = _does(waits.load_waits)
    rouse_lost = _does(waits.rouse_lost)
    count_lost = _does(waits.count_lost)
    count_signalled = _does(waits.count_signalled)
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

    record_webhook = _does(webhooks.receive)
    redo_webhook = _does(webhooks.replay)
    dismiss_webhook = _does(webhooks.dismiss)
    release_delayed = _does(delayed.start_delayed)
    count_delayed = _does(delayed.count_delayed)
    find_webhooks = _does(webhooks.find_webhooks)
    count_quarantined = _does(webhooks.count_quarantined)
    prune_webhooks = _does(webhooks.prune_webhooks)
    count_prunable_webhooks = _does(webhooks.count_prunable_webhooks)

    add_events = _does(outbox.insert)
    due_events = _does(outbox.due)
    settle_events = _does(outbox.settle)
    find_events = _does(outbox.find)
    count_events = _does(outbox.count)
    revive_events = _does(outbox.retry)
    prune_events = _does(outbox.prune)


def _transact(alias: str, work: Callable[[Any], T]) -> T:
    connection = connections[alias]
    with translated(connection):
        for pause in _PAUSES:
            try:
                with nullcontext() if connection.in_atomic_block else transaction.atomic(alias):
                    return work(connection)
            except OperationalError as error:
                if connection.in_atomic_block or error.args[:1] not in [(code,) for code in _DEADLOCKS]:
                    raise
                time.sleep(pause)
        with transaction.atomic(alias):
            return work(connection)
