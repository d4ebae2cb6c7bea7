"""Rows that somebody's open transaction has locked: only the run that they belong to waits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from sagaz_durable.stores.postgresql import outbox
from sagaz_durable.stores.postgresql.sql import WRITE
from sagaz_durable.testing.store_conformance.builders import (
    AT_ONCE,
    KNOWN,
    LEASE,
    LONG_AGO,
    claim_all,
    claimed,
    new,
    own,
    parked,
    settle,
    signal,
    step,
    taken,
    wait,
    waits_of,
    write,
)
from sagaz_integration_core.contract.events import EventFilter

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def locked(settings, table: str, condition: str) -> AsyncIterator[None]:
    """Hold the locks of a table's rows, as an open transaction of a console does."""
    async with await psycopg.AsyncConnection.connect(settings.storage_url) as console:
        select = f"SELECT 1 FROM {settings.schema}.{table} WHERE {condition} FOR UPDATE"
        assert await (await console.execute(select.encode())).fetchall()
        yield
        await console.rollback()


async def ids_of(store):
    return {run.saga_id for run in await claim_all(store)}


def soon(work):
    return asyncio.wait_for(work, 5)


async def test_a_claim_leaves_a_run_whose_wait_is_locked_and_takes_the_others(store, settings):
    held, other, late = [await parked(store, wait()) for _ in range(3)]
    await store.insert([new("fresh")], LEASE)
    await store.send([signal(saga_id=run.saga_id) for run in (held, other)])
    async with locked(settings, "sagaz_wait", f"saga_id IN ('{held.saga_id}', '{late.saga_id}')"):
        assert await soon(ids_of(store)) == {other.saga_id, "fresh"}
        assert await soon(ids_of(store)) == set()
    [run] = await store.claim("w1", 10, LEASE, KNOWN)
    assert (run.saga_id, [w.outcome for w in run.waits]) == (held.saga_id, ["signal"])


async def test_a_timer_whose_row_is_locked_holds_up_no_other(store, settings):
    held, other = [await parked(store, wait("", until=LONG_AGO)) for _ in range(2)]
    async with locked(settings, "sagaz_wait", f"saga_id = '{held.saga_id}'"):
        assert await soon(ids_of(store)) == {other.saga_id}
    assert await ids_of(store) == {held.saga_id}


async def test_a_run_is_not_called_again_and_again_while_its_signal_is_locked(store, settings):
    held, other = [await parked(store, wait()) for _ in range(2)]
    await store.send([signal(saga_id=run.saga_id) for run in (held, other)])
    async with locked(settings, "sagaz_signal", f"saga_id = '{held.saga_id}'"):
        assert await soon(ids_of(store)) == {other.saga_id}
        assert await soon(ids_of(store)) == set()
    [run] = await store.claim("w1", 10, LEASE, KNOWN)
    assert (run.saga_id, [w.outcome for w in run.waits]) == (held.saga_id, ["signal"])


async def test_of_two_signals_for_a_wait_the_one_that_is_not_locked_is_taken(store, settings):
    run = await parked(store, wait())
    for signal_id in ("first", "second"):
        await store.send([signal(saga_id=run.saga_id, signal_id=signal_id, payload=f'{{"is": "{signal_id}"}}')])
    async with locked(settings, "sagaz_signal", "signal_id = 'first'"):
        [again] = await soon(store.claim("w1", 1, LEASE, KNOWN))
    assert [w.payload for w in again.waits] == ['{"is": "second"}']


async def test_a_lease_that_ended_is_not_taken_while_a_wait_of_its_run_is_locked(store, settings):
    held = await parked(store, wait(), wait("shipped", n=1))
    await store.send([signal(saga_id=held.saga_id)])
    await store.claim("dead", 1, AT_ONCE, KNOWN)
    async with locked(settings, "sagaz_wait", f"saga_id = '{held.saga_id}'"):
        await store.insert([new("fresh")], LEASE)
        assert await soon(ids_of(store)) == {"fresh"}
    [run] = await taken(store)
    assert (run.saga_id, run.attempt) == (held.saga_id, 3)


@pytest.mark.parametrize("table", ["sagaz_step", "sagaz_wait"])
async def test_a_journal_entry_that_is_locked_holds_up_no_other_runs_writes(store, settings, table):
    parked_once = [await parked(store, wait()) for _ in range(3)]
    await store.send([signal(saga_id=run.saga_id) for run in parked_once])
    runs = {run.saga_id: run for run in await store.claim("w1", 12, LEASE, KNOWN)}
    held, *others = (runs[run.saga_id] for run in parked_once)
    ends = [write(run, steps=(step("a", "done"),), left_waits=(("a", "do"),)) for run in (others[0], held, others[1])]
    async with locked(settings, table, f"saga_id = '{held.saga_id}'"):
        assert await soon(store.write(ends)) == [True, None, True]
        assert await soon(store.write(ends[1:2])) == [None]
    assert await store.write(ends[1:2]) == [True]
    assert [entry.status for entry in await store.load_steps(held.saga_id)] == ["done"]
    assert await waits_of(store, held) == {}


async def test_a_write_leaves_its_sessions_settings_as_they_were(store):
    run = await claimed(store)
    row = {"n": 0, "saga_id": run.saga_id, "owner": "w1", "attempt": 1, "writes": 1, "failed": 0, "progress": False}
    statement = store.database.text(WRITE[False, False, False]).encode()
    async with store.database._pool.connection() as connection:
        assert await (await connection.execute(statement, (json.dumps([row]), 1))).fetchall() == [(0, True, None)]
        assert await (await connection.execute("SHOW lock_timeout")).fetchone() == ("0",)


async def test_an_event_that_is_locked_holds_up_no_other_of_the_relay(store, settings):
    await store.insert_events([own("e1", "a"), own("e2", "b")])
    due = await store.due_events(10, LEASE)
    async with locked(settings, "sagaz_outbox", "event_id = 'e1'"):
        await soon(settle(store, due))
    pending = await store.find_events(EventFilter(statuses=("pending",)))
    assert [event.event_id for event in pending] == ["e1"]


async def test_an_event_that_another_relay_looked_at_for_a_moment_is_settled_all_the_same(store, settings, monkeypatch):
    await store.insert_events([own("e1", "a"), own("e2", "b")])
    due = await store.due_events(10, LEASE)
    looked = asyncio.Event()
    fetch = store.database.fetch

    async def watched(*given):
        rows = await fetch(*given)
        looked.set()
        return rows

    monkeypatch.setattr(store.database, "fetch", watched)
    monkeypatch.setattr(outbox, "_SETTLE_AGAIN_SECONDS", (0.01,) * 500)
    async with locked(settings, "sagaz_outbox", "event_id = 'e1'"):
        settling = asyncio.create_task(settle(store, due))
        await soon(looked.wait())
    await soon(settling)
    assert {event.status for event in await store.find_events(EventFilter())} == {"sent"}
