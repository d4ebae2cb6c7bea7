"""Signals that nobody waits for: claims look at them a minute longer, and then no more."""

from __future__ import annotations

import psycopg
import pytest

from sagaz_durable.testing.store_conformance.builders import (
    KNOWN,
    LEASE,
    claim_all,
    claimed,
    is_due,
    parked,
    signal,
    step,
    wait,
    write,
)

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


MANY = 110
"""More new signals than a claim of a few runs looks at."""


async def found(store, limit: int = 2) -> set[str]:
    return {run.saga_id for run in await store.claim("w1", limit, LEASE, KNOWN)}


async def flood(store) -> None:
    await store.send([signal(key=f"nobody {n}") for n in range(MANY)])


async def test_behind_many_signals_that_nobody_waits_for_one_that_is_waited_for_is_found(store):
    run = await parked(store, wait())
    await flood(store)
    await store.send([signal(saga_id=run.saga_id, signal_id="waited for")])
    assert await found(store) == {run.saga_id}
    # A look that claims did not repeat: the next ones do not see them.
    assert all(is_seen for signal_id, is_seen in (await seen(store)).items() if signal_id != "waited for")


async def test_behind_many_signals_to_a_run_that_goes_on_one_that_is_waited_for_is_found(store):
    busy = await claimed(store)
    await store.write([write(busy, steps=(step("a", "waiting"),), waits=(wait("done"),))])
    await store.send([signal("done", busy.saga_id, signal_id=f"{n}") for n in range(MANY)])
    run = await parked(store, wait())
    await store.send([signal(saga_id=run.saga_id, signal_id="waited for")])
    assert await found(store) == {run.saga_id}
    assert all(is_seen for signal_id, is_seen in (await seen(store)).items() if signal_id != "waited for")


async def test_behind_many_signals_to_an_unknown_sagas_runs_one_of_a_known_one_is_found(store):
    unknown = [await parked(store, wait(key=f"k{n}"), name="Unknown") for n in range(MANY)]
    await store.send([signal(key=f"k{n}") for n in range(MANY)])
    run = await parked(store, wait())
    await store.send([signal(saga_id=run.saga_id)])
    assert await found(store) == {run.saga_id}
    # Whoever knows the others finds them due.
    assert await is_due(store, MANY, "Unknown")
    theirs = await store.claim("w2", 2 * MANY, LEASE, {"Unknown": ()})
    assert {one.saga_id for one in theirs} == {one.saga_id for one in unknown}
    assert all(one.waits[0].outcome == "signal" for one in theirs)


async def test_a_signal_among_many_to_a_run_that_is_locked_is_found_when_it_is_not(store, settings):
    run = await parked(store, wait())
    await store.send([signal(saga_id=run.saga_id)])
    await flood(store)
    async with await psycopg.AsyncConnection.connect(settings.storage_url) as holding:
        lock = f"SELECT 1 FROM {settings.schema}.sagaz_run WHERE saga_id = '{run.saga_id}' FOR NO KEY UPDATE"
        await holding.execute(lock.encode())
        assert await found(store) == set()
    assert await found(store) == {run.saga_id}


async def test_a_signal_that_was_seen_too_early_is_looked_at_again_after_a_minute(store):
    run = await parked(store, wait())
    await store.send([signal(saga_id=run.saga_id, signal_id="awaited"), signal(key="nobody", signal_id="early")])
    # As if the wait had been committed only after that look.
    older = "UPDATE {schema}.sagaz_signal SET seen_at = statement_timestamp() - interval '61 seconds' RETURNING id"
    await store.database.fetch(older)
    assert await found(store) == set()
    await store.heartbeat("w1", LEASE)
    assert await seen(store) == {"awaited": False, "early": True}
    assert await found(store) == {run.saga_id}
    changed = "SELECT xmin::text FROM {schema}.sagaz_signal WHERE signal_id = 'early'"
    settled = await store.database.fetch(changed)
    await store.heartbeat("w1", LEASE)
    assert await store.database.fetch(changed) == settled
