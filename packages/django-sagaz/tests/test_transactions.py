"""A saga exists if and only if the rows that were written with it do."""

from __future__ import annotations

import contextlib
import threading

import pytest
from asgiref.sync import async_to_sync
from django.core.management import call_command
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext
from places import on
from testproject.shop.models import Order
from testproject.shop.sagas import OrderSaga

from django_sagaz import (
    AtomicBlockError,
    IdempotencyConflict,
    Overloaded,
    TransactionRequired,
    WrongDatabase,
    atomic_saga_start,
    create_saga,
    run_deferred,
    run_saga,
    saga_context,
)
from django_sagaz.models import Run

EVERYWHERE = on()


def order(home, name="one"):
    """Write a row, and start its saga."""
    Order.objects.using(home).create(name=name)
    return atomic_saga_start(OrderSaga, context={"db": home, "name": name}, connection=transaction.get_connection(home))


def counts(home):
    return Order.objects.using(home).count(), Run.objects.using(home).count()


@EVERYWHERE
def test_a_commit_keeps_both(home):
    with transaction.atomic(home):
        saga_id = order(home)
    run = Run.objects.using(home).get()
    assert (run.saga_id, run.saga_name, run.status) == (saga_id, "order", "pending")
    assert run.context == {"db": home, "name": "one"}
    assert counts(home) == (1, 1)


@EVERYWHERE
@pytest.mark.parametrize("way", ["atomic_saga_start", "run_deferred"])
def test_a_start_is_refused_with_its_transaction_while_as_many_runs_are_due_as_a_setting_allows(home, settings, way):
    settings.SAGAZ = {**settings.SAGAZ, "MAX_DUE": 2}

    def place(name):
        with transaction.atomic(home):
            Order.objects.using(home).create(name=name)
            {"atomic_saga_start": atomic_saga_start, "run_deferred": run_deferred}[way](OrderSaga, {"db": home})

    place("one")
    place("two")
    with pytest.raises(Overloaded, match="2 runs wait for workers") as refused:
        place("three")
    assert refused.value.retry_after > 0
    assert counts(home) == (2, 2)
    assert run_saga(OrderSaga, {"db": home, "name": "four"}).status.value == "completed"


@EVERYWHERE
def test_a_rollback_keeps_neither(home):
    with contextlib.suppress(ZeroDivisionError), transaction.atomic(home):
        order(home)
        raise ZeroDivisionError
    assert counts(home) == (0, 0)


@EVERYWHERE
def test_a_rolled_back_savepoint_keeps_neither_and_the_rest_is_kept(home):
    with transaction.atomic(home):
        order(home, "kept")
        with contextlib.suppress(ZeroDivisionError), transaction.atomic(home):
            order(home, "lost")
            raise ZeroDivisionError
    assert counts(home) == (1, 1)
    assert Run.objects.using(home).get().context["name"] == "kept"


@EVERYWHERE
def test_a_start_is_one_insert(home):
    with transaction.atomic(home):
        # The first one of a process asks the database for what it lacks.
        atomic_saga_start(OrderSaga, {"db": home, "name": "first"}, using=home)
    atomic = transaction.atomic(home, durable=True)
    with atomic, CaptureQueriesContext(connections[home]) as queries:
        atomic_saga_start(OrderSaga, {"db": home, "name": "one"}, using=home)
    statements = [query["sql"] for query in queries if "SAVEPOINT" not in query["sql"]]
    inserts = [sql for sql in statements if sql.lstrip().startswith("INSERT")]
    # MariaDB is asked what time it is.
    assert len(inserts) == 1
    assert len(statements) == (2 if home == "maria" else 1)


@EVERYWHERE
def test_the_same_key_gives_the_same_saga(home):
    context = {"db": home, "name": "one"}
    with transaction.atomic(home):
        first = atomic_saga_start(OrderSaga, context, idempotency_key="k")
        assert atomic_saga_start(OrderSaga, context, idempotency_key="k") == first
    with transaction.atomic(home):
        assert atomic_saga_start(OrderSaga, context, idempotency_key="k") == first
        with pytest.raises(IdempotencyConflict, match="'k'"):
            atomic_saga_start(OrderSaga, {**context, "name": "two"}, idempotency_key="k")
        # The transaction goes on.
        Order.objects.using(home).create(name="after")
    assert counts(home) == (1, 1)


@EVERYWHERE
def test_concurrent_starts_with_one_key_give_one_saga(home):
    given, errors = [], []
    together = threading.Barrier(8)

    def start():
        try:
            together.wait()
            with transaction.atomic(home):
                given.append(atomic_saga_start(OrderSaga, {"db": home}, idempotency_key="k"))
        except Exception as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(given) == 8
    assert set(given) == {Run.objects.using(home).get().saga_id}


