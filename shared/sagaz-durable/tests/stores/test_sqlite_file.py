"""The file of an SQLite store: what is made in it, and what is said when it cannot be used."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlite_processes import finished, started

from sagaz_durable import stores
from sagaz_durable.stores.sqlite.database.thread import ConnectionThread
from sagaz_durable.stores.sqlite.store import SQLiteStore
from sagaz_durable.testing.store_conformance.builders import KNOWN, LEASE, new, record_end, step, told, write
from sagaz_integration_core.contract.decisions import Erasure
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.contract.schema import SCHEMA_VERSION, TABLES
from sagaz_integration_core.errors import StoreNotMigrated, StoreUnavailable, WriteRefused

pytestmark = pytest.mark.anyio


def query(path, statement, *values):
    with sqlite3.connect(path) as connection:
        rows = connection.execute(statement, values).fetchall()
    connection.close()
    return rows


async def refused(path, match, error=StoreUnavailable):
    store = SQLiteStore(ConnectionThread(path, busy_seconds=0.2))
    with pytest.raises(error, match=match) as raised:
        await store.open()
    await store.close()
    return str(raised.value)


async def test_the_tables_have_the_columns_that_every_store_has(sqlite_store, tmp_path):
    names = {row[0] for row in query(tmp_path / "sagaz.db", "SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {name for name in names if name.startswith("sagaz_")} == set(TABLES)
    for table, columns in TABLES.items():
        found = query(tmp_path / "sagaz.db", "SELECT name FROM pragma_table_info(?)", table)
        assert tuple(row[0] for row in found) == columns


async def test_the_file_tells_its_schema_version_and_id(sqlite_store, tmp_path):
    meta = dict(query(tmp_path / "sagaz.db", "SELECT key, value FROM sagaz_meta"))
    assert meta == {"schema_version": str(SCHEMA_VERSION), "store_id": await sqlite_store.store_id()}


async def test_a_new_file_and_what_sqlite_puts_beside_it_is_for_its_owner_only(tmp_path):
    before = os.umask(0o022)
    try:
        store = SQLiteStore(ConnectionThread(tmp_path / "sagaz.db"))
        await store.open()
    finally:
        os.umask(before)
    try:
        await store.insert([new()], LEASE)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        assert modes == dict.fromkeys(("sagaz.db", "sagaz.db-wal", "sagaz.db-shm"), 0o600)
    finally:
        await store.close()


async def test_the_rights_of_a_file_that_was_there_are_left_as_they_are(tmp_path):
    (tmp_path / "sagaz.db").touch()
    (tmp_path / "sagaz.db").chmod(0o640)
    store = SQLiteStore(ConnectionThread(tmp_path / "sagaz.db"))
    await store.open()
    await store.close()
    assert stat.S_IMODE((tmp_path / "sagaz.db").stat().st_mode) == 0o640


async def test_commits_are_durable_and_readers_do_not_block(sqlite_store, tmp_path):
    assert query(tmp_path / "sagaz.db", "PRAGMA journal_mode") == [("wal",)]
    settings = await sqlite_store.transactions.read(lambda sqlite: sqlite.execute("PRAGMA synchronous").fetchone())
    assert settings == (2,)


async def test_times_are_kept_as_text_that_sorts(sqlite_store, tmp_path):
    await record_end(sqlite_store)
    ((created, finished_at),) = query(tmp_path / "sagaz.db", "SELECT created_at, finished_at FROM sagaz_run")
    assert len(created) == len(finished_at) == len("2026-01-01 00:00:00.000000")
    assert created < finished_at


async def test_what_is_erased_or_pruned_is_found_without_looking_at_all_runs(sqlite_store, tmp_path):
    from sagaz_durable.stores.sqlite import maintenance as erasing
    from sagaz_durable.stores.sqlite import maintenance as upkeep

    asked = []
    erasure, before = Erasure("a", "r", ("completed",), before=datetime.now(UTC)), datetime.now(UTC)
    with contextlib.closing(sqlite3.connect(tmp_path / "sagaz.db")) as sqlite:
        sqlite.set_trace_callback(asked.append)
        erasing.erase(sqlite, erasure, 5)
        upkeep.prune(sqlite, before, ("completed",), 5)
        sqlite.set_trace_callback(None)
        search, prune = (statement for statement in asked if "ORDER BY finished_at" in statement)
        plans = [" ".join(row[3] for row in sqlite.execute(f"EXPLAIN QUERY PLAN {text}")) for text in (search, prune)]
    assert "sagaz_run USING INDEX sagaz_run_erasable (finished_at" in plans[0]
    assert "sagaz_run USING INDEX sagaz_run_" in plans[1]
    assert "(finished_at" in plans[1]
    assert "TEMP B-TREE" not in " ".join(plans)


async def test_a_claim_and_the_relay_use_their_indexes(sqlite_store, tmp_path):
    from sagaz_durable.stores.sqlite import claims, outbox

    def plan(statement, *values):
        return " ".join(row[3] for row in query(tmp_path / "sagaz.db", f"EXPLAIN QUERY PLAN {statement}", *values))

    claim = plan(f"SELECT {claims._RUN} {claims._OLDEST}", '["A", "B"]', 0, "2026", 5)
    assert "sagaz_run_due (saga_name=? AND alone=? AND available_at<?)" in claim
    assert "SEARCH run USING INTEGER PRIMARY KEY" in claim
    assert "TEMP B-TREE" not in claim
    relay = plan(outbox._DUE, "2026", 5)
    assert "USING INDEX sagaz_outbox_due" in relay
    assert "sagaz_outbox_saga" in relay
    assert "TEMP B-TREE" not in relay
    prune = plan(outbox._PRUNE, "2026", 5)
    assert "sagaz_outbox_sent" in prune
    assert "TEMP B-TREE" not in prune


@pytest.mark.parametrize("before", [None, (datetime(2026, 1, 1, tzinfo=UTC), "x")], ids=["first", "later"])
@pytest.mark.parametrize("statuses", [(), ("failed",), ("failed", "waiting")], ids=["all", "one", "two"])
async def test_of_an_owners_runs_no_more_are_looked_at_than_are_listed(sqlite_store, tmp_path, statuses, before):
    from sagaz_durable.stores.sqlite import reads

    asked = []
    with contextlib.closing(sqlite3.connect(tmp_path / "sagaz.db")) as sqlite:
        sqlite.set_trace_callback(asked.append)
        assert reads.find(sqlite, RunFilter(owner="user:42", statuses=statuses, before=before)) == []
        sqlite.set_trace_callback(None)
        [question] = asked
        plan = sqlite.execute(f"EXPLAIN QUERY PLAN {question}").fetchall()
    # A part with a limit for each status; only what they have found is sorted.
    parts = [number for number, _, _, text in plan if text.startswith("CO-ROUTINE")]
    looks = [text for _, parent, _, text in plan if parent in parts]
    assert len(looks) == (len(statuses) or 7)
    assert all("USING INDEX sagaz_run_owner (owner=? AND status=?" in text for text in looks)


async def test_runs_that_were_sent_signals_are_found_without_looking_at_all_that_wait(sqlite_store, tmp_path):
    from sagaz_durable.stores.sqlite import waits

    values = {"now": "2026", "lately": "2026", "names": '["A"]'}
    with contextlib.closing(sqlite3.connect(tmp_path / "sagaz.db")) as sqlite:
        for statement in (f"SELECT 1 {waits._SIGNALLED}", waits._ROUSE, waits._COUNT_SIGNALLED):
            plan = [row[3] for row in sqlite.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
            [by_run, by_key] = [line for line in plan if " wait " in line]
            assert "(saga_id=?" in by_run
            assert "(name=? AND key=?)" in by_key
            assert any("run USING INDEX" in line and "(saga_id=?)" in line for line in plan)


def test_no_statement_numbers_its_placeholders_as_python_3_14_refuses():
    modules = list(Path(stores.sqlite.__path__[0]).rglob("*.py"))
    assert len(modules) > 10
    assert [path.name for path in modules if re.search(r"\?\d", path.read_text())] == []


async def test_other_tables_in_the_file_are_left_alone(tmp_path):
    path = tmp_path / "app.db"
    query(path, "CREATE TABLE sagas (id INTEGER)")
    query(path, "INSERT INTO sagas VALUES (7)")
    store = SQLiteStore(ConnectionThread(path))
    await store.open()
    await store.close()
    assert query(path, "SELECT id FROM sagas") == [(7,)]


async def test_a_relative_path_is_one_of_the_directory_at_the_start(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = SQLiteStore(ConnectionThread("here.db"))
    monkeypatch.chdir("/")
    await store.open()
    await store.close()
    assert (tmp_path / "here.db").exists()


async def test_what_was_committed_is_there_for_the_next_process(sqlite_store, tmp_path):
    await sqlite_store.insert([new()], LEASE)
    code = """
        async def main():
            store = SQLiteStore(ConnectionThread(PATH))
            await store.open()
            print(len(await store.claim("other", 10, 30, KNOWN)))
            await store.close()
        asyncio.run(main())
    """
    assert finished(started(tmp_path / "sagaz.db", code)) == "1\n"


async def test_a_missing_directory(tmp_path):
    message = await refused(tmp_path / "no" / "sagaz.db", "directory that exists")
    assert str(tmp_path / "no" / "sagaz.db") in message


async def test_a_directory_instead_of_a_file(tmp_path):
    await refused(tmp_path, "must be a file")


async def test_a_file_that_is_no_database(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("These are notes, and more than a hundred bytes of them. " * 10)
    await refused(path, "not an SQLite database: name another file")
    assert path.read_text().startswith("These are notes")


async def test_a_newer_releases_tables(sqlite_store, tmp_path):
    query(tmp_path / "sagaz.db", "UPDATE sagaz_meta SET value = ? WHERE key = 'schema_version'", SCHEMA_VERSION + 1)
    message = await refused(tmp_path / "sagaz.db", "Upgrade this installation", StoreNotMigrated)
    assert f"version {SCHEMA_VERSION + 1}" in message


@pytest.mark.parametrize("unwritable", ["file", "directory"])
async def test_a_file_or_directory_that_this_user_may_not_write(tmp_path, unwritable):
    path = tmp_path / "d" / "sagaz.db"
    path.parent.mkdir()
    store = SQLiteStore(ConnectionThread(path))
    await store.open()
    await store.close()
    if unwritable == "file":
        path.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
        path.parent.chmod(0o777)
    else:
        path.chmod(0o666)
        path.parent.chmod(0o555)
    for parent in [tmp_path, *tmp_path.parents]:
        if parent.stat().st_uid == os.getuid() and parent.stat().st_mode & 0o055 != 0o055:
            parent.chmod(parent.stat().st_mode | 0o055)
    code = """
        async def main():
            store = SQLiteStore(ConnectionThread(PATH))
            try:
                await store.open()
            except Exception as error:
                print(type(error).__name__, error)
        if os.getuid() == 0:
            os.setuid(65534)
        asyncio.run(main())
    """
    try:
        told_ = finished(started(path, code))
    finally:
        path.parent.chmod(0o755)
    assert told_.startswith("StoreRightsMissing")
    assert str(path) in told_
    assert "writ" in told_


async def test_a_full_disk(sqlite_store):
    def limit(sqlite):
        sqlite.execute(f"PRAGMA max_page_count = {sqlite.execute('PRAGMA page_count').fetchone()[0]}")

    await sqlite_store.transactions.write(limit)
    with pytest.raises(StoreUnavailable, match="The disk is full: free some space"):
        await sqlite_store.insert([new(context="x" * 100_000)], LEASE)
    assert await sqlite_store.find(RunFilter()) == []


async def test_a_file_that_was_removed_or_replaced_is_noticed(sqlite_store, tmp_path):
    path = tmp_path / "sagaz.db"
    for name in os.listdir(tmp_path):
        os.rename(tmp_path / name, tmp_path / f"old-{name}")
    with pytest.raises(StoreUnavailable, match="removed or replaced"):
        await sqlite_store.insert([new()], LEASE)
    path.touch()
    with pytest.raises(StoreUnavailable, match="removed or replaced"):
        await sqlite_store.stats()


async def test_a_failing_write_leaves_nothing_and_the_store_usable(sqlite_store):
    with pytest.raises(WriteRefused, match="NOT NULL constraint failed"):
        await sqlite_store.insert([new(), new(name=None, context=None)], LEASE)
    assert await sqlite_store.find(RunFilter()) == []
    (answer,) = await sqlite_store.insert([new()], LEASE)
    assert answer.created


async def test_the_rows_of_one_write_are_one_commit(sqlite_store, tmp_path):
    await sqlite_store.insert([new() for _ in range(20)], LEASE)
    runs = await sqlite_store.claim("w1", 20, LEASE, KNOWN)
    watcher = sqlite3.connect(tmp_path / "sagaz.db")
    watcher.execute("BEGIN")
    assert watcher.execute("SELECT count(*) FROM sagaz_step").fetchone() == (0,)
    writes = [write(run, steps=(step("a", "done"),), events=told(run.saga_id, "e"), status="completed") for run in runs]
    assert await sqlite_store.write(writes) == [True] * 20
    assert watcher.execute("SELECT count(*) FROM sagaz_step").fetchone() == (0,)
    watcher.execute("COMMIT")
    assert watcher.execute("SELECT count(*) FROM sagaz_step").fetchone() == (20,)
    watcher.close()
