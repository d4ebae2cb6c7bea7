"""The connection by which a worker hears of commits."""

from __future__ import annotations

import asyncio

import pytest
from places import place

from django_sagaz._stores.runners import DatabaseThread

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("alias", [place("pg")])
async def test_one_that_is_stopped_while_it_connects_leaves_nothing_open(alias):
    from django_sagaz._stores.listener import Listener
    from django_sagaz._stores.postgresql import DjangoDatabase

    run, made = DatabaseThread(), []

    async def slowly(work):
        made.append(await run(work))
        # Longer than it takes until a task that does not end is cancelled once more.
        await asyncio.sleep(0.3)
        return made[0]

    listener = Listener(alias, slowly, DjangoDatabase(alias, run, "NULL"))
    listener.start(lambda: None)
    while not made:
        await asyncio.sleep(0.01)
    await listener.stop()
    assert made[0][0].connection.closed
    await run.close()
