"""Claims beside other transactions and other runs: nothing of them is waited for, taken twice or read."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from sagaz_durable.stores.postgresql.claims import CLAIM, NEW, SETTLE, claim_statement
from sagaz_durable.stores.postgresql.sql import STEPS_AND_WAITS_OF, STEPS_OF
from sagaz_durable.stores.wanted_runs import Wanted
from sagaz_durable.testing.store_conformance.builders import (
    KNOWN,
    LEASE,
    LONG_AGO,
    alone_ones,
    claimed,
    eventually,
    is_due,
    new,
    parked,
    signal,
    step,
    wait,
    write,
)
from sagaz_integration_core.contract.records import Release

pytestmark = pytest.mark.anyio

# At the first run that a claim looks at it waits, with its picture of the tables, until it may go on; then no more.
HALT = """
ALTER TABLE {0}.sagaz_run RENAME TO runs;
CREATE VIEW {0}.sagaz_run AS SELECT * FROM {0}.runs WHERE pg_advisory_xact_lock_shared(16)::text = ''
"""
BLOCKED = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 16 AND NOT granted"
TAKE = """
UPDATE {}.runs SET status = 'executing', attempt = attempt + 1, lease_owner = 'other',
    lease_expires_at = now() + interval '30 seconds', available_at = now() + interval '30 seconds'
WHERE saga_id = '{}'
"""


ANY, NAMED = (False, False), (False, True)
WOKEN, WOKEN_NAMED = (True, False), (True, True)


@pytest.mark.parametrize(
    ("template", "beside_woken", "named"),
    [(NEW, *ANY), *((template, *how) for template in (CLAIM, SETTLE) for how in (ANY, NAMED, WOKEN, WOKEN_NAMED))],
)
async def test_what_another_process_took_since_a_claim_began_is_not_taken_from_it(
    store, settings, template, beside_woken, named
):
    if beside_woken:
        await parked(store, wait("", until=LONG_AGO))
    runs = [new() for _ in range(2)]
    await store.insert(runs, LEASE)
    ids = [run.saga_id for run in runs]
    wanted = Wanted(KNOWN, ids if named else None, alone=False)
    statement = NEW if template == NEW else claim_statement(template, wanted)
    values = {"owner": "w1", "limit": 4, "half": 2, "seconds": LEASE, "names": list(KNOWN), "first_steps": "{}"}
    if named:
        values["saga_ids"] = ids
    async with await psycopg.AsyncConnection.connect(settings.storage_url, autocommit=True) as other:
        await other.execute(HALT.format(settings.schema).encode())
        await other.execute("SELECT pg_advisory_lock(16)")
        claiming = asyncio.create_task(store.database.fetch(statement, values))
        async with asyncio.timeout(10):
            while not await (await other.execute(BLOCKED)).fetchall():
                await asyncio.sleep(0.01)
        await other.execute(TAKE.format(settings.schema, ids[0]).encode())
        await other.execute("SELECT pg_advisory_unlock(16)")
        taken = [row[0] for row in await asyncio.wait_for(claiming, 10)]
    assert (ids[0] in taken, ids[1] in taken) == (False, True)
    record = await store.load(ids[0])
    assert (record.lease_owner, record.attempt) == ("other", 1)


@pytest.mark.parametrize("signalled", [1, 4])
async def test_a_claim_does_not_wait_for_a_run_that_was_sent_a_signal_and_is_locked(store, settings, signalled):
    """Neither among those that have half of the claim, nor among those that have what is left of it."""
    ids = [(await parked(store, wait())).saga_id for _ in range(signalled)]
    await store.send([signal(saga_id=saga_id) for saga_id in ids])
    async with await psycopg.AsyncConnection.connect(settings.storage_url) as holding:
        locks = f"SELECT 1 FROM {settings.schema}.sagaz_run WHERE saga_id = '{ids[-1]}' FOR NO KEY UPDATE"
        await holding.execute(locks.encode())
        taken = await asyncio.wait_for(store.claim("w1", 6, LEASE, KNOWN), 5)
        assert {run.saga_id for run in taken} == set(ids[:-1])
        assert await asyncio.wait_for(store.claim("w1", 6, LEASE, KNOWN, saga_ids=ids), 5) == []


async def test_a_claim_leaves_suspects_to_whoever_looks_at_the_same_time(store, settings):
    await alone_ones(store)
    await eventually(lambda: is_due(store, 2, "OrderSaga"))
    async with await psycopg.AsyncConnection.connect(settings.storage_url, autocommit=True) as looking:
        await looking.execute("SELECT pg_advisory_lock(7022041985551340)")
        assert await store.claim("w1", 1, LEASE, KNOWN, alone=True) == []
        await looking.execute("SELECT pg_advisory_unlock(7022041985551340)")
        assert len(await store.claim("w1", 1, LEASE, KNOWN, alone=True)) == 1


async def test_a_claim_reads_the_journals_and_waits_of_its_own_runs_only(store):
    runs = [await parked(store, wait()) for _ in range(3)]
    for statement in (STEPS_OF, STEPS_AND_WAITS_OF):
        named = [runs[1].saga_id]
        rows = await store.database.fetch(statement, [named] if statement == STEPS_OF else {"saga_ids": named})
        assert {row[0] for row in rows} == set(named)


async def test_what_was_journaled_since_a_claim_began_is_known_to_it(store, settings):
    run = await claimed(store)
    await store.write([write(run, steps=(step("a", "started"),), release=Release())])
    async with await psycopg.AsyncConnection.connect(settings.storage_url, autocommit=True) as other:
        await other.execute(HALT.format(settings.schema).encode())
        await other.execute("SELECT pg_advisory_lock(16)")
        # Of a run that is named, the statement that takes it is the first, and has begun.
        claiming = asyncio.create_task(store.claim("w2", 1, LEASE, KNOWN, saga_ids=[run.saga_id]))
        async with asyncio.timeout(10):
            while not await (await other.execute(BLOCKED)).fetchall():
                await asyncio.sleep(0.01)
        done = "UPDATE {0}.sagaz_step SET status = 'done'; UPDATE {0}.runs SET version = version + 1"
        await other.execute(done.format(settings.schema).encode())
        await other.execute("SELECT pg_advisory_unlock(16)")
        [again] = await asyncio.wait_for(claiming, 10)
    assert [(entry.step, entry.status) for entry in again.steps] == [("a", "done")]
