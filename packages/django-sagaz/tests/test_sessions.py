"""What a store leaves in PostgreSQL's sessions: something in those that are its own alone, else nothing."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connections
from places import on
from testproject.shop.sagas import OrderSaga

from django_sagaz import run_saga
from django_sagaz._stores.factory import open_store
from django_sagaz._stores.runners import DatabaseThread

pytestmark = pytest.mark.anyio

KNOWN = {"OrderSaga": ()}

UNTOUCHED = (0, "on", "auto")


STATE = """
SELECT (SELECT count(*) FROM pg_prepared_statements), current_setting('enable_seqscan'),
    current_setting('plan_cache_mode'), pg_backend_pid()
"""


def state(alias):
    """How many statements a session has prepared, and two of the settings that plans depend on."""
    with connections[alias].cursor() as cursor:
        cursor.execute(STATE)
        return cursor.fetchone()[:3]


def end_sessions(alias, which, *values):
    """Have the server end some sessions, as it does when it stops."""
    with connections[alias].cursor() as cursor:
        cursor.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {which}", values)


def is_asleep(alias, pid):
    """Whether a session executes a statement that sleeps."""
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'", [pid])
        return cursor.fetchone() == (1,)


async def state_of(store):
    """The same of a store's session, and its server process."""
    [row] = await store._here.fetch(STATE)
    return row


@asynccontextmanager
async def worked(alias):
    """Ask a store of a worker the same thing a few times; gives it, and what makes calls where it does."""
    run = DatabaseThread()
    store = open_store(alias, run)
    await store.open()
    try:
        for _ in range(8):
            await store.claim("w1", 10, 30, KNOWN)
        yield store, run
    finally:
        await store.close()


@on("pg")
async def test_a_worker_has_its_statements_prepared_and_planned_once(home):
    async with worked(home) as (store, _):
        prepared, *planning, _ = await state_of(store)
        assert prepared >= 1
        assert planning == ["off", "force_generic_plan"]


@on("pg")
async def test_so_it_does_after_its_connection_was_replaced(home):
    async with worked(home) as (store, run):
        *_, before = await state_of(store)
        await run(lambda: end_sessions(home, "pid = %s", before))
        await store.claim("w1", 10, 30, KNOWN)
        _, *planning, now = await state_of(store)
        assert now != before
        assert planning == ["off", "force_generic_plan"]


@on("pg")
async def test_statements_at_the_same_time_have_two_sessions_and_no_more(home):
    async with worked(home) as (store, _):
        rows = await asyncio.gather(*(store._here.fetch("SELECT pg_backend_pid(), pg_sleep(0.05)") for _ in range(6)))
        assert len({pid for [(pid, _)] in rows}) == 2


@on("pg")
async def test_a_session_that_another_statement_took_first_is_opened_again(home, monkeypatch):
    async with worked(home) as (store, run):
        database, taken = store._here, []
        await database.mend()

        async def connect_slowly(work):
            await run(work)
            if not taken:
                taken.append(asyncio.create_task(database.fetch("SELECT pg_sleep(0.2)")))
                while database._free:
                    await asyncio.sleep(0)

        with monkeypatch.context() as patched:
            patched.setattr(database, "_run", connect_slowly)
            assert await database.fetch("SELECT 1") == [(1,)]
            assert len(await taken[0]) == 1


@on("pg")
async def test_after_an_outage_each_idle_session_is_replaced_at_once(home):
    async with worked(home) as (store, run):
        await asyncio.gather(*(store._here.fetch("SELECT pg_sleep(0.05)") for _ in range(2)))
        idle = [session.psycopg.info.backend_pid for session in store._here._free]
        assert len(idle) == 2
        await run(lambda: end_sessions(home, "pid = ANY(%s)", idle))
        await store.claim("w1", 10, 30, KNOWN)


@on("pg")
async def test_a_statement_whose_caller_is_cancelled_leaves_the_session_usable(home):
    async with worked(home) as (store, run):
        *_, before = await state_of(store)
        asking = asyncio.create_task(store._here.fetch("SELECT pg_sleep(30)"))
        # What has not begun yet, no server can cancel.
        async with asyncio.timeout(20):
            while not await run(lambda: is_asleep(home, before)):
                await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert (await state_of(store))[-1] == before


@on("pg")
async def test_what_is_opened_for_a_statement_that_is_cancelled_is_closed_with_the_store(home, monkeypatch):
    async with worked(home) as (store, _):
        database, connecting, may_connect = store._here, threading.Event(), threading.Event()
        await database.mend()
        connect = database._connect

        def connect_slowly():
            connecting.set()
            may_connect.wait(20)
            connect()
            opened.extend(database._free)

        opened = []
        monkeypatch.setattr(database, "_connect", connect_slowly)
        asking = asyncio.create_task(database.fetch("SELECT 1"))
        async with asyncio.timeout(20):
            while not connecting.is_set():
                await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        closing = asyncio.create_task(store.close())
        await asyncio.sleep(0)
        may_connect.set()
        await closing
        [session] = opened
        assert session.connection.connection is None


@on("pg")
def test_the_session_of_a_request_is_left_as_it_was(home):
    for n in range(8):
        run_saga(OrderSaga, {"db": home, "name": str(n)})
    assert state(home) == UNTOUCHED


@on("pg")
async def test_so_is_a_session_that_comes_from_djangos_pool(home, monkeypatch):
    monkeypatch.setitem(connections[home].settings_dict, "OPTIONS", {"pool": {"min_size": 1, "max_size": 2}})
    async with worked(home) as (_, run):
        try:
            assert await run(lambda: connections[home].pool) is not None
            assert await run(lambda: state(home)) == UNTOUCHED
        finally:
            await run(lambda: connections[home].close_pool())


@pytest.mark.skipif(
    "SAGAZ_TEST_PGBOUNCER" not in os.environ, reason="PgBouncer: apt-get install pgbouncer, and SAGAZ_TEST_PGBOUNCER=1"
)
@on("pg")
async def test_so_is_a_session_that_pgbouncer_lends(home, monkeypatch):
    from pooler import pooled

    own = connections[home].settings_dict
    with pooled(f"postgresql://postgres@/{own['NAME']}?host={own['HOST']}") as url:
        parts = urlsplit(url)
        place = {"HOST": parse_qs(parts.query)["host"][0], "PORT": parse_qs(parts.query)["port"][0]}
        for name, value in {**place, "DISABLE_SERVER_SIDE_CURSORS": True}.items():
            monkeypatch.setitem(own, name, value)
        async with worked(home) as (_, run):
            assert await run(lambda: state(home)) == UNTOUCHED
