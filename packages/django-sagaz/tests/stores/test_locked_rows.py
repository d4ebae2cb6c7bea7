"""Rows that somebody's open transaction has locked, on Django's connections to PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib

import psycopg
import pytest
from django.db import connections
from places import place

from django_sagaz._stores.factory import open_store
from django_sagaz._stores.runners import DatabaseThread
from sagaz_durable.testing.store_conformance.builders import (
    KNOWN,
    LEASE,
    claim_all,
    claimed,
    new,
    parked,
    signal,
    step,
    wait,
    write,
)


@pytest.fixture(params=[pytest.param("pg", marks=place("pg").marks)])
async def store(request, transactional_db):
    store = open_store(request.param, DatabaseThread(), listen=True)
    await store.open()
    yield store
    await store.close()


@contextlib.asynccontextmanager
async def locked(table, saga_id):
    """Hold the locks of a run's rows, as an open transaction of a console does."""
    own = connections["pg"].settings_dict
    async with await psycopg.AsyncConnection.connect(host=own["HOST"], user=own["USER"], dbname=own["NAME"]) as console:
        rows = await console.execute(f"SELECT 1 FROM {table} WHERE saga_id = %s FOR UPDATE".encode(), [saga_id])
        assert await rows.fetchall()
        yield
        await console.rollback()


async def ids_of(store):
    return {run.saga_id for run in await asyncio.wait_for(claim_all(store), 5)}


@pytest.mark.parametrize("table", ["sagaz_wait", "sagaz_signal"])
async def test_a_claim_leaves_a_run_whose_wait_or_signal_is_locked_and_takes_the_others(store, table):
    held, other = [await parked(store, wait()) for _ in range(2)]
    await store.insert([new("fresh")], LEASE)
    await store.send([signal(saga_id=run.saga_id) for run in (held, other)])
    async with locked(table, held.saga_id):
        assert await ids_of(store) == {other.saga_id, "fresh"}
        assert await ids_of(store) == set()
    [run] = await store.claim("w1", 10, LEASE, KNOWN)
    assert (run.saga_id, [one.outcome for one in run.waits]) == (held.saga_id, ["signal"])


async def test_a_journal_entry_that_is_locked_holds_up_no_other_runs_writes(store):
    held, other = [await claimed(store) for _ in range(2)]
    await store.write([write(run, steps=(step("a", "started"),)) for run in (held, other)])
    ends = [write(run, steps=(step("a", "done"),)) for run in (held, other)]
    async with locked("sagaz_step", held.saga_id):
        assert await asyncio.wait_for(store.write(ends), 5) == [None, True]
    assert await store.write(ends[:1]) == [True]
