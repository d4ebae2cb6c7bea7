"""PostgreSQL goes away for a while: clear errors meanwhile, and everything goes on afterwards by itself."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
from pg import Server, session_name

from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.factory import create_store
from sagaz_durable.stores.postgresql import journal
from sagaz_durable.stores.postgresql.database import pool as connections
from sagaz_durable.stores.postgresql.database.errors import ConnectionLost
from sagaz_durable.stores.postgresql.store import PostgresStore
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.contract.records import NewRun, Release, RunWrite, StepWrite
from sagaz_integration_core.errors import StoreUnavailable

pytestmark = pytest.mark.anyio

KNOWN = {"OrderSaga": ()}


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    """A server that may be restarted without the other tests' knowledge."""
    if "SAGAZ_TEST_POSTGRES_URL" in os.environ:
        pytest.skip("the server of SAGAZ_TEST_POSTGRES_URL is not ours to restart")
    server = Server(Path(f"/tmp/sagaz-pg-own-{session_name()}-{os.getpid()}"))
    server.start()
    yield server
    server.remove()


@pytest.fixture
async def own_store(own_server: Server) -> AsyncIterator[PostgresStore]:
    store = create_store(Settings(storage_url=own_server.url, migrate=True, pool_size=4))
    await store.open()
    yield store
    await store.close()


def new(saga_id: str, lease_owner: str | None = None) -> NewRun:
    return NewRun(saga_id, "OrderSaga", "{}", "f1", lease_owner=lease_owner)


