"""A saga of many steps, each of which adds 10 kB to the context: what is written to PostgreSQL's log for it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from benchmarks.contenders.growth.tables import make_tables
from benchmarks.harness.model import Figures, Measure, Place
from sagaz_durable import Saga, action
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.sagas import Sagas
from sagaz_durable.settings.settings import Settings


@contextmanager
def contender(place: Place) -> Iterator[Measure]:
    """Measure one run of as many steps as the options say."""
    make_tables(place)
    saga_class = _saga(place.options["steps"])
    with asyncio.Runner() as runner:
        yield lambda size: runner.run(_measure(place, saga_class, size))


def _saga(steps: int) -> type[Saga]:
    def step(number: int) -> Callable[..., Any]:
        async def add(self: Saga, ctx: dict[str, Any]) -> dict[str, Any]:
            # Text that cannot be compressed to nothing: 10 kB of it are 10 kB.
            return {f"page {number}": os.urandom(5000).hex()}

        return action(f"step {number}", depends_on=[f"step {number - 1}"] if number else [])(add)

    return type("LongSaga", (Saga,), {f"step_{number}": step(number) for number in range(steps)})


async def _measure(place: Place, saga_class: type[Saga], size: int) -> Figures:
    runtime = SagazRuntime(Settings(storage_url=place.postgres, metrics=False, logging=False), sagas=[saga_class])
    await runtime.open()
    began = _written(place)
    clock = asyncio.get_running_loop().time
    started = clock()
    for _ in range(size):
        await Sagas(runtime).run(saga_class, {})
    took = clock() - started
    kilobytes = (_written(place) - began) / 1024
    await runtime.close()
    steps = place.options["steps"] * size
    return {"written per step": kilobytes / steps, "time per step": took * 1e3 / steps}


def _written(place: Place) -> int:
    with psycopg.connect(place.postgres, autocommit=True) as connection:
        # Without a checkpoint in between, which writes whole pages once more.
        row = connection.execute("SELECT pg_current_wal_lsn() - '0/0'").fetchone()
    assert row is not None
    return int(row[0])
