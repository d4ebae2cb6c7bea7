"""The store itself: which function does what, under one lock, and how the file is read and written."""

from __future__ import annotations

import fcntl
import os
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Concatenate, ParamSpec, TypeVar

from file_store import outbox, removal, request_keys, runs, signals, tables, waits, webhooks
from file_store.tables import Tables
from sagaz_durable.stores.base import Answer, BaseStore, does
from sagaz_durable.stores.open_check import Opened
from sagaz_integration_core.errors import StoreUnavailable

__all__ = ["FileStore"]

P = ParamSpec("P")
T = TypeVar("T")


def _does(
    work: Callable[Concatenate[Tables, P], T], *, commits: bool
) -> Callable[Concatenate[FileStore, P], Answer[T]]:
    async def method(self: FileStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        self.check()
        with self._lock:
            return self._commit(lambda kept: work(kept, *args, **kwargs), commits=commits)

    return does(work, method)


def _reads(work: Callable[Concatenate[Tables, P], T]) -> Callable[Concatenate[FileStore, P], Answer[T]]:
    return _does(work, commits=False)


def _commits(work: Callable[Concatenate[Tables, P], T]) -> Callable[Concatenate[FileStore, P], Answer[T]]:
    return _does(work, commits=True)


class FileStore(BaseStore):
    """Keeps runs in one file, which each commit replaces as a whole: for one process, and few runs.

    Args:
        path: The file; it is made at the first `open`, with a lock file beside it.
    """

    kind = "file"
    embedded = True
    claim_portions = 1

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._lock = threading.Lock()
        self._opened = Opened(f"The store in {path}")
        self._owned: BinaryIO | None = None
        self._tables = Tables()

    async def open(self) -> None:
        await super().open()
        if self._opened:
            return
        try:
            self._own_file()
            self._tables = self._load()
            self._save()
        except StoreUnavailable:
            await self.close()
            raise
        self._opened.set()

    def _own_file(self) -> None:
        try:
            self._owned = open(f"{self._path}.lock", "ab")  # noqa: SIM115
            fcntl.flock(self._owned, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StoreUnavailable(f"{self._path} cannot be opened, or another process has it open: {error}") from error

    async def close(self) -> None:
        self._opened.clear()
        if self._owned is not None:
            self._owned.close()
            self._owned = None

    def check(self) -> None:
        self._opened.check()

    async def check_ready(self, *, only_reads: bool = False) -> None:
        self.check()

    async def store_id(self) -> str:
        self.check()
        return self._tables.store_id

    def _load(self) -> Tables:
        try:
            return pickle.loads(self._path.read_bytes())
        except FileNotFoundError:
            return Tables()
        except (OSError, pickle.UnpicklingError, EOFError) as error:
            raise StoreUnavailable(f"{self._path} cannot be read: {error}") from error

    def _commit(self, work: Callable[[Tables], T], *, commits: bool) -> T:
        """Do work on the tables, and keep what it changed; of work that fails, nothing."""
        try:
            answer = work(self._tables)
            if commits:
                self._save()
        except BaseException:
            self._tables = self._load()
            raise
        return answer

    def _save(self) -> None:
        fresh = Path(f"{self._path}.new")
        try:
            with fresh.open("wb") as file:
                pickle.dump(self._tables, file)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError as error:
            raise StoreUnavailable(f"{self._path} cannot be written: {error}") from error

    insert_runs = _commits(runs.insert)
    claim_runs = _commits(runs.claim)
    any_alone = _reads(runs.any_alone)
    renew = _commits(runs.renew)
    write_runs = _commits(runs.write)
    carry_out = _commits(runs.intervene)
    save_row = _commits(runs.save_foreign)
    heartbeat = _commits(runs.heartbeat)
    delete = _commits(removal.delete)
    prune = _commits(removal.prune)
    count_prunable = _reads(removal.count_prunable)
    erase = _commits(removal.erase)
    count_erasable = _reads(removal.count_erasable)

    load = _reads(tables.load)
    load_steps = _reads(tables.load_steps)
    load_attempts = _reads(tables.load_attempts)
    load_audit = _reads(tables.load_audit)
    find = _reads(tables.find)
    stats = _reads(tables.stats)
    workers = _reads(tables.workers)

    add_signals = _commits(signals.send)
    find_signals = _reads(signals.find)
    count_untaken = _reads(signals.count_untaken)
    prune_signals = _commits(signals.prune)
    count_prunable_signals = _reads(signals.count_prunable)
    load_waits = _reads(waits.load)
    rouse_lost = _commits(waits.rouse_lost)
    count_lost = _reads(waits.count_lost)
    count_signalled = _reads(waits.count_signalled)

    claim_key = _commits(request_keys.claim)
    renew_key = _commits(request_keys.renew)
    answer_key = _commits(request_keys.answer)
    free_key = _commits(request_keys.free)
    find_key = _reads(request_keys.find)
    prune_keys = _commits(request_keys.prune)

    record_webhook = _commits(webhooks.receive)
    redo_webhook = _commits(webhooks.replay)
    dismiss_webhook = _commits(webhooks.dismiss)
    release_delayed = _commits(webhooks.start_delayed)
    count_delayed = _reads(webhooks.count_delayed)
    find_webhooks = _reads(webhooks.find)
    count_quarantined = _reads(webhooks.count_quarantined)
    prune_webhooks = _commits(webhooks.prune)
    count_prunable_webhooks = _reads(webhooks.count_prunable)

    add_events = _commits(outbox.insert)
    due_events = _commits(outbox.due)
    settle_events = _commits(outbox.settle)
    find_events = _reads(outbox.find)
    count_events = _reads(outbox.count)
    revive_events = _commits(outbox.retry)
    prune_events = _commits(outbox.prune)
