"""The floor: a worker that claims 50 runs at a time and stores nothing but their end."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import psycopg

from benchmarks.contenders.worker._workers import Fleet, measure
from benchmarks.harness.model import Measure, Place

TABLE = """
CREATE TABLE run (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, status text NOT NULL, context jsonb NOT NULL);
CREATE INDEX run_pending ON run (id) WHERE status = 'pending'
"""
INSERT = """
WITH made AS (
    INSERT INTO run (status, context)
    SELECT 'pending', jsonb_build_object('n', n) FROM unnest(%s::integer[]) AS n RETURNING id
) SELECT count(*), pg_notify('run', '') FROM made
"""


@contextmanager
def contender(place: Place) -> Iterator[Measure]:
    """Measure it."""
    with psycopg.connect(place.postgres, autocommit=True) as connection:
        connection.execute(TABLE)

        def enqueue(runs: Iterable[int]) -> None:
            connection.execute(INSERT, [list(runs)])

        def check(runs: int) -> None:
            ended = connection.execute("SELECT count(*) FROM run WHERE status = 'completed'").fetchone()
            if ended != (runs,):
                raise RuntimeError(f"{runs} runs were to be completed, and {ended} are.")

        def reset() -> None:
            connection.execute("TRUNCATE run")

        command = [sys.executable, "-m", "benchmarks.programs.floor_worker"]
        environment = {"BENCH_POSTGRES": place.postgres, "BENCH_BARE": "1" if place.options.get("bare") else ""}
        yield measure(place, Fleet(command, enqueue, environment, check, reset))
