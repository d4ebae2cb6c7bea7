"""What a connection must be is made sure of when it is opened, whatever the role, the database or a pooler is like."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
from collections.abc import Iterator

import psycopg
import pytest
from pg import at
from pooler import pooled

from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.factory import create_store, migrate
from sagaz_durable.stores.grants import WRITING, grants
from sagaz_durable.stores.postgresql.database.address import read_address
from sagaz_durable.stores.postgresql.database.connection import connect
from sagaz_durable.stores.postgresql.store import PostgresStore
from sagaz_integration_core.contract.events import EventWrite
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.contract.records import NewRun, RunWrite, StepWrite
from sagaz_integration_core.contract.schema import TABLES
from sagaz_integration_core.errors import StoreNotMigrated, StoreRightsMissing, UnstorableValue

pytestmark = pytest.mark.anyio

KNOWN = {"OrderSaga": (), "S": ()}

needs_pgbouncer = pytest.mark.skipif(
    "SAGAZ_TEST_PGBOUNCER" not in os.environ, reason="PgBouncer: apt-get install pgbouncer, and SAGAZ_TEST_PGBOUNCER=1"
)


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@contextlib.contextmanager
def role(url: str, *statements: str) -> Iterator[str]:
    """Make a role, and have it made what it is by statements with ``{role}``."""
    name = f"app_{secrets.token_hex(4)}"
    execute(url, f"CREATE ROLE {name} LOGIN", *(statement.replace("{role}", name) for statement in statements))
    try:
        yield name
    finally:
        execute(url, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


@contextlib.asynccontextmanager
async def opened(url: str, **options):
    store = create_store(Settings(storage_url=url, **options))
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def everything(store: PostgresStore, context: str = '{"n": 1}') -> None:
    """Insert, claim, journal, tell and end a run."""
    await store.insert([NewRun("x", "OrderSaga", context, "f1")], 30)
    await store.claim("w1", 1, 30, KNOWN)
    steps, events = (StepWrite("pay", "do", "done", context),), (EventWrite("e", "orders", context),)
    assert await store.write([RunWrite("x", "w1", 1, steps, events, status="completed")]) == [True]
    await store.heartbeat("w1", 30)
    [event] = await store.due_events(1, 30)
    assert (event.payload, (await store.load("x")).context) == (context, context)
    assert await store.delete("x")


# Rights.


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("right", WRITING)
async def test_each_right_that_lacks_is_named_with_the_statement_that_gives_it(postgres_url, table, right):
    await migrate(Settings(storage_url=postgres_url))
    with role(postgres_url, *grants("{role}", "public"), f"REVOKE {right} ON {table} FROM {{role}}") as name:
        with pytest.raises(
            StoreRightsMissing, match=f"its user {name} has not the right to {right} on {table}"
        ) as told:
            await create_store(Settings(storage_url=at(postgres_url, user=name))).open()
        execute(postgres_url, str(told.value).partition("run: ")[2])
        async with opened(at(postgres_url, user=name)) as store:
            await everything(store)
            execute(postgres_url, f"REVOKE {right} ON {table} FROM {name}")
            with pytest.raises(StoreRightsMissing, match=f"{right} on {table}"):
                await store.check_ready()


@pytest.mark.parametrize("schema", [None, "sagas"])
async def test_a_schema_that_may_not_be_used_is_not_one_without_tables(postgres_url, schema):
    url = f"{postgres_url}&options=-csearch_path%3Dsagas" if schema is None else postgres_url
    execute(postgres_url, "CREATE SCHEMA sagas")
    await migrate(Settings(storage_url=url, schema=schema))
    with role(postgres_url) as name:
        theirs = at(url, user=name)
        with pytest.raises(StoreRightsMissing, match="has not the right to USAGE on schema sagas") as told:
            await create_store(Settings(storage_url=theirs, schema=schema)).open()
        execute(postgres_url, str(told.value).partition("run: ")[2])
        async with opened(theirs, schema=schema) as store:
            await everything(store)


async def test_a_database_that_may_not_be_entered_is_not_one_that_is_away(postgres_url):
    await migrate(Settings(storage_url=postgres_url))
    name = postgres_url.partition("?")[0].rpartition("/")[2]
    with role(postgres_url, *grants("{role}", "public"), f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC") as user:
        settings = Settings(storage_url=at(postgres_url, user=user))
        with pytest.raises(StoreRightsMissing, match=r"permission denied for database.*Grant it CONNECT on the"):
            await create_store(settings).open()
        execute(postgres_url, f"GRANT CONNECT ON DATABASE {name} TO {user}")
        async with opened(settings.storage_url) as store:
            await everything(store)
        execute(postgres_url, f"REVOKE CONNECT ON DATABASE {name} FROM {user}")


async def test_one_who_only_reads_needs_no_right_to_write(postgres_url):
    async with opened(postgres_url, migrate=True) as store:
        await store.insert([NewRun("x", "OrderSaga", "{}", "f1")], 30)
    with role(postgres_url, *grants("{role}", "public", only_reads=True)) as name:
        settings = Settings(storage_url=at(postgres_url, user=name))
        with pytest.raises(StoreRightsMissing, match="INSERT, UPDATE, DELETE on sagaz_run"):
            await create_store(settings).open()
        store = create_store(settings, only_reads=True)
        await store.open()
        try:
            assert [run.saga_id for run in await store.find(RunFilter())] == ["x"]
            await store.check_ready(only_reads=True)
        finally:
            await store.close()


async def test_a_table_that_is_missing_is_named(postgres_url):
    await migrate(Settings(storage_url=postgres_url))
    execute(postgres_url, "DROP TABLE sagaz_audit")
    with pytest.raises(StoreNotMigrated, match="there is no table sagaz_audit"):
        await create_store(Settings(storage_url=postgres_url)).open()


# Sessions.


async def test_a_role_that_is_serializable_by_default_conflicts_with_nobody(postgres_url):
    await migrate(Settings(storage_url=postgres_url))
    isolation = "ALTER ROLE {role} SET default_transaction_isolation = 'serializable'"
    with role(postgres_url, *grants("{role}", "public"), isolation) as name:
        async with opened(at(postgres_url, user=name), pool_size=8) as store:
            await conflict(store)


async def conflict(store: PostgresStore) -> None:
    """Start and claim at once, as no SERIALIZABLE transactions could without failing."""
    for turn in range(10):
        runs = [NewRun(f"{turn}-{n}", "OrderSaga", "{}", "f1") for n in range(8)]
        await asyncio.gather(*(store.insert([run], 30) for run in runs))
        claims = await asyncio.gather(*(store.claim(f"w{n}", 2, 30, KNOWN) for n in range(8)))
        claimed = [(run, f"w{n}") for n, runs in enumerate(claims) for run in runs]
        assert len({run.saga_id for run, _ in claimed}) == len(claimed)
        ends = [RunWrite(run.saga_id, owner, 1, status="completed") for run, owner in claimed]
        await asyncio.gather(*(store.write([end]) for end in ends))


async def test_a_role_that_is_serializable_by_default_may_migrate_beside_others(postgres_url):
    isolation = "ALTER ROLE {role} SET default_transaction_isolation = 'serializable'"
    with role(postgres_url, "GRANT ALL ON SCHEMA public TO {role}", isolation) as name:
        settings = Settings(storage_url=at(postgres_url, user=name))
        done = await asyncio.gather(*(migrate(settings) for _ in range(8)))
        assert sorted(done) == [[]] * 7 + [["0001_initial"]]


async def test_sessions_that_idle_are_not_ended_by_the_databases_own_limit(postgres_url):
    await migrate(Settings(storage_url=postgres_url))
    name = postgres_url.partition("?")[0].rpartition("/")[2]
    execute(postgres_url, f"ALTER DATABASE {name} SET idle_session_timeout = '100ms'")
    async with opened(postgres_url, pool_size=1) as store:
        asking = "SELECT pg_backend_pid(), current_setting('idle_session_timeout')"
        [before] = await store.database.fetch(asking)
        waiting = asyncio.create_task(store.wait(30))
        async with asyncio.timeout(10):
            while not store._notifications.listening:
                await asyncio.sleep(0.01)
        # By the server's clock, not ours.
        execute(postgres_url, "SELECT pg_sleep(0.5)")
        assert [before] == await store.database.fetch(
            "SELECT pg_backend_pid(), current_setting('idle_session_timeout')"
        )
        assert store._notifications.listening
        waiting.cancel()


# Poolers.


async def settings_seen(url: str) -> set[tuple[str, ...]]:
    """What other applications find in the sessions that a pooler lends them: in all three of them at once."""
    query = (
        b"SELECT current_setting('enable_seqscan'), current_setting('plan_cache_mode'), "
        b"current_setting('idle_session_timeout'), current_setting('default_transaction_isolation'), "
        b"(SELECT count(*) FROM pg_listening_channels()), (SELECT count(*) FROM pg_prepared_statements)"
    )
    async with contextlib.AsyncExitStack() as stack:
        seen = set()
        for _ in range(3):
            connection = await psycopg.AsyncConnection.connect(url, prepare_threshold=None)
            await stack.enter_async_context(connection)
            # Not committed before the end: each has a session of the server's.
            seen.add(await (await connection.execute(query)).fetchone())
        return seen


@needs_pgbouncer
async def test_a_pooler_is_noticed_and_its_sessions_are_left_as_they_were(postgres_url, caplog):
    await migrate(Settings(storage_url=postgres_url))
    with pooled(postgres_url) as url, caplog.at_level(logging.INFO):
        before = await settings_seen(url)
        async with opened(url, pool_size=3) as store:
            waiting = asyncio.create_task(store.wait(5))
            for turn in range(10):
                await store.insert([NewRun(f"x{turn}", "OrderSaga", "{}", "f1")], 30)
                await asyncio.gather(*(store.claim("w1", 1, 30, KNOWN) for _ in range(6)))
            await waiting
            async with asyncio.timeout(10):
                while not (told := [r for r in caplog.records if "A pooler is in front" in r.getMessage()]):
                    await asyncio.sleep(0.01)
            assert not store._notifications.listening
            assert len(told) == 1
            assert await settings_seen(url) == before
    assert len(before) == 1


@needs_pgbouncer
async def test_behind_a_pooler_a_role_that_is_serializable_by_default_conflicts_with_nobody(postgres_url):
    await migrate(Settings(storage_url=postgres_url))
    isolation = "ALTER ROLE {role} SET default_transaction_isolation = 'serializable'"
    with (
        role(postgres_url, *grants("{role}", "public"), isolation) as name,
        pooled(postgres_url, name) as url,
    ):
        async with opened(at(url, user=name), pool_size=3) as store:
            await conflict(store)
            with pytest.raises(UnstorableValue):
                await store.find(RunFilter(limit=-1))
            await everything(store)


# Encodings.


@contextlib.contextmanager
def encoded(server: str, encoding: str) -> Iterator[str]:
    name = f"sagaz_{secrets.token_hex(6)}"
    execute(server, f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LOCALE 'C'")
    try:
        yield at(server, database=name)
    finally:
        execute(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize(
    ("encoding", "context"),
    [("SQL_ASCII", '{"name": "Zoë 😀"}'), ("LATIN1", '{"name": "Zoë"}'), ("UTF8", '{"n": "😀"}')],
)
async def test_what_a_database_can_store_comes_back_whatever_its_encoding(
    postgres_server, encoding, context, monkeypatch
):
    monkeypatch.setenv("PGCLIENTENCODING", "SQL_ASCII")
    with encoded(postgres_server, encoding) as url:
        async with opened(url, migrate=True) as store:
            await everything(store, context)


@pytest.mark.parametrize(("encoding", "told"), [("LATIN1", 1), ("SQL_ASCII", 0), ("UTF8", 0)])
async def test_an_encoding_that_has_not_every_character_is_one_warning(postgres_server, caplog, encoding, told):
    with encoded(postgres_server, encoding) as url:
        async with opened(url, migrate=True):
            pass
    assert len([r for r in caplog.records if f"in a database of encoding {encoding}" in r.getMessage()]) == told


async def test_a_connection_whose_opening_is_cancelled_is_closed(postgres_url, monkeypatch):
    opened = []

    async def cancelled(connection, level):
        opened.append(connection)
        raise asyncio.CancelledError

    monkeypatch.setattr(psycopg.AsyncConnection, "set_isolation_level", cancelled)
    with pytest.raises(asyncio.CancelledError):
        await connect(read_address(postgres_url))
    assert [connection.closed for connection in opened] == [True]
