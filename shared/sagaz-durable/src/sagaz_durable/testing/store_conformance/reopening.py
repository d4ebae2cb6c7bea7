"""Stores that are closed and opened again."""

from __future__ import annotations

import asyncio

import pytest

from sagaz_durable.testing.store_conformance.builders import KNOWN, LEASE, new
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.errors import StoreUnavailable


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
