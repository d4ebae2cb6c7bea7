"""What a store leaves in PostgreSQL's sessions: something in those that are its own alone, else nothing."""

from __future__ import annotations

import os
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


def state(alias):
    """How many statements a session has prepared, and two of the settings that plans depend on."""
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT count(*) FROM pg_prepared_statements), current_setting('enable_seqscan'), "
            "current_setting('plan_cache_mode')"
        )
        return cursor.fetchone()


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
    async with worked(home) as (_, run):
        prepared, *planning = await run(lambda: state(home))
        assert prepared >= 1
        assert planning == ["off", "force_generic_plan"]


@on("pg")
async def test_so_it_does_after_its_connection_was_replaced(home):
    async with worked(home) as (store, run):
        before = await run(lambda: connections[home].connection.info.backend_pid)
        await run(lambda: connections[home].close())
        await store.claim("w1", 10, 30, KNOWN)
        assert await run(lambda: connections[home].connection.info.backend_pid) != before
        assert (await run(lambda: state(home)))[1:] == ("off", "force_generic_plan")


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
