"""Waiting for work, until the store is closed; and stores that are opened again."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable

import pytest

from sagaz_durable.testing.store_conformance.builders import KNOWN, LEASE, claimed, new, write
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.contract.records import Release
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.errors import StoreUnavailable

LONG = 60.0


async def ends(waiting: Awaitable[object], seconds: float = 10.0) -> None:
    """Wait for what is to end soon."""
    await asyncio.wait_for(waiting, seconds)


class Waiting:
    """A wait ends when this store made something due, when it is woken, and when its time is over."""

    async def test_a_wait_ends_when_its_time_is_over(self, store: SagaStore) -> None:
        started = time.monotonic()
        await ends(store.wait(0.1))
        assert time.monotonic() - started >= 0.09
        await ends(store.wait(0))

    @pytest.mark.parametrize("from_thread", [False, True])
    async def test_a_wake_up_ends_everybodys_wait(self, store: SagaStore, from_thread: bool) -> None:
        waiting = [asyncio.create_task(store.wait(LONG)) for _ in range(3)]
        await asyncio.sleep(0)
        if from_thread:
            threading.Thread(target=store.wake).start()
        else:
            store.wake()
        await ends(asyncio.gather(*waiting))

    async def test_a_wake_up_before_the_wait_is_not_lost_and_counts_once(self, store: SagaStore) -> None:
        store.wake()
        store.wake()
        await ends(store.wait(LONG))
        started = time.monotonic()
        await store.wait(0.1)
        assert time.monotonic() - started >= 0.09

    async def test_an_insert_ends_the_wait(self, store: SagaStore) -> None:
        waiting = asyncio.create_task(store.wait(LONG))
        await store.insert([new()], LEASE)
        await ends(waiting)

    async def test_a_release_ends_the_wait(self, store: SagaStore) -> None:
        run = await claimed(store)
        await store.wait(0)
        waiting = asyncio.create_task(store.wait(LONG))
        await store.write([write(run, release=Release())])
        await ends(waiting)

    async def test_a_cancelled_wait_ends(self, store: SagaStore) -> None:
        waiting = asyncio.create_task(store.wait(LONG))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


class Reopening:
    """A closed store refuses every use, and has what it had when it is opened again."""

    async def test_the_stores_id_stays_when_it_is_opened_again(self, store: SagaStore) -> None:
        first = await store.store_id()
        await store.close()
        await store.open()
        assert await store.store_id() == first

    async def test_opening_and_closing_twice_is_harmless(self, store: SagaStore) -> None:
        await store.open()
        await store.insert([new()], LEASE)
        await store.close()
        await store.close()
        await store.open()
        assert len(await store.find(RunFilter())) == 1

    async def test_a_closed_store_refuses_every_use(self, store: SagaStore) -> None:
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

    async def test_what_was_asked_for_before_the_close_is_still_done(self, store: SagaStore) -> None:
        runs = [new() for _ in range(50)]
        asked = [asyncio.create_task(store.insert([run], LEASE)) for run in runs]
        await asyncio.sleep(0)
        await store.close()
        answers = await asyncio.gather(*asked)
        assert all(answer.created for (answer,) in answers)
        await store.open()
        assert len(await store.find(RunFilter(limit=100))) == 50
