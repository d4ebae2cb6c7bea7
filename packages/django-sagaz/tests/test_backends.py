"""What projects differ in that the store must not mind: how big it has grown, time zones, pools of connections."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command
from django.db import connections, transaction
from django.test import override_settings
from places import on
from testproject.shop.models import Order
from testproject.shop.sagas import OrderSaga

from django_sagaz import atomic_saga_start
from django_sagaz._stores.connections import healthy
from django_sagaz._stores.factory import open_store
from django_sagaz._stores.runners import Directly, immediately
from django_sagaz.models import Run
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.contract.records import Release, RunWrite, StepWrite

KNOWN = {"order": ()}

FILL = """
INSERT INTO sagaz_run (saga_id, saga_name, status, context, attempt, failures, available_at, created_at, updated_at,
    fingerprint)
SELECT gen_random_uuid()::text, 'order', 'pending', '{}', 0, 0, now(), now(), now(), '-' FROM generate_series(1, 20000)
"""


def whole_reads(cursor):
    cursor.execute("SELECT pg_stat_force_next_flush()")
    cursor.execute("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'sagaz_run'")
    return cursor.fetchone()[0]


@on("pg")
def test_no_statement_reads_the_table_of_runs_whole(home):
    store = open_store(home, Directly())
    with connections[home].cursor() as cursor:
        # The statistics are those of empty tables.
        cursor.execute("ANALYZE sagaz_run, sagaz_step")
        cursor.execute(FILL)
        before = whole_reads(cursor)
        runs = immediately(store.claim("me", 50, 30.0, KNOWN))
        assert len(runs) == 50
        held = [(run.saga_id, run.attempt) for run in runs]
        assert len(immediately(store.renew("me", held, 30.0)).held) == 50
        step = (StepWrite("one", "do", "done"),)
        assert all(immediately(store.write([RunWrite(id_, "me", n, steps=step) for id_, n in held])))
        assert all(immediately(store.write([RunWrite(id_, "me", n, release=Release()) for id_, n in held])))
        assert len(immediately(store.claim("me", 50, 30.0, KNOWN, saga_ids=[id_ for id_, _ in held]))) == 50
        assert whole_reads(cursor) == before


@on()
def test_without_time_zone_support_times_are_what_they_were(home):
    with override_settings(USE_TZ=False, TIME_ZONE="Asia/Tokyo"):
        connections[home].close()
        for name in ("timezone", "timezone_name"):
            vars(connections[home]).pop(name, None)
        later = datetime.now(UTC) + timedelta(hours=1)
        with transaction.atomic(home):
            Order.objects.using(home).create(name="one")
            now = atomic_saga_start(OrderSaga, {"db": home, "name": "one"})
            then = atomic_saga_start(OrderSaga, {"db": home, "name": "one"}, not_before=later)
        call_command("sagaz_worker", drain=True)
        found = {run.saga_id: run for run in immediately(open_store(home, Directly()).find(RunFilter()))}
        assert (found[now].status, found[then].status) == ("completed", "pending")
        assert found[then].available_at == later.replace(microsecond=found[then].available_at.microsecond)
        assert abs(found[now].finished_at - datetime.now(UTC)) < timedelta(minutes=1)
        if home == "pg":
            # The ORM gives them in the project's own time.
            assert abs(Run.objects.using(home).get(pk=now).created_at - datetime.now()) < timedelta(minutes=1)
    for name in ("timezone", "timezone_name"):
        vars(connections[home]).pop(name, None)
    connections[home].close()


@override_settings(USE_TZ=False, TIME_ZONE="Europe/Berlin")
def test_without_time_zone_support_the_hour_that_comes_twice_changes_no_order():
    from django_sagaz._stores.orm.rows import aware, stored

    before = datetime(2026, 10, 25, 0, 50, tzinfo=UTC)
    moments = [before + timedelta(minutes=20 * n) for n in range(5)]
    assert sorted(map(stored, moments)) == [stored(moment) for moment in moments]
    assert [aware(stored(moment)) for moment in moments] == moments


@pytest.fixture
def pooled(home):
    """Connections come out of Django's pool, as small as a worker can do with."""
    connection = connections[home]
    connection.close()
    kept = connection.settings_dict
    connection.settings_dict = copy.deepcopy(kept)
    connection.settings_dict["OPTIONS"]["pool"] = {"min_size": 1, "max_size": 2, "timeout": 5}
    connections.settings[home], settings = connection.settings_dict, connections.settings[home]
    yield
    connections[home].close()
    connections[home].close_pool()
    connection.settings_dict, connections.settings[home] = kept, settings
    del connections[home]


@on("pg")
def test_a_step_that_leaves_a_transaction_open_takes_no_connection_out_of_the_pool(home, pooled):
    for _ in range(5):
        transaction.atomic(home).__enter__()
        Order.objects.using(home).create(name="left")
        healthy()
    assert Order.objects.using(home).count() == 0
