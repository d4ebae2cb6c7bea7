"""Starts in a transaction of the application's own SQLite connection, however Python was told to begin those."""

from __future__ import annotations

import sqlite3
import sys

import pytest

from sagaz_durable.stores.sqlite.database.thread import ConnectionThread
from sagaz_durable.stores.sqlite.store import SQLiteStore
from sagaz_durable.testing.store_conformance.builders import new
from sagaz_durable.transactions.sessions import join_sync
from sagaz_integration_core.errors import TransactionRequired, WrongDatabase

pytestmark = pytest.mark.anyio

# autocommit= came with Python 3.12.
BEGINS = [{"autocommit": False}, {"autocommit": False, "isolation_level": None}] if sys.version_info >= (3, 12) else []
BEGINS_NONE = [{"autocommit": True}] if sys.version_info >= (3, 12) else []


@pytest.fixture
def connect(sqlite_store, tmp_path):
    opened = []

    def connect(name="sagaz.db", **options):
        opened.append(sqlite3.connect(tmp_path / name, **options))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"isolation_level": "IMMEDIATE"},
        *BEGINS,
    ],
    ids=str,
)
async def test_where_python_begins_transactions_a_run_is_there_with_the_commit(sqlite_store, connect, options):
    connection = connect(**options)
    rolled_back, committed = new(), new()
    join_sync(connection, sqlite_store, [rolled_back])
    connection.rollback()
    join_sync(connection, sqlite_store, [committed])
    assert await sqlite_store.load(committed.saga_id) is None
    connection.commit()
    assert await sqlite_store.load(rolled_back.saga_id) is None
    assert (await sqlite_store.load(committed.saga_id)).status == "pending"


@pytest.mark.parametrize("options", [{"isolation_level": None}, *BEGINS_NONE], ids=str)
async def test_where_it_begins_none_a_start_needs_one(sqlite_store, connect, options):
    connection, run = connect(**options), new()
    with pytest.raises(TransactionRequired, match="Execute BEGIN first"):
        join_sync(connection, sqlite_store, [run])
    assert await sqlite_store.load(run.saga_id) is None
    connection.execute("BEGIN")
    join_sync(connection, sqlite_store, [run])
    connection.execute("COMMIT")
    assert await sqlite_store.load(run.saga_id) is not None


async def test_the_tables_of_another_store_are_not_written_to(sqlite_store, connect, tmp_path):
    another = SQLiteStore(ConnectionThread(tmp_path / "another.db"))
    await another.open()
    run = new()
    with pytest.raises(WrongDatabase, match="has the tables of another store"):
        join_sync(connect("another.db"), sqlite_store, [run])
    assert await another.load(run.saga_id) is None
    await another.close()
