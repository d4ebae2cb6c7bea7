"""django-absurd: ``manage.py absurd_worker``, 50 tasks at a time on its event loop, each step of them recorded."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.contenders._django import django_environment, enqueuer, set_up
from benchmarks.contenders.worker._workers import Fleet, measure
from benchmarks.harness.model import Measure, Place

_COUNT = """
SELECT (SELECT count(*) FROM absurd.t_default WHERE state = 'completed'), (SELECT count(*) FROM absurd.c_default)
"""
_RESET = "TRUNCATE absurd.t_default, absurd.r_default, absurd.c_default CASCADE"


@contextmanager
def contender(place: Place) -> Iterator[Measure]:
    """Measure it."""
    backend = {"BACKEND": "django_absurd.backends.AbsurdBackend"}
    environment = django_environment(place.postgres, ["django_absurd"], tasks=backend)
    set_up(environment)
    from django.db import connection

    from benchmarks.programs.shop.absurd_tasks import noop

    def check(runs: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_COUNT)
            ended, steps = cursor.fetchone()
        if (ended, steps) != (runs, 3 * runs):
            raise RuntimeError(f"{runs} tasks of 3 steps were to succeed, and {ended} with {steps} steps did.")

    def reset() -> None:
        with connection.cursor() as cursor:
            cursor.execute(_RESET)

    options = ["--concurrency", "50", "--poll-interval", "0.01", "--verbosity", "0"]
    command = [sys.executable, "-m", "django", "absurd_worker", *options]
    yield measure(place, Fleet(command, enqueuer(noop), environment, check, reset, warm_up=50))
