"""Locks: others' are waited for, for a while; this process's own, which may never end, are refused."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import sys
import threading
import time

import pytest
from sqlite_processes import finished, started

from sagaz_durable.stores.sqlite.database import locks
from sagaz_durable.stores.sqlite.database.thread import ConnectionThread
from sagaz_durable.stores.sqlite.store import SQLiteStore
from sagaz_durable.testing.store_conformance.builders import KNOWN, LEASE, claimed, new, write
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.errors import StoreUnavailable, WriteLockHeld

pytestmark = pytest.mark.anyio

needs_proc_locks = pytest.mark.skipif(not locks._LOCKS.exists(), reason="the kernel tells nobody who holds a lock")

HOLD = """
    holder = sqlite3.connect(PATH, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    print("locked", flush=True)
    sys.stdin.readline()
    holder.execute("COMMIT")
"""


@pytest.fixture
async def store(tmp_path):
    store = SQLiteStore(ConnectionThread(tmp_path / "sagaz.db", busy_seconds=2.0))
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def own_lock(store, tmp_path):
    """A transaction of this process that holds the write lock."""
    holder = sqlite3.connect(tmp_path / "sagaz.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    yield holder
    holder.close()


@pytest.fixture
def others_lock(store, tmp_path):
    """Another process that holds the write lock until a line is written to it."""
    process = started(tmp_path / "sagaz.db", HOLD)
    assert process.stdout.readline() == "locked\n"
    yield process
    finished(process)


async def test_another_processes_lock_is_waited_for(store, others_lock):
    waiting = asyncio.create_task(store.insert([new()], LEASE))
    done, _ = await asyncio.wait([waiting], timeout=0.9)
    assert not done
    others_lock.stdin.write("\n")
    others_lock.stdin.flush()
    (answer,) = await waiting
    assert answer.created


async def test_a_lock_that_stays_is_an_error_that_names_the_file_the_time_and_the_fix(store, others_lock, tmp_path):
    with pytest.raises(StoreUnavailable, match=r"another process .*SAGAZ_SQLITE_BUSY_SECONDS") as raised:
        await store.insert([new()], LEASE)
    assert not isinstance(raised.value, WriteLockHeld)
    assert str(tmp_path / "sagaz.db") in str(raised.value)
    assert " 2." in str(raised.value)


async def test_a_lock_stops_neither_reads_nor_a_claim_of_nothing(store, others_lock):
    """Whoever waited for it would be told that it stays."""
    assert await store.load("x") is None
    assert await store.claim("w1", 10, LEASE, KNOWN) == []
    assert await store.due_events(10, LEASE) == []


async def test_each_of_many_callers_waits_for_no_longer_than_its_own_time(store, others_lock):
    """One after another, they would take ten times as long."""
    async with asyncio.timeout(10):
        answers = await asyncio.gather(*(store.insert([new()], LEASE) for _ in range(10)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 10
    waited = [float(re.search(r"stayed locked for ([\d.]+) s", str(answer))[1]) for answer in answers]
    assert max(waited) < 2 * min(waited)


async def test_reads_go_on_while_writes_wait_for_a_lock(store, others_lock):
    saga_id = new().saga_id
    writes = [asyncio.create_task(store.insert([new()], LEASE)) for _ in range(5)]
    for _ in range(20):
        assert await store.load(saga_id) is None
    assert not any(write.done() for write in writes)
    others_lock.stdin.write("\n")
    others_lock.stdin.flush()
    assert all(answer.created for [answer] in await asyncio.gather(*writes))
    assert len(await store.find(RunFilter())) == 5


async def test_a_caller_that_stops_waiting_leaves_the_store_usable(store, others_lock):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await store.insert([new()], LEASE)
    others_lock.stdin.write("\n")
    others_lock.stdin.flush()
    [answer] = await store.insert([new()], LEASE)
    assert answer.created


async def test_a_store_opens_while_another_process_writes(others_lock, tmp_path):
    second = SQLiteStore(ConnectionThread(tmp_path / "sagaz.db", busy_seconds=0.1))
    await second.open()
    await second.close()


@needs_proc_locks
async def test_a_start_inside_a_transaction_of_this_process_is_refused_with_the_reason(store, own_lock):
    with pytest.raises(WriteLockHeld, match=r"this very process.*session=") as raised:
        await store.insert([new(lease_owner="inline")], LEASE)
    assert str(store.transactions._path) in str(raised.value)
    own_lock.execute("ROLLBACK")
    (answer,) = await store.insert([new()], LEASE)
    assert answer.created


@needs_proc_locks
async def test_a_transaction_that_has_written_is_noticed_too(store, tmp_path):
    with sqlite3.connect(tmp_path / "sagaz.db") as user:
        user.execute("CREATE TABLE orders (id INTEGER)")
        user.execute("INSERT INTO orders VALUES (1)")
        with pytest.raises(WriteLockHeld):
            await store.insert([new()], LEASE)
    user.close()
    (answer,) = await store.insert([new()], LEASE)
    assert answer.created


@needs_proc_locks
async def test_what_a_running_saga_records_waits_its_whole_time(store, tmp_path):
    run = await claimed(store)
    holder = sqlite3.connect(tmp_path / "sagaz.db", isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(1.2, holder.execute, ["ROLLBACK"])
    timer.start()
    assert await store.write([write(run, status="completed")]) == [True]
    timer.join()
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(WriteLockHeld):
        await store.heartbeat("w1", LEASE)
    holder.close()


@needs_proc_locks
async def test_many_short_transactions_of_this_process_are_not_taken_for_one_long(store, tmp_path):
    """Another request of this process writes so busily that every look finds it."""
    stop = threading.Event()

    def write_busily():
        user = sqlite3.connect(tmp_path / "sagaz.db", isolation_level=None, timeout=10)
        user.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER)")
        while not stop.is_set():
            user.execute("BEGIN IMMEDIATE")
            user.execute("INSERT INTO orders VALUES (1)")
            time.sleep(0.05)
            user.execute("COMMIT")
        user.close()

    busy = threading.Thread(target=write_busily)
    busy.start()
    started_at = time.monotonic()
    try:
        await store.insert([new()], LEASE)
    except WriteLockHeld:
        # SQLite's locks are not fair, so that the whole time may pass. It is only never cut short.
        assert time.monotonic() - started_at >= 1.7
    finally:
        stop.set()
        busy.join()


async def test_where_nobody_tells_who_holds_the_lock_both_causes_are_named(store, own_lock, monkeypatch, tmp_path):
    monkeypatch.setattr(locks, "_LOCKS", tmp_path / "nothing")
    with pytest.raises(StoreUnavailable, match="another process, or a transaction of this one") as raised:
        await store.insert([new()], LEASE)
    assert not isinstance(raised.value, WriteLockHeld)


@needs_proc_locks
async def test_a_lock_in_the_old_journal_mode_is_noticed(tmp_path):
    user = sqlite3.connect(tmp_path / "old.db", isolation_level=None)
    user.execute("PRAGMA journal_mode = DELETE")
    user.execute("CREATE TABLE t (x)")
    assert locks.own_process_writes(str(tmp_path / "old.db")) is False
    user.execute("BEGIN IMMEDIATE")
    assert locks.own_process_writes(str(tmp_path / "old.db")) is True
    store = SQLiteStore(ConnectionThread(tmp_path / "old.db", busy_seconds=0.4))
    with pytest.raises(StoreUnavailable):
        await store.open()
    user.execute("ROLLBACK")
    user.close()


async def test_looking_does_not_give_up_the_locks_of_this_process(store, own_lock, tmp_path):
    locks.own_process_writes(str(tmp_path / "sagaz.db"))
    code = """
        other = sqlite3.connect(PATH, isolation_level=None, timeout=0)
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            print(error)
    """
    assert finished(started(tmp_path / "sagaz.db", code)) == "database is locked\n"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/locks is Linux's")
def test_lines_of_the_kernel(tmp_path, monkeypatch):
    path = tmp_path / "sagaz.db"
    path.touch()
    listing = tmp_path / "locks"
    monkeypatch.setattr(locks, "_LOCKS", listing)
    monkeypatch.setattr(locks.os, "getpid", lambda: 42)
    place = f"42 fe:00:{path.stat().st_ino}"
    reserved = f"{0x40000001} {0x40000001}"
    for line, expected in [
        (f"1: POSIX  ADVISORY  WRITE {place} {reserved}", True),
        (f"1: POSIX  ADVISORY  WRITE {place} 0 EOF", True),
        (f"1: POSIX  ADVISORY  READ {place} {reserved}", False),
        (f"1: -> POSIX  ADVISORY  WRITE {place} {reserved}", False),
        (f"1: FLOCK  ADVISORY  WRITE {place} 0 EOF", False),
        (f"1: POSIX  ADVISORY  WRITE 4{place} {reserved}", False),
        (f"1: POSIX  ADVISORY  WRITE {place}7 {reserved}", False),
        (f"1: POSIX  ADVISORY  WRITE {place} 120 120", False),
        ("", False),
    ]:
        listing.write_text(f"{line}\n")
        assert locks.own_process_writes(str(path)) is expected, line
