"""Waiting for work, and the use of a store that is not open here."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from store_builders import KNOWN, LEASE, claimed, new, write

from sagaz_durable.stores.memory.store import MemoryStore
from sagaz_durable.stores.sqlite.database.thread import ConnectionThread
from sagaz_durable.stores.sqlite.store import SQLiteStore
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.contract.records import Release
from sagaz_integration_core.errors import StoreUnavailable

pytestmark = pytest.mark.anyio

LONG = 60.0


async def ends(waiting, seconds=10.0):
    await asyncio.wait_for(waiting, seconds)


async def test_a_wait_ends_when_its_time_is_over(store):
    started = time.monotonic()
    await ends(store.wait(0.1))
    assert time.monotonic() - started >= 0.09
    await ends(store.wait(0))


@pytest.mark.parametrize("from_thread", [False, True])
async def test_a_wake_up_ends_everybodys_wait(store, from_thread):
    waiting = [asyncio.create_task(store.wait(LONG)) for _ in range(3)]
    await asyncio.sleep(0)
    if from_thread:
        threading.Thread(target=store.wake).start()
    else:
        store.wake()
    await ends(asyncio.gather(*waiting))


async def test_a_wake_up_before_the_wait_is_not_lost_and_counts_once(store):
    store.wake()
    store.wake()
    await ends(store.wait(LONG))
    started = time.monotonic()
    await store.wait(0.1)
    assert time.monotonic() - started >= 0.09


async def test_an_insert_ends_the_wait(store):
    waiting = asyncio.create_task(store.wait(LONG))
    await store.insert([new()], LEASE)
    await ends(waiting)


async def test_a_release_ends_the_wait(store):
    run = await claimed(store)
    await store.wait(0)
    waiting = asyncio.create_task(store.wait(LONG))
    await store.write([write(run, release=Release())])
    await ends(waiting)


async def test_a_cancelled_wait_ends(store):
    waiting = asyncio.create_task(store.wait(LONG))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_opening_and_closing_twice_is_harmless(store):
    await store.open()
    await store.insert([new()], LEASE)
    await store.close()
    await store.close()
    await store.open()
    assert len(await store.find(RunFilter())) == 1


async def test_a_closed_store_refuses_every_use(store):
    await store.close()
    store.wake()
    for use in (
        store.store_id,
        store.stats,
        lambda: store.insert([new()], LEASE),
        lambda: store.claim("w1", 1, LEASE, KNOWN),
        lambda: store.write([]),
        lambda: store.wait(0),
        lambda: store.load("x"),
        lambda: store.due_events(1, LEASE),
    ):
        with pytest.raises(StoreUnavailable, match="is not open"):
            await use()
    await store.open()


async def test_a_store_that_was_never_opened_refuses_use(tmp_path):
    for store in (MemoryStore(), SQLiteStore(ConnectionThread(tmp_path / "sagaz.db"))):
        store.wake()
        with pytest.raises(StoreUnavailable, match="is not open"):
            await store.claim("w1", 1, LEASE, KNOWN)
        await store.close()
    assert list(tmp_path.iterdir()) == []


async def test_what_was_asked_for_before_the_close_is_still_done(store):
    runs = [new() for _ in range(50)]
    asked = [asyncio.create_task(store.insert([run], LEASE)) for run in runs]
    await asyncio.sleep(0)
    await store.close()
    answers = await asyncio.gather(*asked)
    assert all(answer.created for (answer,) in answers)
    await store.open()
    assert len(await store.find(RunFilter(limit=100))) == 50


def test_a_wake_up_after_the_loop_has_ended_is_harmless():
    store = MemoryStore()
    asyncio.run(store.open())
    store.wake()
    store.wake()
