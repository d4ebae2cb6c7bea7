"""Signals that nobody waits for, on databases that the ORM serves: looked at a minute longer, and then no more."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext
from places import place
from plans import rows_read

from sagaz_durable.testing.store_conformance.builders import LEASE, claim_all, parked, signal, wait


def _seen(connection):
    from django_sagaz.models import Signal

    return dict(Signal.objects.using(connection.alias).values_list("signal_id", "seen_at"))


def _a_minute_later(connection):
    from django_sagaz._stores.orm.rows import Moment, stored
    from django_sagaz.models import Signal

    Signal.objects.using(connection.alias).update(seen_at=stored(Moment(connection).utc - timedelta(seconds=61)))


async def test_a_signal_that_was_seen_too_early_is_looked_at_again_after_a_minute(stores):
    store, _ = stores
    run = await parked(store, wait())
    await store.send([signal(saga_id=run.saga_id, signal_id="awaited"), signal(key="nobody", signal_id="early")])
    # As if the wait had been committed only after that look, by a process that stood still.
    await store.transact(_a_minute_later)
    assert await claim_all(store) == []
    await store.heartbeat("w1", LEASE)
    seen = await store.transact(_seen)
    assert (seen["awaited"], seen["early"] is None) == (None, False)
    assert [one.saga_id for one in await claim_all(store)] == [run.saga_id]
    await store.heartbeat("w1", LEASE)
    assert (await store.transact(_seen))["early"] == seen["early"]


SIGNALS, WAITS = 300, 3000


def _fill(connection):
    """Insert signals that nobody waits for, and waits for others."""
    from django_sagaz._stores.orm.rows import Moment
    from django_sagaz.models import Signal, Wait

    now = Moment(connection).now
    common = {"name": "paid", "payload": {}, "fingerprint": "f", "created_at": now}
    Signal.objects.using(connection.alias).bulk_create(
        Signal(id=f"{address}-{n}", **{address: f"early-{n}"}, **common)
        for address in ("key", "saga_id")
        for n in range(SIGNALS // 2)
    )
    Wait.objects.using(connection.alias).bulk_create(
        Wait(saga_id=f"run-{n}", step="a", phase="do", name="paid", n=0, key=f"k-{n}", created_at=now)
        for n in range(WAITS)
    )


@pytest.mark.parametrize("alias", [place("pg", transaction=False)])
def test_each_signal_is_not_compared_with_all_that_is_waited_for(alias):
    from django_sagaz._stores.orm import waits
    from django_sagaz._stores.orm.rows import Moment

    connection = connections[alias]
    _fill(connection)
    moment = Moment(connection)
    with CaptureQueriesContext(connection) as queries:
        waits.rouse(connection, ["OrderSaga"], moment)
        waits.count_signalled(connection)
        waits.see(connection, moment)
    asked = [query["sql"] for query in queries if query["sql"].startswith("SELECT")]
    # Nor by a condition for each of them, which every wait would be held against.
    assert [len(statement) for statement in asked if len(statement) > 5_000] == []
    with connection.cursor() as cursor:
        for statement in asked:
            assert rows_read(cursor, statement) < 2 * (SIGNALS + WAITS), statement
