"""An event of the application's own exists if and only if the rows that were written with it do."""

from __future__ import annotations

import contextlib
import json

import pytest
from asgiref.sync import async_to_sync
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext
from places import on
from testproject.shop.models import Order

from django_sagaz import ContextValueError, SettingsError, TransactionRequired, WrongDatabase, publish
from django_sagaz._execution.executions import Executions
from django_sagaz._project.current import current_project
from django_sagaz.models import OutboxEvent
from django_sagaz.storage import DjangoOutboxStorage
from sagaz_integration_core.context import correlation as context

EVERYWHERE = on()


@pytest.fixture(autouse=True)
def broker(home, settings):
    settings.SAGAZ = {**settings.SAGAZ, "BROKER_URL": "memory://"}


def place(home, name="one", **options):
    """Write a row, and publish that."""
    Order.objects.using(home).create(name=name)
    return publish("orders.placed", {"name": name}, using=home, **options)


def counts(home):
    return Order.objects.using(home).count(), OutboxEvent.objects.using(home).count()


@EVERYWHERE
def test_a_commit_keeps_both(home):
    with context.bound("c-1"), transaction.atomic(home):
        event_id = place(home, key="order-1", headers={"tenant": "a"})
    event = OutboxEvent.objects.using(home).get()
    assert (event.event_id, event.saga_id, event.topic) == (event_id, "order-1", "orders.placed")
    assert event.payload == {"name": "one"}
    assert (event.headers["tenant"], event.headers["correlation_id"]) == ("a", "c-1")
    assert counts(home) == (1, 1)


@EVERYWHERE
def test_a_rollback_keeps_neither(home):
    with contextlib.suppress(ZeroDivisionError), transaction.atomic(home):
        place(home)
        raise ZeroDivisionError
    assert counts(home) == (0, 0)


@EVERYWHERE
def test_a_rolled_back_savepoint_keeps_neither_and_the_rest_is_kept(home):
    with transaction.atomic(home):
        place(home, "kept")
        with contextlib.suppress(ZeroDivisionError), transaction.atomic(home):
            place(home, "lost")
            raise ZeroDivisionError
    assert counts(home) == (1, 1)
    assert OutboxEvent.objects.using(home).get().payload["name"] == "kept"


@EVERYWHERE
def test_a_publication_is_one_insert(home):
    with transaction.atomic(home):
        # The first one of a process asks the database for what it lacks.
        publish("orders.placed", {})
    atomic = transaction.atomic(home, durable=True)
    with atomic, CaptureQueriesContext(connections[home]) as queries:
        publish("orders.placed", {})
    statements = [query["sql"] for query in queries if "SAVEPOINT" not in query["sql"]]
    # MariaDB is asked what time it is, and whether the event is there.
    assert len(statements) == (3 if home == "maria" else 1)


@EVERYWHERE
def test_the_same_key_gives_one_event(home):
    with transaction.atomic(home):
        first = place(home, idempotency_key="k")
        assert place(home, "two", idempotency_key="k") == first
    with transaction.atomic(home):
        assert place(home, "three", idempotency_key="k") == first
    assert counts(home) == (3, 1)


@EVERYWHERE
def test_a_worker_publishes_what_was_committed_in_its_order(home):
    with transaction.atomic(home):
        ids = [place(home, name, key="order-1") for name in ("one", "two", "three")]
    executions = Executions(current_project())

    async def drain(runtime):
        await runtime.make_worker(drain=True).run()
        return runtime.broker.get_messages("orders.placed")

    try:
        messages = executions.run(drain)
    finally:
        executions.close()
    assert [json.loads(message["message"])["event_id"] for message in messages] == ids
    assert set(OutboxEvent.objects.using(home).values_list("status", flat=True)) == {"sent"}


@EVERYWHERE
def test_outside_of_a_transaction_the_error_names_the_fix(home):
    with pytest.raises(TransactionRequired, match=r"the event could commit with.*`with transaction\.atomic\("):
        publish("orders.placed", {})
    assert counts(home) == (0, 0)


@on("default")
def test_another_databases_transaction_and_a_missing_broker_are_refused(home, settings):
    with transaction.atomic(home):
        with pytest.raises(WrongDatabase, match="'pg', and sagas are kept in 'default'"):
            publish("orders.placed", {}, using="pg")
        with pytest.raises(ContextValueError, match="price"):
            publish("orders.placed", {"price": float("nan")})
        settings.SAGAZ = {"DATABASE": home}
        with pytest.raises(SettingsError, match=r'SAGAZ\["BROKER_URL"\]'):
            publish("orders.placed", {})
    assert counts(home) == (0, 0)


@EVERYWHERE
def test_what_sagaz_inserts_joins_the_transaction_too(home):
    from sagaz.core.outbox.types import OutboxEvent as Event

    storage = DjangoOutboxStorage(home)

    def insert(name):
        async_to_sync(storage.insert)(Event(saga_id="s", event_type="t", payload={}, event_id=name))

    with contextlib.suppress(ZeroDivisionError), transaction.atomic(home):
        insert("lost")
        raise ZeroDivisionError
    with transaction.atomic(home):
        insert("kept")
    assert [event.event_id for event in async_to_sync(storage.get_events_by_saga)("s")] == ["kept"]
