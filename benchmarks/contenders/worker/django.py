"""``manage.py sagaz_worker``, on the project's own database."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from benchmarks.contenders._django import django_environment, set_up
from benchmarks.contenders.worker._engine import check_journal, empty, until_waiting
from benchmarks.contenders.worker._workers import Fleet, measure
from benchmarks.harness.model import Measure, Place


@contextmanager
def contender(place: Place) -> Iterator[Measure]:
    """Measure it."""
    environment = django_environment(place.postgres, ["django_sagaz"], {"METRICS": False, "LOGGING": False})
    set_up(environment)
    from django.db import transaction

    from benchmarks.programs.shop.sagas import NoopSaga, WaitingSaga
    from django_sagaz import atomic_saga_start, send_signal

    def enqueue(runs: Iterable[int]) -> None:
        with transaction.atomic():
            for n in runs:
                atomic_saga_start(NoopSaga, {"n": n})

    def have_wait(runs: Iterable[int]) -> None:
        with transaction.atomic():
            started = [atomic_saga_start(WaitingSaga, {"n": n}) for n in runs]
        until_waiting(place.postgres, len(started))

    def signal(runs: Iterable[int]) -> None:
        with transaction.atomic():
            for n in runs:
                send_signal("paid", key=str(n))

    waits = place.options.get("signals")
    yield measure(
        place,
        Fleet(
            command=[sys.executable, "-m", "django", "sagaz_worker", "--concurrency", "50"],
            environment=environment,
            enqueue=signal if waits else enqueue,
            prepare=have_wait if waits else lambda runs: None,
            check=lambda runs: check_journal(place.postgres, runs),
            reset=lambda: empty(place.postgres),
            processes=place.options.get("processes", 1),
        ),
    )
