"""Signals that nobody waits for: claims look at them a minute longer, and then no more."""

from __future__ import annotations

import pytest

from sagaz_durable.testing.store_conformance.builders import LEASE, claim_all, parked, signal, wait

pytestmark = pytest.mark.anyio


async def seen(store) -> dict[str, bool]:
    """Return of each signal, by its own id, whether it has been seen."""
    rows = await store.database.fetch("SELECT signal_id, seen_at IS NOT NULL FROM {schema}.sagaz_signal")
    return dict(rows)


async def test_what_no_open_wait_is_there_for_is_seen_and_what_one_is_there_for_is_not(store):
    run = await parked(store, wait())
    await store.send([signal(saga_id=run.saga_id, signal_id="taken")])
    await claim_all(store)
    await parked(store, wait(key="pi_1"))
    other = await parked(store, wait("shipped"))
    await store.send([signal(saga_id=run.saga_id, signal_id="over"), signal(key="x", signal_id="nobody")])
    await store.send([signal(key="pi_1", signal_id="key"), signal("shipped", other.saga_id, signal_id="run")])
    await store.send([signal("x", saga_id=other.saga_id, signal_id="name")])
    await store.heartbeat("w1", LEASE)
    assert await seen(store) == {
        "taken": False, "over": True, "nobody": True, "key": False, "run": False, "name": True,
    }  # fmt: skip
