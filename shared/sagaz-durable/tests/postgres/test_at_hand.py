"""The connection that was used last is the next statement's."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from psycopg.pq import TransactionStatus

from sagaz_durable.stores.postgresql.database.at_hand import AtHand

pytestmark = pytest.mark.anyio


class Pool:
    """Lends two connections, and then none."""

    def __init__(self):
        self.free = asyncio.Queue()
        for name in "ab":
            self.free.put_nowait(self.connection(name))

    @staticmethod
    def connection(name):
        return SimpleNamespace(name=name, pgconn=SimpleNamespace(transaction_status=TransactionStatus.IDLE))

    async def getconn(self):
        return await self.free.get()

    async def putconn(self, connection):
        await self.free.put(connection)


@pytest.fixture
async def at_hand():
    hand = AtHand(pool := Pool())
    hand.pool = pool
    return hand


async def used(at_hand):
    connection = await at_hand.take()
    await at_hand.give_back(connection)
    return connection.name


async def test_one_statement_after_the_other_has_the_same_connection(at_hand):
    assert [await used(at_hand) for _ in range(3)] == ["a", "a", "a"]
    assert at_hand.pool.free.qsize() == 1


async def test_statements_at_the_same_time_have_one_each_and_one_of_them_is_kept(at_hand):
    first, second = await at_hand.take(), await at_hand.take()
    assert (first.name, second.name) == ("a", "b")
    await at_hand.give_back(second)
    await at_hand.give_back(first)
    assert at_hand.pool.free.qsize() == 1
    assert [await used(at_hand) for _ in range(2)] == ["b", "b"]


async def test_who_waits_for_a_connection_gets_the_next_one(at_hand):
    first, second = await at_hand.take(), await at_hand.take()
    waiting = asyncio.create_task(at_hand.take())
    await asyncio.sleep(0)
    await at_hand.give_back(first)
    async with asyncio.timeout(10):
        assert await waiting is first
    await at_hand.give_back(second)
    assert await used(at_hand) == "b"


async def test_one_that_is_in_a_transaction_or_closed_goes_back_to_the_pool(at_hand):
    for status in (TransactionStatus.INTRANS, TransactionStatus.UNKNOWN):
        connection = await at_hand.take()
        connection.pgconn.transaction_status = status
        await at_hand.give_back(connection)
    assert at_hand.pool.free.qsize() == 2


async def test_after_a_thousand_uses_it_goes_back_to_the_pool_which_may_replace_it(at_hand):
    assert {await used(at_hand) for _ in range(1_000)} == {"a"}
    assert at_hand.pool.free.qsize() == 2
    assert await used(at_hand) == "b"


async def test_what_is_put_back_is_the_pools_and_after_the_end_nothing_is_kept(at_hand):
    await used(at_hand)
    await at_hand.put_back()
    assert at_hand.pool.free.qsize() == 2
    await used(at_hand)
    await at_hand.close()
    assert at_hand.pool.free.qsize() == 2
    connection = await at_hand.take()
    await at_hand.give_back(connection)
    assert at_hand.pool.free.qsize() == 2


async def test_a_store_whose_pool_has_grown_goes_on_with_one_server_process(store):
    async def process():
        return (await store.database.fetch("SELECT pg_backend_pid(), pg_sleep(%s)", [0.05]))[0][0]

    assert len(set(await asyncio.gather(*(process() for _ in range(3))))) > 1
    assert len({await process() for _ in range(3)}) == 1
