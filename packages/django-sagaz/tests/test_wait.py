"""Waiting for the end of a run that any process may execute."""

from __future__ import annotations

import asyncio
import sys
import threading
from types import SimpleNamespace

import pytest
from asgiref.sync import async_to_sync
from django.db import connections, transaction
from places import on, place, until, worked
from testproject.shop.models import Order
from testproject.shop.sagas import OrderSaga

from django_sagaz import (
    AtomicBlockError,
    RunFailed,
    RunInProgress,
    RunNotFound,
    RunWaiting,
    SettingsError,
    UsageError,
    async_wait,
    atomic_saga_start,
    wait,
)
from django_sagaz.models import Run

FOR_LONG = 3600
"""Seconds that no test has."""


def under_asgi(saga_id, seconds):
    return asyncio.run(async_wait(saga_id, seconds))


def under_wsgi(saga_id, seconds):
    return async_to_sync(async_wait)(saga_id, seconds)


WAYS = pytest.mark.parametrize("way", [wait, under_asgi, under_wsgi])


@pytest.fixture
def started(home):
    def start(**context):
        with transaction.atomic(home):
            Order.objects.using(home).create(name="one")
            return atomic_saga_start(OrderSaga, {"db": home, "name": "one", **context})

    return start


class Elsewhere(threading.Thread):
    """A worker on a thread and connections of its own, which begins when the run is waited for."""

    def run(self):
        worked()
        connections.close_all()


@on()
@WAYS
def test_the_result_of_a_run_that_a_worker_ends_in_time_is_returned(started, way):
    saga_id = started()
    worker = Elsewhere()
    worker.start()
    result = way(saga_id, FOR_LONG)
    worker.join()
    assert (result.saga_id, result.status.value) == (saga_id, "completed")
    assert (result["shipped"], result["orders"]) == (True, 1)


@on()
@WAYS
def test_of_one_that_does_not_end_in_time_that_is_told_and_of_one_that_waits_for_what(started, waiting, way):
    with pytest.raises(RunInProgress, match="has not ended yet"):
        way(started(), 0.1)
    with pytest.raises(RunWaiting) as caught:
        way(waiting, 0.1)
    assert caught.value.saga_id == waiting


@on()
@WAYS
def test_of_one_that_has_failed_what_its_step_said_is_told(started, way):
    saga_id = started(fail=True)
    worked()
    with pytest.raises(RunFailed, match="no truck"):
        way(saga_id, FOR_LONG)


@on("default")
@WAYS
def test_what_cannot_be_waited_for_is_refused(home, way):
    with pytest.raises(RunNotFound):
        way("nobody", 1)
    for seconds in (-1, 86_401, "2", float("nan")):
        with pytest.raises(UsageError, match=r"seconds=.* expected a number of seconds, 0 to 86400"):
            way("nobody", seconds)


@on()
def test_a_transaction_that_is_open_is_not_kept_open_for_it(home, started):
    saga_id = started()
    with transaction.atomic(home), pytest.raises(AtomicBlockError):
        wait(saga_id, FOR_LONG)


@on("default")
def test_a_synchronous_wait_in_a_coroutine_is_refused_and_the_other_named(started):
    saga_id = started()

    async def view():
        wait(saga_id, FOR_LONG)

    with pytest.raises(UsageError, match=r"Use `await async_wait\(saga_id, seconds\)`"):
        asyncio.run(view())


@on("default")
def test_where_threads_are_greenlets_it_is_refused(started, monkeypatch):
    monkeypatch.setitem(sys.modules, "gevent.monkey", SimpleNamespace(is_module_patched=lambda name: True))
    with pytest.raises(SettingsError, match="gevent has replaced threads by greenlets"):
        wait(started(), FOR_LONG)


@pytest.mark.parametrize("alias", [place("default", transaction=False), place("memory", transaction=False)])
@pytest.mark.parametrize("way", [wait, under_wsgi])
def test_in_a_testcase_it_answers_at_once(home, started, way):
    with pytest.raises(RunInProgress):
        way(started(), FOR_LONG)


@on("pg")
def test_ten_threads_wait_at_most_and_one_more_is_answered_at_once(home, started):
    saga_id = started()
    told = []

    def ask():
        try:
            told.append(wait(saga_id, FOR_LONG).status.value)
        except RunInProgress:
            told.append("at once")
        connections.close_all()

    threads = [threading.Thread(target=ask) for _ in range(11)]
    for thread in threads:
        thread.start()
    until(lambda: told == ["at once"])
    worked()
    for thread in threads:
        thread.join(20)
    assert told == ["at once", *["completed"] * 10]
    assert Run.objects.using(home).get().attempt == 1
