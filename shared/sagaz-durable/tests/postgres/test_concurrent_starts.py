"""Starts that happen at once, and that do not stand in a worker's way."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pytest
from pg import at
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from sagaz_durable.transactions.sessions import join, join_sync
from sagaz_integration_core.contract.records import NewRun, RunWrite, StepWrite

pytestmark = pytest.mark.anyio

KNOWN = {"OrderSaga": ()}


def new(saga_id: str, fingerprint: str = "f1") -> NewRun:
    return NewRun(saga_id, "OrderSaga", "{}", fingerprint)


async def test_twenty_transactions_with_one_id_make_one_run(store, shared_postgres_url):
    saga_id = str(uuid4())
    barrier = threading.Barrier(20)

    def start(number: int):
        with psycopg.connect(shared_postgres_url) as connection:
            connection.execute("SELECT 1")
            barrier.wait(30)
            return join_sync(connection, store, [new(saga_id, f"f{number % 2}")])

    with ThreadPoolExecutor(20) as threads:
        loop = asyncio.get_running_loop()
        starts = await asyncio.gather(*(loop.run_in_executor(threads, start, number) for number in range(20)))
    answers = [answer for (answer,) in starts]
    assert {answer.saga_id for answer in answers} == {saga_id}
    assert sum(answer.created for answer in answers) == 1
    (winner,) = {answer.fingerprint for answer in answers}
    assert (await store.load(saga_id)).fingerprint == winner


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_twenty_sessions_with_one_id_make_one_run(store, shared_postgres_url, driver):
    saga_id = str(uuid4())
    engine = create_async_engine(at(shared_postgres_url, driver=driver), pool_size=20)

    async def start():
        async with AsyncSession(engine) as session, session.begin():
            return (await join(session, store, [new(saga_id)]))[0]

    answers = await asyncio.gather(*(start() for _ in range(20)))
    await engine.dispose()
    assert sorted(answer.created for answer in answers) == [False] * 19 + [True]


async def test_one_that_waited_for_a_rollback_makes_the_run_itself(store, shared_postgres_url):
    saga_id = str(uuid4())
    async with (
        await psycopg.AsyncConnection.connect(shared_postgres_url) as first,
        await psycopg.AsyncConnection.connect(shared_postgres_url) as second,
    ):
        await join(first, store, [new(saga_id, "first")])
        waiting = asyncio.create_task(join(second, store, [new(saga_id, "second")]))
        await _blocked(shared_postgres_url, second)
        await first.rollback()
        assert (await waiting)[0].created
    assert (await store.load(saga_id)).fingerprint == "second"


async def test_bulk_starts_in_opposite_orders_do_not_deadlock(store):
    runs = [new(str(uuid4())) for _ in range(300)]
    for _ in range(5):
        await asyncio.gather(store.insert(runs, 30), store.insert(runs[::-1], 30))


async def test_a_duplicate_in_an_open_transaction_does_not_stop_the_worker(store, shared_postgres_url):
    """The reason for DO NOTHING: DO UPDATE would hold the row's lock, and with it the worker's whole batch."""
    run = new(str(uuid4()))
    await store.insert([run], 30)
    (claimed,) = await store.claim("w1", 1, 30, KNOWN)
    async with await psycopg.AsyncConnection.connect(shared_postgres_url) as connection:
        assert not (await join(connection, store, [run]))[0].created
        step = StepWrite("pay", "do", "started")
        assert await asyncio.wait_for(store.write([RunWrite(run.saga_id, "w1", claimed.attempt, (step,))]), 5) == [True]
        assert (await asyncio.wait_for(store.renew("w1", [(run.saga_id, 1)], 30), 5)).held == {run.saga_id}


async def _blocked(url: str, connection: psycopg.AsyncConnection) -> None:
    """Wait until a connection waits for a lock."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as observer:
        pid = connection.info.backend_pid
        async with asyncio.timeout(10):
            while True:
                query = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
                if await (await observer.execute(query, [pid])).fetchone():
                    return
