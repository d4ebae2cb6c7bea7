"""How many database connections sagas take: as few as there are threads, kept from step to step, and given back."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager

import psycopg
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core import checks
from django.core.management import call_command
from django.db import connections, transaction
from django.db.backends.signals import connection_created
from places import on, until
from testproject.shop.models import Order
from testproject.shop.sagas import OrderSaga

from django_sagaz import (
    AtomicBlockError,
    Saga,
    action,
    areadiness,
    async_saga_factory,
    atomic_saga_start,
    liveness,
    readiness,
    run_saga,
)
from django_sagaz._execution import shared_loop as host
from django_sagaz._execution import step_threads
from django_sagaz._project.current import current_project
from django_sagaz.models import Run, Step

THREADS = 3


class Busy(Saga):
    """Uses the ORM in steps of both kinds."""

    saga_name = "busy-with-the-orm"

    @action("write")
    def write(self, ctx):
        with transaction.atomic(ctx["db"]):
            return {"order": Order.objects.using(ctx["db"]).create(name="busy").pk}

    @action("change", depends_on=["write"])
    async def change(self, ctx):
        await Order.objects.using(ctx["db"]).filter(pk=ctx["order"]).aupdate(paid=True)

    @action("read", depends_on=["change"])
    def read(self, ctx):
        return {"paid": Order.objects.using(ctx["db"]).get(pk=ctx["order"]).paid}

    @action("count", depends_on=["read"])
    async def count(self, ctx):
        return {"orders": await Order.objects.using(ctx["db"]).acount()}


class Backend(Saga):
    """Tells which of PostgreSQL's processes served its steps."""

    saga_name = "backends"

    @action("plain")
    def plain(self, ctx):
        return {"plain": backend(ctx["db"])}

    @action("asynchronous", depends_on=["plain"])
    async def asynchronous(self, ctx):
        return {"asynchronous": await sync_to_async(backend)(ctx["db"])}


def backend(home):
    with connections[home].cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


@contextmanager
def opened():
    """Collect the connections that are opened meanwhile, in whatever thread."""
    found = []

    def note(*, connection, **_):
        found.append(connection)

    connection_created.connect(note)
    try:
        yield found
    finally:
        connection_created.disconnect(note)


def of_the_journal(home):
    """How many connections the journal has opened: on PostgreSQL two, after one that asked for the store's id."""
    return 3 if connections[home].vendor == "postgresql" else 1


def start(home, saga, count):
    with transaction.atomic(home):
        return [atomic_saga_start(saga, {"db": home}) for _ in range(count)]


def few_threads(home, settings):
    settings.SAGAZ = {**settings.SAGAZ, "SYNC_THREADS": THREADS}


@on()
def test_a_worker_opens_a_connection_per_thread_and_not_per_step_and_gives_all_of_them_back(home, settings):
    few_threads(home, settings)
    start(home, Busy, 20)
    with opened() as found:
        call_command("sagaz_worker", drain=True, concurrency=10)
    assert Run.objects.using(home).filter(status="completed").count() == 20
    # For the journal, and one for the leases.
    assert 3 <= len(found) <= THREADS + of_the_journal(home) + 1
    until(lambda: all(connection.connection is None for connection in found))


@on()
@pytest.mark.anyio
async def test_so_does_the_loop_of_asynchronous_views(home, settings):
    few_threads(home, settings)
    with opened() as found:
        sagas = await asyncio.gather(*(async_saga_factory(Busy) for _ in range(20)))
        runs = await asyncio.gather(*(saga.run({"db": home}) for saga in sagas))
    assert all(run["paid"] for run in runs)
    assert 2 <= len(found) <= THREADS + of_the_journal(home)
    # The loop ends, as with the process.
    await asyncio.to_thread(setattr, settings, "SAGAZ", {})
    until(lambda: all(connection.connection is None for connection in found))


@on()
def test_run_saga_opens_no_connection_of_its_own(home):
    assert not Order.objects.using(home).exists()
    with opened() as found:
        for _ in range(5):
            assert run_saga(Busy, {"db": home})["paid"]
    assert found == []


@on("pg")
def test_the_server_sees_no_more_connections_of_a_worker_than_documented_and_none_after_it(home, elsewhere):
    worker = elsewhere("-m", "django", "sagaz_worker", "--concurrency", "10", SYNC_THREADS=THREADS)
    assert "Working on" in worker.stdout.readline()
    # Sagas of a test's own module are unknown to another process.
    with transaction.atomic(home):
        for n in range(20):
            atomic_saga_start(OrderSaga, {"db": home, "name": str(n)})
    until(lambda: Run.objects.using(home).filter(status="completed").count() == 20)
    # Two for the journal, one for the leases, one that listens.
    assert 4 <= others(home) <= THREADS + 4
    worker.terminate()
    said, _ = worker.communicate(timeout=30)
    assert "Ended: 20 completed." in said
    until(lambda: others(home) == 0)


