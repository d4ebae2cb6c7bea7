"""A trigger's limit is kept by several processes on databases that the ORM serves."""

from __future__ import annotations

import asyncio
import threading

from sagaz_durable.testing.store_conformance.builders import claim_all
from sagaz_durable.testing.store_conformance.webhooks.limits import ONE, deliver


async def test_who_would_start_runs_while_another_does_waits_and_counts_them(stores):
    from django_sagaz._stores.orm.delayed import start_delayed
    from django_sagaz.models import StoreInfo

    store, other = stores
    # As a test case's flush leaves it.
    await store.transact(lambda connection: StoreInfo.objects.using(connection.alias).all().delete())
    await deliver(store, 2)
    has_started, may_commit = threading.Event(), threading.Event()

    def start_and_hold(connection):
        started = start_delayed(connection, ONE)
        has_started.set()
        assert may_commit.wait(30)
        return started

    first = asyncio.create_task(other.transact(start_and_hold))
    assert await asyncio.to_thread(has_started.wait, 30)
    second = asyncio.create_task(store.start_delayed(ONE))
    done, _ = await asyncio.wait([second], timeout=0.5)
    may_commit.set()
    assert not done
    assert (await first, await second) == (1, 0)
    assert len(await claim_all(store)) == 1
