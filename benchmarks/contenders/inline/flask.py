"""``sagaz.run_sync(sagaz.create_saga(OrderSaga), …)`` in a Flask application."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask

from benchmarks.contenders.inline._callers import calling
from benchmarks.harness.model import Measure, Place
from benchmarks.sagas import QuietSaga
from flask_sagaz import SagazExtension


@contextmanager
def contender(place: Place) -> Iterator[Measure]:
    """Measure it on PostgreSQL if there is one, else on memory."""
    app = Flask("shop")
    if not place.options.get("defaults"):
        app.config.update(SAGAZ_METRICS=False, SAGAZ_LOGGING=False)
    if place.postgres:
        app.config["SAGAZ_MIGRATE"] = True
    sagaz = SagazExtension(app, storage_url=place.postgres or "memory://")

    def call() -> None:
        with app.app_context():
            sagaz.run_sync(sagaz.create_saga(QuietSaga), {"order_id": "A1"})

    try:
        with calling(call) as measure:
            yield measure
    finally:
        with app.app_context():
            sagaz.close()
