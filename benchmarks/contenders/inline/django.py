"""``run_saga(create_saga(OrderSaga), …)`` in a Django project."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.contenders._django import django_environment, set_up
from benchmarks.contenders.inline._callers import calling
from benchmarks.harness.model import Measure, Place


@contextmanager
def contender(place: Place) -> Iterator[Measure]:
    """Measure it on the project's PostgreSQL if there is one, else on memory."""
    settings: dict[str, object] = {} if place.options.get("defaults") else {"METRICS": False, "LOGGING": False}
    if not place.postgres:
        settings["STORAGE_URL"] = "memory://"
    set_up(django_environment(place.postgres or "sqlite://", ["django_sagaz"], settings))
    from benchmarks.programs.shop.sagas import QuietSaga
    from django_sagaz import create_saga, run_saga

    with calling(lambda: run_saga(create_saga(QuietSaga), {"order_id": "A1"})) as measure:
        yield measure