KILLED = """
import os, signal, django
django.setup()
from django.db import transaction
from testproject.shop.models import Order
from testproject.shop.sagas import OrderSaga
from django_sagaz import atomic_saga_start
home = {home!r}
with transaction.atomic(home):
    Order.objects.using(home).create(name="one")
    print(atomic_saga_start(OrderSaga, {{"db": home, "name": "one"}}, idempotency_key="k"), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@EVERYWHERE
def test_a_process_that_dies_before_the_commit_leaves_neither(home, elsewhere):
    process = elsewhere("-c", KILLED.format(home=home))
    said, _ = process.communicate(timeout=60)
    assert process.returncode == -9, said
    assert counts(home) == (0, 0)
    # Its key is free.
    with transaction.atomic(home):
        assert atomic_saga_start(OrderSaga, {"db": home, "name": "two"}, idempotency_key="k") == said.strip()


@EVERYWHERE
def test_without_a_transaction_the_error_names_the_fix(home):
    with pytest.raises(TransactionRequired, match=r"`with transaction\.atomic\("):
        atomic_saga_start(OrderSaga, {"db": home})
    assert counts(home) == (0, 0)


@on("default", "pg")
def test_a_transaction_on_another_database_is_refused(home):
    other = "memory"
    with pytest.raises(WrongDatabase, match=f"'{other}', and sagas are kept in '{home}'"):
        atomic_saga_start(OrderSaga, {"db": home}, using=other)
    with pytest.raises(WrongDatabase, match="give one of them"):
        atomic_saga_start(OrderSaga, {}, using=other, connection=transaction.get_connection(home))


@on("default")
def test_another_threads_connection_is_refused(home):
    theirs = []
    thread = threading.Thread(target=lambda: theirs.append(connections[home]))
    thread.start()
    thread.join()
    with transaction.atomic(home), pytest.raises(WrongDatabase, match="not this thread's own connection"):
        atomic_saga_start(OrderSaga, {"db": home}, connection=theirs[0])
    assert counts(home) == (0, 0)


@on("default")
def test_a_store_outside_of_django_is_refused_with_the_reason(home, settings):
    settings.SAGAZ = {"STORAGE_URL": "memory://"}
    with transaction.atomic(home), pytest.raises(WrongDatabase, match="memory://, which takes no part"):
        atomic_saga_start(OrderSaga, {})


@EVERYWHERE
def test_the_decorators_of_the_adr(home):
    @transaction.atomic(using=home)
    @saga_context
    def create_order(fail):
        Order.objects.using(home).create(name="one")
        saga = OrderSaga()
        saga_id = saga.run_deferred({"db": home, "name": "one"})
        if fail:
            raise ZeroDivisionError
        return saga_id

    with pytest.raises(ZeroDivisionError):
        create_order(fail=True)
    assert counts(home) == (0, 0)
    assert create_order(fail=False) == Run.objects.using(home).get().saga_id


@on("default")
def test_saga_context_refuses_to_begin_without_a_transaction(home):
    called = []

    @saga_context
    def create_order():
        called.append(1)

    with pytest.raises(TransactionRequired):
        create_order()
    assert not called

    async def view():
        return None

    with pytest.raises(TypeError, match="coroutine function"):
        saga_context(view)


@pytest.mark.parametrize("alias", ["default"])
@pytest.mark.parametrize("fails", [True, False])
@pytest.mark.django_db(transaction=True, databases=["default", "pg"])
def test_saga_context_ends_with_its_function(home, settings, fails):
    @transaction.atomic(using=home)
    @saga_context(using=home)
    def create_order():
        run_deferred(OrderSaga, {"db": home, "name": "one"})
        if fails:
            raise ZeroDivisionError

    with contextlib.suppress(ZeroDivisionError):
        create_order()
    settings.SAGAZ = {"DATABASE": "pg"}
    with transaction.atomic("pg"):
        saga_id = run_deferred(OrderSaga, {"db": "pg", "name": "two"})
    assert Run.objects.using("pg").get().pk == saga_id


@on("default")
def test_a_plain_saga_is_deferred_by_a_function(home):
    import sagaz

    class Plain(sagaz.Saga):
        saga_name = "plainly-deferred"

        @sagaz.action("only")
        async def only(self, ctx):
            return {}

    with transaction.atomic(home):
        saga_id = run_deferred(Plain(), {"n": 1})
    assert Run.objects.using(home).get().pk == saga_id


@EVERYWHERE
def test_a_saga_does_not_run_inside_a_transaction(home):
    with (
        transaction.atomic(home),
        pytest.raises(AtomicBlockError, match=r"atomic_saga_start.*non_atomic_requests"),
    ):
        run_saga(OrderSaga, {"db": home, "name": "one"})
    assert counts(home) == (0, 0)


@EVERYWHERE
def test_nor_does_one_for_which_asynchronous_code_waits_inside_a_transaction(home):
    with transaction.atomic(home), pytest.raises(AtomicBlockError):
        async_to_sync(create_saga(OrderSaga).run)({"db": home, "name": "one"})
    assert counts(home) == (0, 0)


@EVERYWHERE
def test_what_was_started_is_run_by_the_worker(home):
    with transaction.atomic(home):
        good = order(home, "good")
        bad = atomic_saga_start(OrderSaga, {"db": home, "name": "bad", "fail": True})
    call_command("sagaz_worker", drain=True, concurrency=4)
    assert dict(Run.objects.using(home).values_list("saga_id", "status")) == {good: "completed", bad: "rolled_back"}
    assert Order.objects.using(home).get(name="good").paid
