"""django-tasks with its database backend: ``manage.py db_worker``, one task after another."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.contenders._django import django_environment, enqueuer, set_up
from benchmarks.contenders.worker._workers import Fleet, measure
from benchmarks.harness.model import Measure, Place


@contextmanager
def contender(place: Place) -> Iterator[Measure]:
    """Measure it."""
    backend = {"BACKEND": "django_tasks_db.DatabaseBackend"}
    environment = django_environment(place.postgres, ["django_tasks", "django_tasks_db"], tasks=backend)
    set_up(environment)
    from django_tasks_db.models import DBTaskResult

    from benchmarks.programs.shop.tasks import noop

    def check(runs: int) -> None:
        ended = DBTaskResult.objects.successful().count()
        if ended != runs:
            raise RuntimeError(f"{runs} tasks were to succeed, and {ended} did.")

    def reset() -> None:
        DBTaskResult.objects.all().delete()

    # Its shortest interval that does not burn a core; it only matters when the queue is empty.
    options = ["--no-startup-delay", "--no-reload", "--interval", "0.01", "--verbosity", "0"]
    command = [sys.executable, "-m", "django", "db_worker", *options]
    yield measure(place, Fleet(command, enqueuer(noop), environment, check, reset, warm_up=50))