async def terminate(url: str) -> int:
    """Terminate all connections of stores to this database; return how many there were."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        query = (
            "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'sagaz'"
        )
        row = await (await connection.execute(query)).fetchone()
        return row[0]


async def listening(store: PostgresStore) -> None:
    async with asyncio.timeout(10):
        while not store._notifications.listening:
            await asyncio.sleep(0.01)


async def test_terminated_connections_are_not_noticed(store, settings):
    await asyncio.gather(*(store.insert([new(f"x{n}")], 30) for n in range(20)))
    await terminate(settings.storage_url)
    answers = await asyncio.gather(*(store.insert([new(f"y{n}")], 30) for n in range(20)))
    assert all(answer.created for (answer,) in answers)
    await terminate(settings.storage_url)
    assert len(await store.claim("w1", 100, 30, KNOWN)) == 40


async def test_wake_ups_come_back_after_the_listener_was_terminated(store, settings):
    await store.wait(0)
    await listening(store)
    await terminate(settings.storage_url)
    async with asyncio.timeout(10):
        while store._notifications.listening:
            await asyncio.sleep(0.01)
    # What was committed while nobody listened is not waited for either.
    async with await psycopg.AsyncConnection.connect(settings.storage_url) as connection:
        from sagaz_durable.transactions.sessions import join

        waiting = asyncio.create_task(store.wait(60))
        await join(connection, store, [new("x")])
    await asyncio.wait_for(waiting, 10)
    await listening(store)


async def test_a_restart_is_ridden_out(own_server, own_store):
    await own_store.insert([new("before", lease_owner="w1")], 30)
    own_server.restart()
    write = RunWrite("before", "w1", 1, (StepWrite("pay", "do", "done"),), status="completed")
    answers = await asyncio.gather(own_store.write([write]), own_store.insert([new("after")], 30), own_store.stats())
    assert answers[0] == [True]
    assert {run.saga_id for run in await own_store.find(RunFilter())} >= {"before", "after"}


async def test_an_outage_is_an_error_and_its_end_is_noticed(own_server, own_store, monkeypatch):
    monkeypatch.setattr(connections, "ACQUIRE_SECONDS", 0.5)
    store = create_store(Settings(storage_url=own_server.url.replace("//postgres", "//postgres:hunter2"), pool_size=2))
    await store.open()
    await store.insert([new("held", lease_owner="w1")], 30)
    await store.wait(0)
    await listening(store)
    own_server.stop()
    try:
        for use in (
            store.stats,
            lambda: store.claim("w1", 1, 30, KNOWN),
            lambda: store.insert([new("lost")], 30),
            store.open,
        ):
            if use != store.open:
                with pytest.raises(StoreUnavailable, match=r"Check that the server runs|was lost") as error:
                    await use()
                assert "hunter2" not in str(error.value)
        with pytest.raises(StoreUnavailable, match="Check that the server runs"):
            await create_store(Settings(storage_url=own_server.url)).open()
        await store.wait(0.01)
    finally:
        own_server.start()
    async with asyncio.timeout(20):
        while not await _works(store):
            continue
    assert await store.write([RunWrite("held", "w1", 1, status="completed")]) == [True]
    assert await store.load("lost") is None
    await asyncio.wait_for(listening(store), 20)
    await store.close()


async def _works(store: PostgresStore) -> bool:
    try:
        await store.stats()
    except StoreUnavailable:
        return False
    return True


async def test_a_write_is_kept_though_all_connections_were_terminated(store, settings):
    await asyncio.gather(*(store.insert([new(f"x{n}", lease_owner="w1")], 30) for n in range(20)))
    await terminate(settings.storage_url)
    writes = [RunWrite(f"x{n}", "w1", 1, status="completed") for n in range(20)]
    assert await store.write(writes) == [True] * 20


@pytest.mark.parametrize("committed", [False, True])
async def test_a_write_whose_answer_was_lost_is_answered_truly(store, monkeypatch, committed):
    """The connection breaks before, or after, the commit: which of the two is found out."""
    names = ("done", "released", "journal", "fenced")
    await store.insert([new(name, lease_owner="w1") for name in names], 30)
    execute_once, failures = store.database.execute_once, []

    async def breaking(template, values=()):
        if not failures:
            failures.append(template)
            if committed:
                await execute_once(template, values)
            raise ConnectionLost("lost")
        return await execute_once(template, values)

    monkeypatch.setattr(store.database, "execute_once", breaking)
    writes = [
        RunWrite("done", "w1", 1, (StepWrite("a", "do", "done"),), status="completed"),
        RunWrite("done", "w1", 1, error="late"),
        RunWrite("released", "w1", 1, release=Release(9.0, failed=True)),
        RunWrite("journal", "w1", 1, (StepWrite("a", "do", "started"),)),
        RunWrite("fenced", "w1", 7, status="completed"),
        RunWrite("gone", "w1", 1, status="completed"),
    ]
    assert await store.write(writes) == [True, False, True, True, False, False]
    assert (await store.load("done")).status == "completed"
    released = await store.load("released")
    assert (released.status, released.failures, released.lease_owner) == ("pending", 1, None)
    assert failures == [journal.WRITE[True, False, False]]


async def test_an_insert_whose_answer_was_lost_finds_its_own_row(store, monkeypatch):
    execute_once, failures = store.database.execute_once, []

    async def breaking(template, values=()):
        rows = await execute_once(template, values)
        if not failures:
            failures.append(template)
            raise ConnectionLost("lost")
        return rows

    monkeypatch.setattr(store.database, "execute_once", breaking)
    (answer,) = await store.insert([new("x")], 30)
    assert (answer.saga_id, answer.fingerprint) == ("x", "f1")
    assert len(await store.find(RunFilter())) == 1


async def test_a_pool_that_is_busy_says_so(settings, monkeypatch):
    monkeypatch.setattr(connections, "ACQUIRE_SECONDS", 0.2)
    store = create_store(Settings(storage_url=settings.storage_url, schema=settings.schema, migrate=True, pool_size=1))
    await store.open()
    async with store.database._pool.connection():
        with pytest.raises(StoreUnavailable, match=r"None of the 1 connections.*SAGAZ_POOL_SIZE"):
            await store.stats()
    await store.close()


async def test_a_read_only_server_is_named_and_the_connection_given_up(store, settings):
    role_default = "ALTER DATABASE {} SET default_transaction_read_only = {}"
    name = settings.storage_url.split("/")[3].partition("?")[0]
    async with await psycopg.AsyncConnection.connect(settings.storage_url, autocommit=True) as connection:
        await connection.execute(role_default.format(name, "on").encode())
        try:
            await terminate(settings.storage_url)
            with pytest.raises(StoreUnavailable, match=r"read-only.*target_session_attrs"):
                await store.insert([new("x")], 30)
        finally:
            await connection.execute("SET default_transaction_read_only = off")
            await connection.execute(role_default.format(name, "off").encode())
    # Each connection that finds out is replaced by one that may write; one may have been on its way meanwhile.
    async with asyncio.timeout(30):
        while await store.load("x") is None:
            with contextlib.suppress(StoreUnavailable):
                await store.insert([new("x")], 30)
    assert not (await store.insert([new("x")], 30))[0].created


async def test_a_wrong_password_or_host_is_told_without_the_password(postgres_server):
    for url in ("postgresql://u:hunter2@127.0.0.1:1/db", postgres_server.replace("//postgres", "//nobody:hunter2")):
        with pytest.raises(StoreUnavailable, match="Check that the server runs") as error:
            await create_store(Settings(storage_url=url)).open()
        assert "hunter2" not in f"{error.value}{error.value.__cause__}"


async def test_a_fork_is_refused_and_leaves_the_parents_connections_alone(store):
    await store.insert([new("x")], 30)
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def child() -> None:
        async def use() -> str:
            try:
                await store.stats()
            except StoreUnavailable as error:
                await store.close()
                return str(error)
            return "used"

        with asyncio.Runner() as runner:
            sender.send(runner.run(use()))

    process = context.Process(target=child)
    with warnings.catch_warnings():
        # Python 3.15 warns of every fork beside threads. This child asks, tells and exits.
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    answer = await asyncio.to_thread(receiver.recv)
    await asyncio.to_thread(process.join)
    assert "after a fork" in answer
    assert process.exitcode == 0
    assert await store.load("x") is not None


def test_another_event_loop_is_refused(settings):
    store = create_store(settings)
    with asyncio.Runner() as runner:
        runner.run(store.open())
        with pytest.raises(StoreUnavailable, match="another event loop"), asyncio.Runner() as other:
            other.run(store.stats())
        runner.run(store.close())


async def test_through_a_transaction_pooler_nothing_is_kept_in_a_session(settings):
    url = f"{settings.storage_url}&pgbouncer=true"
    store = create_store(Settings(storage_url=url, schema=settings.schema, migrate=True, pool_size=1))
    await store.open()
    await store.wait(0)
    for number in range(20):
        await store.insert([new(f"x{number}", lease_owner="w1")], 30)
        await store.write([RunWrite(f"x{number}", "w1", 1, status="completed")])
    rows = await store.database.fetch("SELECT count(*) FROM pg_prepared_statements")
    assert rows == [(0,)]
    assert await store.database.fetch("SELECT current_setting('enable_seqscan')") == [("on",)]
    assert store._notifications is None
    waiting = asyncio.create_task(store.wait(60))
    await store.insert([new("y")], 30)
    await asyncio.wait_for(waiting, 5)
    await store.close()
