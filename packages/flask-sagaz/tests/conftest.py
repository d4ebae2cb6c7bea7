"""An application per test, and an order saga that writes what it does to a list."""

from __future__ import annotations

import gc
import threading
import time

import pytest
from flask import Flask

from flask_sagaz import Saga, SagazExtension, action, compensate, current_step

PACE = {"SAGAZ_POLL_SECONDS": 0.05, "SAGAZ_BACKOFF_SECONDS": 0.01, "SAGAZ_DRAIN_SECONDS": 5}


@pytest.fixture(params=["memory", "sqlite"])
def storage_url(request, tmp_path):
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'sagaz.db'}"


@pytest.fixture
def make_app():
    """Makes applications whose runtimes are closed after the test."""
    made = []

    def make(storage_url="memory://", *, config=None, **options):
        app = Flask("shop")
        app.config.update(PACE, SAGAZ_STORAGE_URL=storage_url, **(config or {}))
        made.append((app, SagazExtension(app, **options)))
        return made[-1]

    yield make
    for app, sagaz in made:
        with app.app_context():
            sagaz.close()


@pytest.fixture
def calls():
    return []


@pytest.fixture
def OrderSaga(calls):
    class OrderSaga(Saga):
        saga_name = "order"

        @action("reserve")
        async def reserve(self, ctx):
            calls.append(("reserve", current_step()))
            return {"reservation": f"R-{ctx['order_id']}"}

        @compensate("reserve")
        async def release(self, ctx):
            calls.append(("release", current_step()))

        @action("charge", depends_on=["reserve"])
        def charge(self, ctx):
            calls.append(("charge", current_step()))
            if ctx.get("declined"):
                raise ValueError("the card was declined")

    return OrderSaga


@pytest.fixture
def until():
    """Waits for something that another thread or process does; it has to be so in the end."""

    def until(condition, what, seconds=20):
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, f"{what}: not within {seconds} s"
            threading.Event().wait(0.01)
        return found

    return until


@pytest.fixture
def record_of():
    """Looks a run up in the store of an application."""

    def record_of(app, saga_id):
        runtime = app.extensions["sagaz"].process().get()
        return runtime.call(lambda: runtime.store.load(saga_id))

    return record_of


@pytest.fixture
def ended(until, record_of):
    """Waits until a run has a final status, and returns its row."""

    def ended(app, saga_id):
        def finished():
            record = record_of(app, saga_id)
            return record if record.status in ("completed", "rolled_back", "failed") else None

        return until(finished, f"run {saga_id} has ended")

    return ended


@pytest.fixture
def other_threads(until):
    """Collects garbage until the threads that a test has started are gone, and returns those that stay."""
    before = set(threading.enumerate())

    def others():
        gc.collect()
        return set(threading.enumerate()) - before

    return lambda: until(lambda: not others(), "all threads have ended") and others()