def others(home):
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with connections[home].cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0]


@on("pg")
async def test_a_steps_connection_that_died_while_it_was_idle_is_replaced(home, settings, monkeypatch):
    settings.SAGAZ = {**settings.SAGAZ, "SYNC_THREADS": 1}
    monkeypatch.setattr(step_threads, "_IDLE_SECONDS", 0.0)
    runtime = host.threaded_runtime(current_project(), listen=True)
    await runtime.open()
    runtime.make_worker().start()
    try:
        before, after = [await asyncio.to_thread(one_more, home) for _ in range(2)]
    finally:
        await runtime.close()
        runtime.pool.shutdown()
    assert before["plain"] == before["asynchronous"] != after["plain"] == after["asynchronous"]


def one_more(home):
    """Run a saga, have the server end the connection of its steps, and tell which those were."""
    try:
        [saga_id] = start(home, Backend, 1)
        until(lambda: Run.objects.using(home).get(pk=saga_id).finished_at is not None)
        run = Run.objects.using(home).get(pk=saga_id)
        assert run.status == "completed", run.error
        told = {step.step: step.result[step.step] for step in Step.objects.using(home).filter(saga_id=saga_id)}
        with connections[home].cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [told["plain"]])
        return told
    finally:
        connections.close_all()


meeting = threading.Barrier(THREADS)


class Meet(Saga):
    """Waits in a plain step until others are in it too."""

    saga_name = "meet"

    @action("meet")
    def meet(self, ctx):
        meeting.wait(20)


@on()
def test_plain_steps_of_different_runs_run_side_by_side_in_a_worker(home, settings):
    few_threads(home, settings)
    start(home, Meet, THREADS)
    call_command("sagaz_worker", drain=True)
    assert Run.objects.using(home).filter(status="completed").count() == THREADS


@on()
@pytest.mark.anyio
async def test_and_those_of_asynchronous_views(home, settings):
    few_threads(home, settings)
    sagas = [await async_saga_factory(Meet) for _ in range(THREADS)]
    runs = await asyncio.gather(*(saga.run({"db": home}) for saga in sagas))
    assert [run.status.value for run in runs] == ["completed"] * THREADS
    await asyncio.to_thread(setattr, settings, "SAGAZ", {})


@on()
def test_and_those_of_synchronous_ones(home):
    ended = []

    def view():
        ended.append(run_saga(Meet, {"db": home}).status.value)
        connections.close_all()

    threads = [threading.Thread(target=view) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ended == ["completed"] * THREADS


class Interrupted(Saga):
    """Uses the ORM before and after a step that does not, during which the server ends the idle connection."""

    saga_name = "interrupted"

    @action("before")
    def before(self, ctx):
        return {"pid": backend(ctx["db"])}

    @action("between", depends_on=["before"])
    def between(self, ctx):
        with psycopg.connect(ctx["url"], autocommit=True) as watching:
            query = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
            until(lambda: watching.execute(query, [ctx["pid"]]).fetchone() == (0,))

    @action("after", depends_on=["between"])
    def after(self, ctx):
        return {"again": backend(ctx["db"])}


@on("pg")
def test_what_the_server_ended_while_a_step_did_not_use_it_is_replaced_however_busy_its_thread_was(home, settings):
    settings.SAGAZ = {**settings.SAGAZ, "SYNC_THREADS": 1}
    own = connections[home].settings_dict
    with connections[home].cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {own['NAME']} SET idle_session_timeout = '1500ms'")
    try:
        url = f"postgresql://{own['USER']}@/postgres?host={own['HOST']}"
        with transaction.atomic(home):
            atomic_saga_start(Interrupted, {"db": home, "url": url})
        call_command("sagaz_worker", drain=True)
        run = Run.objects.using(home).get()
        assert run.status == "completed", run.error
    finally:
        with connections[home].cursor() as cursor:
            cursor.execute(f"ALTER DATABASE {own['NAME']} RESET idle_session_timeout")


@on()
def test_a_worker_commits_whatever_autocommit_says_and_what_a_step_did_not_commit_is_rolled_back(
    home, monkeypatch, capsys
):
    start(home, Careless, 3)
    monkeypatch.setitem(connections.settings[home], "AUTOCOMMIT", False)
    call_command("sagaz_worker", drain=True)
    assert "Ended: 3 completed." in capsys.readouterr().out
    call_command("sagaz_worker", drain=True)
    assert "Ended: no runs." in capsys.readouterr().out
    assert Run.objects.using(home).filter(status="completed").count() == 3
    assert not Order.objects.using(home).filter(name="careless").exists()


class Careless(Saga):
    saga_name = "careless"

    @action("write")
    def write(self, ctx):
        Order.objects.using(ctx["db"]).create(name="careless")


@on()
def test_where_nothing_commits_by_itself_run_saga_says_so_and_check_too(home, monkeypatch):
    connections[home].close()
    monkeypatch.setitem(connections[home].settings_dict, "AUTOCOMMIT", False)
    monkeypatch.setitem(connections.settings[home], "AUTOCOMMIT", False)
    with pytest.raises(AtomicBlockError, match="With AUTOCOMMIT=False there always is one"):
        run_saga(OrderSaga, {"db": home})
    assert "sagaz.W008" in {message.id for message in checks.run_checks(tags=["sagaz"])}


@on("pg")
def test_a_pool_that_is_too_small_for_the_threads_fails_no_step_and_is_told(home, settings, monkeypatch, caplog):
    settings.SAGAZ = {**settings.SAGAZ, "SYNC_THREADS": 8}
    pool = {"pool": {"min_size": 1, "max_size": 5, "timeout": 5}}
    start(home, Slow, 8)
    monkeypatch.setitem(connections.settings[home], "OPTIONS", pool)
    try:
        [message] = [m for m in checks.run_checks(tags=["sagaz"]) if m.id == "sagaz.W007"]
        assert "its pool has 5 connections, and the threads of steps and the journal need 11" in message.msg
        call_command("sagaz_worker", drain=True, concurrency=8)
    finally:
        connections.create_connection(home).close_pool()
    assert Run.objects.using(home).filter(status="completed").count() == 8
    assert "Steps are called in 2 threads instead of 8." in caplog.text


class Slow(Saga):
    saga_name = "slow"

    @action("read")
    def read(self, ctx):
        with connections[ctx["db"]].cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.2)")


