"""Runs that nobody has claimed before are claimed by a statement that looks for nothing else; all others are found."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from sagaz_durable.stores.postgresql.claims import CLAIM, NEW, SETTLE, SIGNALLED, claim_statement
from sagaz_durable.stores.postgresql.database.numbered import _numbered
from sagaz_durable.stores.postgresql.leases import Claims
from sagaz_durable.stores.wanted_runs import Wanted
from sagaz_durable.testing.store_conformance.builders import (
    KNOWN,
    LEASE,
    LONG_AGO,
    claimed,
    eventually,
    new,
    parked,
    signal,
    step,
    wait,
    write,
)
from sagaz_integration_core.contract.records import Release
from sagaz_integration_core.errors import StoreUnavailable

pytestmark = pytest.mark.anyio

ANY = Wanted(KNOWN, None, alone=False)
NAMES = {NEW: "new", SIGNALLED: "signalled", claim_statement(CLAIM, ANY): "any", claim_statement(SETTLE, ANY): "settle"}


@pytest.fixture
def asked(store, monkeypatch):
    """Which of the statements of claims were executed, in order."""
    execute_once, asked = store.database.execute_once, []

    async def noting(template, values=()):
        if template in NAMES:
            asked.append(NAMES[template])
        return await execute_once(template, values)

    monkeypatch.setattr(store.database, "execute_once", noting)
    return asked


async def given_back(store):
    run = await claimed(store)
    assert await store.write([write(run, steps=(step("a", "started"),), release=Release())]) == [True]
    return run.saga_id


async def claim(store, limit: int = 10, owner: str = "w2") -> set[str]:
    return {run.saga_id for run in await store.claim(owner, limit, LEASE, KNOWN)}


async def test_new_runs_cost_one_statement_and_so_does_nothing_at_all(store, asked):
    runs = [new() for _ in range(3)]
    await store.insert(runs, LEASE)
    assert await claim(store) == {run.saga_id for run in runs}
    assert await claim(store) == set()
    assert asked == ["new", "new"]


async def test_one_claim_takes_new_runs_and_those_that_were_given_back(store, asked):
    ids = {await given_back(store)}
    runs = [new() for _ in range(3)]
    await store.insert(runs, LEASE)
    assert await claim(store) == ids | {run.saga_id for run in runs}
    assert asked == ["new", "any"]


@pytest.mark.parametrize("limits", [(2,), (1, 1), (1, 2)])
async def test_what_is_due_before_new_runs_is_not_overtaken_by_them(store, limits):
    back = await given_back(store)
    await store.insert([new("before", not_before=LONG_AGO), *(new(f"after{n}") for n in range(9))], LEASE)
    got = [await claim(store, limit) for limit in limits]
    assert set().union(*got) >= {back, "before"}


async def test_where_a_claim_has_met_others_the_next_one_looks_for_them_at_once(store, asked):
    for _ in range(2):
        await given_back(store)
        assert len(await claim(store)) == 1
    assert await claim(store) == set()
    assert await claim(store) == set()
    assert asked == ["new", "any", "any", "any", "new"]


async def test_a_claim_that_is_full_leaves_a_signal_to_the_next_one_which_looks_for_it_at_once(store, asked):
    run = await parked(store, wait("paid"))
    await store.send([signal("paid", saga_id=run.saga_id)])
    await store.insert([new("n1")], LEASE)
    assert await claim(store, 1) == {"n1"}
    assert await claim(store, 1) == {run.saga_id}
    assert asked == ["new", "any"]


async def test_a_run_whose_process_died_and_one_whose_timer_is_up_are_taken_beside_new_ones(store):
    dead = await claimed(store, "dead", 0.05)
    woken = await parked(store, wait("", until=LONG_AGO))
    await store.insert([new("n1")], LEASE)
    got: set[str] = set()

    async def all_of_them() -> bool:
        got.update(await claim(store))
        return got == {dead.saga_id, woken.saga_id, "n1"}

    await eventually(all_of_them)


async def test_a_signal_is_found_whoever_was_told_of_it(store, asked):
    run = await parked(store, wait("paid"))
    await store.send([signal("paid", saga_id=run.saga_id)])
    assert await claim(store) == {run.saga_id}
    assert asked == ["new", "any"]


async def test_who_was_told_of_a_signal_looks_for_it_at_once(store, asked, monkeypatch):
    run, tell, told = await parked(store, wait("paid")), store._told, []
    monkeypatch.setattr(store, "_told", lambda said: (told.append(said), tell(said)))
    await store.wait(0)
    await eventually(lambda: asyncio.sleep(0, store._notifications.listening))
    await store.send([signal("paid", saga_id=run.saga_id)])
    await eventually(lambda: asyncio.sleep(0, told == ["signal"]))
    # What the notification has woken waits no more.
    await store.wait(0)
    assert await claim(store) == {run.saga_id}
    assert asked == ["signalled"]
    # All that is due is looked for next, without any further commit.
    await asyncio.wait_for(store.wait(20), 10)


class Told:
    """Claims of who is told of signals, and how often they have asked to be made again."""

    def __init__(self, store):
        self.again = 0
        self.claims = Claims(store.database, self._claim_again)

    def _claim_again(self):
        self.again += 1

    async def claim(self, limit: int = 10) -> set[str]:
        self.claims.expect_signalled()
        return {run.saga_id for run in await self.claims.claim("w2", limit, LEASE, ANY)}


async def test_what_a_signal_is_for_is_claimed_alone_and_all_the_rest_soon_after_it(store, asked):
    run = await parked(store, wait("paid"))
    await store.send([signal("paid", saga_id=run.saga_id)])
    await store.insert([new("n1", not_before=LONG_AGO)], LEASE)
    told = Told(store)
    assert (await told.claim(), told.again) == ({run.saga_id}, 1)
    assert (await told.claim(), told.again) == ({"n1"}, 1)
    assert asked == ["signalled", "any"]


async def test_a_signal_for_which_no_run_is_there_keeps_nobody_from_what_is_due(store, asked):
    back = await given_back(store)
    asked.clear()
    told = Told(store)
    assert (await told.claim(), told.again) == ({back}, 0)
    assert asked == ["signalled", "any"]


async def test_signals_that_come_without_end_keep_nobody_from_what_is_due(store):
    runs = [await parked(store, wait("paid")) for _ in range(3)]
    await store.insert([new("n1", not_before=LONG_AGO)], LEASE)
    told, got = Told(store), []
    for run in runs[:2]:
        await store.send([signal("paid", saga_id=run.saga_id)])
        got.append(await told.claim())
    assert got == [{runs[0].saga_id}, {runs[1].saga_id, "n1"}]


async def test_where_a_claim_for_signals_has_half_of_what_it_may_it_goes_on_with_all_that_is_due(store, asked):
    runs = [await parked(store, wait("paid")) for _ in range(3)]
    await store.send([signal("paid", saga_id=run.saga_id) for run in runs])
    await store.insert([new(f"n{n}", not_before=LONG_AGO) for n in range(4)], LEASE)
    asked.clear()
    told = Told(store)
    got = await told.claim(4)
    assert (len(got), told.again, asked) == (4, 0, ["signalled", "any"])
    assert len({run.saga_id for run in runs} & got) in {2, 3}


async def test_who_was_told_of_other_commits_as_well_looks_for_all_that_is_due(store, asked):
    run = await parked(store, wait("paid"))
    await store.send([signal("paid", saga_id=run.saga_id)])
    await store.insert([new("n1")], LEASE)
    asked.clear()
    told = Told(store)
    told.claims.expect_any()
    assert (await told.claim(), told.again) == ({run.saga_id, "n1"}, 0)
    assert asked == ["any"]


async def test_a_claim_for_signals_leaves_a_run_that_is_to_be_executed_alone(store, settings):
    run = await parked(store, wait("paid"))
    async with await psycopg.AsyncConnection.connect(store.database.address.conninfo, autocommit=True) as other:
        await other.execute(f"UPDATE {settings.schema}.sagaz_run SET alone = true".encode())
    await store.send([signal("paid", saga_id=run.saga_id)])
    assert await Told(store).claim() == set()


async def test_a_claim_for_signals_has_the_journal_and_what_the_wait_came_to(store):
    run = await parked(store, wait("paid"))
    await store.send([signal("paid", saga_id=run.saga_id)])
    claims = Claims(store.database, list)
    claims.expect_signalled()
    [resumed] = await claims.claim("w2", 10, LEASE, ANY)
    assert (resumed.attempt, resumed.status, resumed.after_death) == (2, "executing", False)
    assert [(entry.step, entry.status, entry.attempt) for entry in resumed.steps] == [("a", "started", 2)]
    assert [(wait.name, wait.outcome, wait.attempt) for wait in resumed.waits] == [("paid", "signal", 2)]


async def test_whatever_somebody_notifies_wakes_a_worker_and_does_no_harm(store):
    waiting = asyncio.create_task(store.wait(20))
    await eventually(lambda: asyncio.sleep(0, store._notifications.listening))
    address = store.database.address.conninfo
    async with await psycopg.AsyncConnection.connect(address, autocommit=True, client_encoding="latin1") as other:
        for said in ("x", "signal", "é"):
            await other.execute("SELECT pg_notify(%s, %s)", [store.database.channel, said])
            await asyncio.wait_for(waiting, 20)
            waiting = asyncio.create_task(store.wait(20))
        await store.insert([new()], LEASE)
        await asyncio.wait_for(waiting, 20)
    assert len(await claim(store)) == 1


async def test_a_signal_says_in_its_notification_that_it_is_one(store):
    run = await parked(store, wait("paid"))
    async with await psycopg.AsyncConnection.connect(store.database.address.conninfo, autocommit=True) as other:
        await other.execute(f"LISTEN {store.database.channel}".encode())
        await store.insert([new()], LEASE)
        await store.send([signal("paid", saga_id=run.saga_id)])
        said = [notification.payload async for notification in other.notifies(timeout=20, stop_after=2)]
    assert said == ["", "signal"]


async def test_what_is_claimed_is_kept_when_the_look_for_others_fails(store, monkeypatch, caplog):
    await given_back(store)
    await store.insert([new("n1", not_before=LONG_AGO)], LEASE)
    execute_once = store.database.execute_once

    async def failing(template, values=()):
        if NAMES.get(template) == "any":
            raise StoreUnavailable("gone")
        return await execute_once(template, values)

    monkeypatch.setattr(store.database, "execute_once", failing)
    assert await claim(store) == {"n1"}
    assert "What else is due waits for the next claim" in caplog.text
    monkeypatch.undo()
    assert len(await claim(store)) == 1


async def test_what_another_process_locked_is_left_out_and_the_rest_is_taken(store):
    await store.insert([new(f"n{n}") for n in range(4)], LEASE)
    async with await psycopg.AsyncConnection.connect(store.database.address.conninfo) as holding:
        lock = "SELECT 1 FROM {schema}.sagaz_run WHERE saga_id IN ('n0', 'n1') FOR NO KEY UPDATE"
        await holding.execute(store.database.text(lock).encode())
        assert await asyncio.wait_for(claim(store), 5) == {"n2", "n3"}


async def test_new_runs_are_taken_in_the_order_in_which_they_became_due(store):
    for n in range(6):
        await store.insert([new(f"n{n}", name=("OrderSaga", "A", "B")[n % 3])], LEASE)
    first = [run.saga_id for run in await store.claim("w1", 100, LEASE, {"OrderSaga": (), "B": ()})]
    assert [saga_id for saga_id in first if saga_id in ("n0", "n3")] == ["n0", "n3"]
    assert sorted(first) == ["n0", "n2", "n3", "n5"]


@pytest.mark.parametrize(
    ("statement", "text", "names"),
    [
        ("SELECT %s, %s", b"SELECT $1, $2", ()),
        ("SELECT %(a)s, %(b)s, %(a)s", b"SELECT $1, $2, $1", ("a", "b")),
        ("SELECT 7 %% 3, '100%%', %s", b"SELECT 7 % 3, '100%', $1", ()),
        ("SELECT 1", b"SELECT 1", ()),
    ],
)
async def test_a_statement_says_the_same_with_the_servers_own_placeholders(statement, text, names):
    assert _numbered(statement) == (text, names)
