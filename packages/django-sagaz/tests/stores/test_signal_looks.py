"""Signals that nobody waits for, on databases that the ORM serves: looked at a minute longer, and then no more."""

from __future__ import annotations

from datetime import timedelta

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
