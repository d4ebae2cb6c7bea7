"""What a database says that is restarted, or taken away, ends neither a worker nor a web process."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import psycopg
import pytest
from django.db import DatabaseError, DataError, OperationalError, ProgrammingError, connections, transaction
from places import on, until
from testproject.shop.models import Order
from testproject.shop.sagas import OrderSaga

from django_sagaz import StoreUnavailable, atomic_saga_start, publish, run_saga
from django_sagaz._execution import shared_loop as host
from django_sagaz._project.current import current_project
from django_sagaz._stores.errors import ConnectionDied
from django_sagaz._stores.orm.store import ORMStore
from django_sagaz._stores.runners import DatabaseThread, Directly, immediately
from django_sagaz.models import OutboxEvent, Run
from sagaz_integration_core.context.correlation import bound
from sagaz_integration_core.contract.records import NewRun
from sagaz_integration_core.errors import UnstorableValue

SURPRISES = [DataError('invalid value for parameter "TimeZone": "UTC"'), ProgrammingError("no such role"), OSError(24)]


@pytest.fixture
def unready(home, monkeypatch):
    """Makes connections fail while they are set up, as on a server that begins or ends."""
    made = type(connections[home])
    set_up = made.init_connection_state
    left: list[BaseException] = []

    def init_connection_state(wrapper):
        set_up(wrapper)
        if left:
            raise left.pop()

    monkeypatch.setattr(made, "init_connection_state", init_connection_state)
    return left


@on()
@pytest.mark.parametrize("surprise", SURPRISES, ids=lambda error: type(error).__name__)
def test_whatever_goes_wrong_while_connecting_says_that_the_store_is_unavailable(home, unready, surprise):
    connections[home].close()
    unready.append(surprise)
    with pytest.raises(StoreUnavailable, match=f"'{home}' cannot be used"):
        run_saga(OrderSaga, {"db": home, "name": "x"})
    # What was half set up is not used again.
    assert connections[home].connection is None
    assert run_saga(OrderSaga, {"db": home, "name": "x"}).status.value == "completed"


@on("pg")
def test_a_value_that_the_database_can_never_store_is_told_as_such(home):
    with pytest.raises(UnstorableValue, match="22001"), transaction.atomic(home), bound("x" * 256):
        atomic_saga_start(OrderSaga, {})


@on("pg")
def test_a_server_that_only_reads_is_unavailable_and_looked_for_anew(home):
    with connections[home].cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
    with pytest.raises(StoreUnavailable, match="read-only"):
        run_saga(OrderSaga, {"db": home, "name": "x"})
    assert run_saga(OrderSaga, {"db": home, "name": "x"}).status.value == "completed"


@on("default", "pg", "maria")
async def test_a_worker_outlives_errors_of_connecting(home, unready, monkeypatch):
    store = DatabaseThread()
    monkeypatch.setattr(host, "DatabaseThread", lambda: store)
    runtime = host.threaded_runtime(current_project(), listen=True)
    await runtime.open()
    worker = runtime.make_worker()
    worker.start()
    try:
        await asyncio.to_thread(one_more, home)
        # The store's connections are gone, and the next ones fail.
        unready.extend(SURPRISES)
        await store(connections.close_all)

        def all_have_failed():
            # Again and again: the session that was busy at first is idle later.
            if connections[home].vendor == "postgresql":
                cut_idle(runtime.store._here, home)
            return not unready

        await asyncio.to_thread(until, all_have_failed)
        await asyncio.to_thread(one_more, home)
    finally:
        await runtime.close()
        runtime.pool.shutdown()


def cut_idle(database, home):
    """End the sessions that a worker has for its statements."""
    own = connections[home].settings_dict
    with psycopg.connect(host=own["HOST"], user=own["USER"], dbname=own["NAME"], autocommit=True) as other:
        for session in list(database._free):
            other.execute("SELECT pg_terminate_backend(%s)", [session.connection.connection.info.backend_pid])


def one_more(home):
    """Start a saga, and return when a worker has run it."""
    try:
        with transaction.atomic(home):
            saga_id = atomic_saga_start(OrderSaga, {"db": home, "name": "x"})
        until(lambda: Run.objects.using(home).get(pk=saga_id).status == "completed", 30)
    finally:
        connections.close_all()


@on("pg")
def test_an_inline_run_whose_start_was_cut_off_right_after_its_insert_is_executed_here_and_now(home):
    own = connections[home].settings_dict
    cut = []

    def cutting(execute, sql, params, many, context):
        result = execute(sql, params, many, context)
        if "INSERT INTO sagaz_run" in sql and not cut:
            with psycopg.connect(host=own["HOST"], user=own["USER"], dbname=own["NAME"], autocommit=True) as other:
                cut.append(other.execute("SELECT pg_terminate_backend(%s)", [backend(home)]).fetchone())
            # What psycopg says when the answer does not come.
            raise OperationalError("server closed the connection unexpectedly")
        return result

    with connections[home].execute_wrapper(cutting):
        run = run_saga(OrderSaga, {"db": home, "name": "x"}, idempotency_key="k")
    assert run.status.value == "completed"
    assert cut == [(True,)]
    assert Run.objects.using(home).get().attempt == 1


def backend(home):
    return connections[home].connection.info.backend_pid


@on("pg", "maria")
@pytest.mark.parametrize(
    "record",
    [
        pytest.param(lambda home: atomic_saga_start(OrderSaga, {"db": home, "name": "x"}), id="start"),
        pytest.param(lambda home: publish("orders", {"order": 1}, using=home), id="publish"),
    ],
)
def test_nothing_is_recorded_without_what_died_with_its_transaction(home, settings, monkeypatch, record):
    settings.SAGAZ = {**settings.SAGAZ, "BROKER_URL": "memory://"}
    connections[home].close()
    other = connections[home].copy()
    # The transaction has no atomic block, and nothing commits by itself.
    monkeypatch.setitem(connections[home].settings_dict, "AUTOCOMMIT", False)
    try:
        Order.objects.using(home).create(name="before")
        end_session_of(home, other)
        with pytest.raises(StoreUnavailable):
            record(home)
        with suppress(DatabaseError):
            connections[home].commit()
    finally:
        other.close()
        connections[home].close()
        monkeypatch.undo()
    assert not Run.objects.using(home).exists()
    assert not OutboxEvent.objects.using(home).exists()
    assert not Order.objects.using(home).exists()


def end_session_of(home, other):
    with other.cursor() as cursor:
        if other.vendor == "postgresql":
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [backend(home)])
        else:
            cursor.execute("KILL %s", [connections[home].connection.thread_id()])


@on("maria")
@pytest.mark.parametrize("committed", [False, True])
def test_an_insert_whose_answer_was_lost_is_recognised_as_ones_own(home, monkeypatch, committed):
    store = ORMStore(home, Directly())
    transact, left = store.transact, [True]

    async def breaking(work):
        if not left:
            return await transact(work)
        left.clear()
        if committed:
            await transact(work)
        raise ConnectionDied("gone")

    monkeypatch.setattr(store, "transact", breaking)
    own, other = (NewRun("x", "order", "{}", "f1", lease_owner=owner) for owner in ("w1", "w2"))
    [inserted] = immediately(store.insert([own], 30))
    assert (inserted.created, inserted.recognised) == (True, committed)
    left.append(True)
    [inserted] = immediately(store.insert([other], 30))
    assert not inserted.created
