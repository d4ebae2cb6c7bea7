"""A worker on tables that hold what the options say."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import psycopg

from benchmarks.contenders.growth._rows import FINISHED, PENDING, WAITING
from benchmarks.contenders.worker._engine import QUIET, empty
from benchmarks.harness.model import Figures, Measure, Place
from benchmarks.harness.processes import running
from benchmarks.ledger import Ledger
from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.factory import migrate

_WARM_UP = 1000
"""Runs that are executed before those that count."""

_LOCKED = "SELECT FROM sagaz_run WHERE saga_name = 'NoopSaga' ORDER BY available_at LIMIT 1 FOR UPDATE"


@contextmanager
def contender(place: Place) -> Iterator[Measure]:
    """Measure throughput, always of the oldest of what is pending."""
    make_tables(place)
    finished, pending, unknown, waiting = (
        place.options.get(name, 0) // (20 if place.quick else 1)
        for name in ("finished", "pending", "unknown", "waiting")
    )
    ledger = Ledger(place.folder / "ledger")
    command = [sys.executable, "-c", "from fastapi_sagaz.cli import main; main()", "worker"]
    command += ["benchmarks.programs.fastapi_app:app", "--concurrency", "50"]
    with psycopg.connect(place.postgres, autocommit=True) as connection:
        if finished:
            connection.execute(FINISHED, [finished])
            _settle(connection)

        def measure(size: int) -> Figures:
            # The rows of the last turn are finished runs of the next one, where there are to be some.
            if finished:
                connection.execute("DELETE FROM sagaz_run WHERE status IN ('pending', 'executing')")
            else:
                empty(place.postgres)
            slots = max(pending, _WARM_UP + size + 100)
            ledger.clear(slots)
            connection.execute(PENDING, {"saga": "NoopSaga", "first": 0, "last": slots})
            if unknown:
                # As old as those that are executed, so that a claim which looked at all of them would meet them first.
                connection.execute(PENDING, {"saga": "ElsewhereSaga", "first": -unknown, "last": 0})
            if waiting:
                for_days = {"saga": "NoopSaga", "runs": waiting, "name": "paid", "every": False, "seconds": 3 * 86_400}
                connection.execute(WAITING, for_days)
                _settle(connection)
            environment = {**QUIET, "SAGAZ_STORAGE_URL": place.postgres, **ledger.environment}
            counted = range(_WARM_UP, _WARM_UP + size)
            locking = _oldest_locked(place) if place.options.get("locked") else nullcontext()
            with locking, running(command, place.folder / "worker.log", environment):
                ledger.wait(counted, 120)
            took = max(map(ledger.end, counted)) - min(map(ledger.begin, counted))
            return {"throughput": size / took}

        yield measure


def _settle(connection: psycopg.Connection) -> None:
    """Have done what the filling has left to do, so that it is not done while somebody measures."""
    connection.execute("VACUUM ANALYZE")
    connection.execute("CHECKPOINT")


@contextmanager
def _oldest_locked(place: Place) -> Iterator[None]:
    """Hold the row of the run that a worker would execute first, as a session does that somebody has forgotten."""
    with psycopg.connect(place.postgres) as connection:
        connection.execute(_LOCKED)
        yield


def make_tables(place: Place) -> None:
    """Make our tables, empty."""
    import asyncio

    asyncio.run(migrate(Settings(storage_url=place.postgres)))
