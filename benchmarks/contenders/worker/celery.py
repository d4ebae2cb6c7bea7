"""Celery: a prefork worker of two processes, and Redis."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import redis

from benchmarks.contenders.worker._workers import Fleet, measure
from benchmarks.harness.model import Measure, Place


@contextmanager
def contender(place: Place) -> Iterator[Measure]:
    """Measure it."""
    environment = {"BENCH_REDIS": place.redis}
    os.environ.update(environment)
    from benchmarks.programs.celery_app import app, noop

    server = redis.Redis.from_url(place.redis.replace("redis+socket", "unix"))
    with app.connection_for_write() as connection, app.amqp.Producer(connection) as producer:

        def enqueue(runs: Iterable[int]) -> None:
            for n in runs:
                noop.apply_async((n,), producer=producer, queue="held")
            # In one go: what is in that queue, idle workers have taken.
            server.rename("held", "celery")

        def reset() -> None:
            server.flushdb()
            server.config_set("appendfsync", place.options["appendfsync"])

        options = ["--pool", "prefork", "--concurrency", "2", "--loglevel", "ERROR"]
        options += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        command = [sys.executable, "-m", "celery", "--app", "benchmarks.programs.celery_app", "worker", *options]
        yield measure(place, Fleet(command, enqueue, environment, lambda runs: None, reset))
