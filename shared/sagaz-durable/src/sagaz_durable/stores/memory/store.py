"""Runs in this process's memory, with the rules of a durable store: for development, tests and what may be lost."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from sagaz_durable.stores.base import Answer, BaseStore, does
from sagaz_durable.stores.memory import erasure, events, leases, maintenance, reads, request_keys, signals, webhooks
from sagaz_durable.stores.memory.rows import Rows
from sagaz_durable.stores.open_check import Opened

__all__ = ["MemoryStore"]

P = ParamSpec("P")
T = TypeVar("T")


def _does(work: Callable[Concatenate[Rows, P], T]) -> Callable[Concatenate[MemoryStore, P], Answer[T]]:
    """Return the method that does this while nobody else reads or writes."""

    async def method(self: MemoryStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        self.check()
        with self._lock:
            return work(self._rows, *args, **kwargs)

    return does(work, method)


class MemoryStore(BaseStore):
    """Keeps runs as long as the process lives; no other process sees them.

    Args:
        keep_finished: How many finished runs are kept; beyond it those that ended first are forgotten, and with them
            their idempotency keys. As many sent events are kept.
    """

    kind = "memory"
    embedded = True
    claim_portions = 1

    def __init__(self, keep_finished: int = 10_000) -> None:
        super().__init__()
        self._opened = Opened("The memory store")
        # A start may come from another thread than the runtime's.
        self._lock = threading.Lock()
        self._id = uuid.uuid4().hex
        self._rows = Rows(keep_finished)

    async def open(self) -> None:
        """Belong to this process and event loop."""
        await super().open()
        self._opened.set()

    async def close(self) -> None:
        """Refuse further use; what is kept is there again after another `open`."""
        self._opened.clear()

    def check(self) -> None:
        """Refuse the use of a store that is not open in this process."""
        self._opened.check()

    async def check_ready(self, *, only_reads: bool = False) -> None:
        """Nothing can be missing."""
        self.check()

    async def store_id(self) -> str:
        """Return the random id that was made with the store."""
        self.check()
        return self._id

    insert_runs = _does(leases.insert)
    claim_runs = _does(leases.claim)
    any_alone = _does(leases.any_alone)
    renew = _does(leases.renew)
    write_runs = _does(leases.write)

    load = _does(reads.load)
    statuses = _does(reads.statuses)
    load_steps = _does(reads.load_steps)
    load_attempts = _does(reads.load_attempts)
    load_audit = _does(reads.load_audit)
    find = _does(reads.find)
    stats = _does(reads.stats)
    workers = _does(reads.live_workers)

    heartbeat = _does(maintenance.heartbeat)
    carry_out = _does(maintenance.intervene)
    save_row = _does(maintenance.save_foreign)
    delete = _does(maintenance.delete)
    prune = _does(maintenance.prune)
    count_prunable = _does(maintenance.count_prunable)
    erase = _does(erasure.erase)
    count_erasable = _does(erasure.count_erasable)

    add_signals = _does(signals.send)
    load_waits = _does(signals.load_waits)
    rouse_lost = _does(signals.rouse_lost)
    count_lost = _does(signals.count_lost)
    count_signalled = _does(signals.count_signalled)
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
    release_delayed = _does(webhooks.start_delayed)
    count_delayed = _does(webhooks.count_delayed)
    find_webhooks = _does(webhooks.find_webhooks)
    count_quarantined = _does(webhooks.count_quarantined)
    prune_webhooks = _does(webhooks.prune_webhooks)
    count_prunable_webhooks = _does(webhooks.count_prunable_webhooks)

    add_events = _does(events.insert)
    due_events = _does(events.due)
    settle_events = _does(events.settle)
    find_events = _does(events.find)
    count_events = _does(events.count)
    revive_events = _does(events.retry)
    prune_events = _does(events.prune)