class Tenant(Saga):
    """Looks at its session, and leaves it in another schema."""

    saga_name = "tenant"

    @action("move")
    def move(self, ctx):
        with connections[ctx["db"]].cursor() as cursor:
            cursor.execute("SHOW search_path")
            found = cursor.fetchone()[0]
            cursor.execute(ctx["statement"])
            cursor.execute("SHOW search_path")
            return {"found": found, "then": cursor.fetchone()[0]}


@on("pg")
@pytest.mark.parametrize(
    "statement",
    [
        "SET search_path TO tenant_a",
        "set session search_path = tenant_a",
        "SELECT set_config('search_path', 'tenant_a', false)",
    ],
)
def test_a_session_that_a_step_has_changed_is_not_seen_by_the_next_run(home, settings, statement):
    settings.SAGAZ = {**settings.SAGAZ, "SYNC_THREADS": 1}
    with transaction.atomic(home):
        ids = [atomic_saga_start(Tenant, {"db": home, "statement": statement}) for _ in range(3)]
    call_command("sagaz_worker", drain=True, verbosity=0)
    results = [Step.objects.using(home).get(saga_id=saga_id).result for saga_id in ids]
    assert [result["found"] for result in results] == ['"$user", public'] * 3
    assert all("tenant_a" in result["then"] for result in results)


@on("pg")
@pytest.mark.parametrize("statement", ["SELECT 1", "SET LOCAL search_path TO tenant_a"])
def test_a_session_that_no_step_has_changed_is_kept(home, settings, statement):
    settings.SAGAZ = {**settings.SAGAZ, "SYNC_THREADS": 1}
    opened = []

    def on_connected(connection, **_):
        if threading.current_thread().name.startswith("sagaz-step"):
            opened.append(connection.alias)

    connection_created.connect(on_connected)
    with transaction.atomic(home):
        for _ in range(3):
            atomic_saga_start(Tenant, {"db": home, "statement": statement})
    call_command("sagaz_worker", drain=True, verbosity=0)
    connection_created.disconnect(on_connected)
    assert opened == [home]


@on()
def test_a_health_view_asks_whether_sagas_can_be_started_and_whether_work_is_done(home):
    assert readiness()
    assert async_to_sync(areadiness)()
    assert liveness()
    with connections[home].cursor() as cursor:
        cursor.execute("ALTER TABLE sagaz_audit RENAME TO sagaz_elsewhere")
        try:
            assert "there is no table sagaz_audit" in readiness().problem
            assert liveness()
        finally:
            cursor.execute("ALTER TABLE sagaz_elsewhere RENAME TO sagaz_audit")
