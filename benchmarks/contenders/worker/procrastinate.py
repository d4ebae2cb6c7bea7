"""``procrastinate worker``, woken by NOTIFY, 50 jobs at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import psycopg

from benchmarks.contenders.worker._workers import Fleet, measure
from benchmarks.harness.model import Measure, Place


@contextmanager
def contender(place: Place) -> Iterator[Measure]:
    """Measure it."""
    environment = {"BENCH_POSTGRES": place.postgres}
    os.environ.update(environment)
    from benchmarks.programs.procrastinate_app import app, noop

    with app.open(), psycopg.connect(place.postgres, autocommit=True) as connection:
        app.schema_manager.apply_schema()

        def enqueue(runs: Iterable[int]) -> None:
            noop.batch_defer(*({"n": n} for n in runs))

        def check(runs: int) -> None:
            done = connection.execute("SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'").fetchone()
            if done != (runs,):
                raise RuntimeError(f"{runs} jobs were to succeed, and {done} did.")

        def reset() -> None:
            connection.execute("TRUNCATE procrastinate_jobs CASCADE")

        application = "benchmarks.programs.procrastinate_app.app"
        command = [sys.executable, "-m", "procrastinate", "--app", application, "worker", "--concurrency", "50"]
        yield measure(place, Fleet(command, enqueue, environment, check, reset))
