"""django-ox: ``manage.py ox_worker`` with eight threads."""

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
    environment = django_environment(place.postgres, ["django_ox"], tasks={"BACKEND": "django_ox.backend.OxBackend"})
    set_up(environment)
    from django_ox.models import OxTask

    from benchmarks.programs.shop.core_tasks import noop

    def check(runs: int) -> None:
        ended = OxTask.objects.filter(status=OxTask.Status.SUCCESSFUL).count()
        if ended != runs:
            raise RuntimeError(f"{runs} tasks were to succeed, and {ended} did.")

    def reset() -> None:
        OxTask.objects.all().delete()

    options = ["--concurrency", "8", "--interval", "0.01", "--verbosity", "0"]
    command = [sys.executable, "-m", "django", "ox_worker", *options]
    yield measure(place, Fleet(command, enqueuer(noop), environment, check, reset, warm_up=50))
