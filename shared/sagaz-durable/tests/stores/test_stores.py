"""What every store promises, on each of the engine's own."""

from __future__ import annotations

import asyncio

import pytest

from sagaz_durable.stores.memory.store import MemoryStore
from sagaz_durable.stores.sqlite.database.thread import ConnectionThread
from sagaz_durable.stores.sqlite.store import SQLiteStore
from sagaz_durable.testing.store_conformance import Reopening, StoreConformance
from sagaz_integration_core.errors import StoreUnavailable


class TestStores(StoreConformance, Reopening):
    async def test_a_store_says_what_it_is(self, store):
        assert store.kind in ("memory", "sqlite", "postgres")
        assert store.embedded == (store.kind == "memory")


@pytest.mark.anyio
async def test_a_store_that_was_never_opened_refuses_use(tmp_path):
    for store in (MemoryStore(), SQLiteStore(ConnectionThread(tmp_path / "sagaz.db"))):
        store.wake()
        with pytest.raises(StoreUnavailable, match="is not open"):
            await store.claim("w1", 1, 30, {"OrderSaga": ()})
        await store.close()
    assert list(tmp_path.iterdir()) == []


def test_a_wake_up_after_the_loop_has_ended_is_harmless():
    store = MemoryStore()
    asyncio.run(store.open())
    store.wake()
    store.wake()
