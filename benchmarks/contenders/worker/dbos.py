"""DBOS Transact: a queue of which a process takes 50 workflows at once, each step of them recorded."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy

from benchmarks.contenders.worker._dbos import Enqueuer, address, migrate
from benchmarks.contenders.worker._workers import Fleet, measure
from benchmarks.harness.model import Measure, Place


@contextmanager
def contender(place: Place) -> Iterator[Measure]:
    """Measure it."""
    migrate(place.postgres)
    client = Enqueuer(place.postgres)

    def check(runs: int) -> None:
        with client.engine.connect() as connection:
            ended = connection.execute(
                sqlalchemy.text("SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'")
            ).scalar()
            steps = connection.execute(sqlalchemy.text("SELECT count(*) FROM dbos.operation_outputs")).scalar()
        if (ended, steps) != (runs, 3 * runs):
            raise RuntimeError(f"{runs} workflows of 3 steps were to succeed, and {ended} with {steps} steps did.")

    def reset() -> None:
        with client.engine.begin() as connection:
            connection.execute(sqlalchemy.text("TRUNCATE dbos.workflow_status, dbos.operation_outputs CASCADE"))

    environment = {"BENCH_POSTGRES": address(place.postgres), "BENCH_POLL": str(place.options["poll"])}
    command = [sys.executable, "-m", "benchmarks.programs.dbos_worker"]
    try:
        yield measure(place, Fleet(command, client.enqueue, environment, check, reset, warm_up=20))
    finally:
        client.close()
