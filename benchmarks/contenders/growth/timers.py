"""``fastapi-sagaz worker``: how soon it takes up new runs, perhaps while many that slept wake up at the same moment."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import psycopg

from benchmarks.contenders.growth._rows import WAITING
from benchmarks.contenders.worker._engine import fleet_of
from benchmarks.harness.model import Measure, Place

_ASLEEP = "SELECT count(*) FROM sagaz_run WHERE status = 'waiting'"


def contender(place: Place) -> AbstractContextManager[Measure]:
    """Measure it."""
    run = "from fastapi_sagaz.cli import main; main()"
    command = [sys.executable, "-c", run, "worker", "benchmarks.programs.fastapi_app:app", "--concurrency", "50"]
    timers = place.options["timers"]

    @contextmanager
    def waking() -> Iterator[None]:
        with psycopg.connect(place.postgres, autocommit=True) as connection:
            values = {"saga": "SleepingSaga", "runs": timers, "name": "", "every": True, "seconds": 3}
            connection.execute(WAITING, values)
            # They were parked long ago: the planner knows of them.
            connection.execute("VACUUM ANALYZE")
            deadline = time.monotonic() + 30
            while _asleep(connection) == timers:
                if time.monotonic() > deadline:
                    raise TimeoutError("No run has woken up after 30 s.")
                time.sleep(0.01)
            yield
            if not _asleep(connection):
                raise RuntimeError("All had woken up before the last run was started.")

    return fleet_of(place, command, **({"beside": waking} if timers else {}))


def _asleep(connection: psycopg.Connection) -> int:
    [count] = connection.execute(_ASLEEP).fetchone() or (0,)
    return int(count)
