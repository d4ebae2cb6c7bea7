"""A signal exists if and only if the rows that were written with it do."""

from __future__ import annotations

import contextlib
import logging
import threading
from datetime import UTC, datetime, timedelta

import pytest
from asgiref.sync import async_to_sync
from django.db import connections, transaction
from django.test import TestCase, override_settings
from django.test.utils import CaptureQueriesContext
from places import on, worked
from testproject.shop.models import Order
from testproject.shop.sagas import OrderSaga, PaidSaga

from django_sagaz import (
    InvalidInput,
    RunWaiting,
    SignalConflict,
    SignalRefused,
    TransactionRequired,
    UsageError,
    WrongDatabase,
    asend_signal,
    atomic_saga_start,
    run_deferred,
    run_saga,
    send_signal,
)
from django_sagaz.models import Run, Signal, Step

EVERYWHERE = on()


def pay(home, name="one", **options):
    """Write a row, and tell the run that waits for it."""
    Order.objects.using(home).create(name=name)
    options = options or {"key": "pi_1"}
    return send_signal("paid", {"name": name}, connection=transaction.get_connection(home), **options)


def counts(home):
    return Order.objects.using(home).count(), Signal.objects.using(home).count()


def run_of(home, saga_id):
    return Run.objects.using(home).get(pk=saga_id)


@EVERYWHERE
def test_a_commit_keeps_both_and_the_run_that_waits_goes_on(home, waiting):
    with transaction.atomic(home):
        assert pay(home) is True
    worked()
    assert counts(home) == (1, 1)
    assert run_of(home, waiting).status == "completed"
    assert Step.objects.using(home).get(saga_id=waiting).result == {"paid": {"name": "one"}}


@EVERYWHERE
def test_a_rollback_keeps_neither_and_the_run_waits_on(home, waiting):
    with contextlib.suppress(ZeroDivisionError), transaction.atomic(home):
        pay(home, saga_id=waiting)
        raise ZeroDivisionError
    worked()
    assert counts(home) == (0, 0)
    assert run_of(home, waiting).status == "waiting"


@EVERYWHERE
def test_a_rolled_back_savepoint_keeps_neither_and_the_rest_is_kept(home):
    with transaction.atomic(home):
        pay(home, "kept")
        with contextlib.suppress(ZeroDivisionError), transaction.atomic(home):
            pay(home, "lost", key="pi_2")
            raise ZeroDivisionError
    assert counts(home) == (1, 1)
    assert Signal.objects.using(home).get().key == "pi_1"


@EVERYWHERE
def test_a_signal_is_one_insert(home, waiting):
    with transaction.atomic(home):
        # The first one of a process asks the database for what it lacks.
        send_signal("other", key="k")
    atomic = transaction.atomic(home, durable=True)
    with atomic, CaptureQueriesContext(connections[home]) as queries:
        send_signal("paid", saga_id=waiting)
    statements = [query["sql"] for query in queries if "SAVEPOINT" not in query["sql"]]
    # MariaDB is asked what time it is, whether the signal is there, and whether the run has ended.
    assert len(statements) == (4 if home == "maria" else 1)


@on("default", "pg")
def test_an_inline_run_that_comes_to_a_wait_is_its_start_and_one_write(home):
    def run(key):
        with pytest.raises(RunWaiting):
            run_saga(PaidSaga, {"key": key})

    # The first one of a process asks the database for what it lacks.
    run("first")
    with CaptureQueriesContext(connections[home]) as queries:
        run("second")
    written = [query["sql"] for query in queries if "sagaz_" in query["sql"]]
    assert len([sql for sql in written if "sagaz_step" in sql]) == 2


@EVERYWHERE
def test_the_same_signal_is_ignored_and_another_payload_refused(home):
    for inside in (True, False):
        with transaction.atomic(home):
            assert send_signal("paid", {"n": 1}, key="pi_1") is inside
            assert send_signal("paid", {"n": 1}, key="pi_1") is False
            with pytest.raises(SignalConflict, match="another payload"):
                send_signal("paid", {"n": 2}, key="pi_1")
            assert send_signal("paid", {"n": 2}, key="pi_1", signal_id="second") is inside
    assert Signal.objects.using(home).count() == 2


@EVERYWHERE
def test_in_asynchronous_code_a_signal_commits_by_itself(home, waiting):
    send = async_to_sync(asend_signal)
    assert send("paid", {"n": 1}, key="pi_1", signal_id="one") is True
    assert send("paid", {"n": 1}, key="pi_1", signal_id="one") is False
    with pytest.raises(SignalConflict):
        send("paid", {"n": 2}, key="pi_1", signal_id="one", using=home)
    assert not connections[home].in_atomic_block
    worked()
    assert run_of(home, waiting).status == "completed"
    with pytest.raises(SignalRefused, match="has ended"):
        send("paid", saga_id=waiting)


@EVERYWHERE
def test_a_signal_to_a_run_that_has_ended_is_refused(home, waiting):
    with transaction.atomic(home):
        send_signal("paid", saga_id=waiting)
    worked()
    with transaction.atomic(home):
        with pytest.raises(SignalRefused, match="has ended"):
            send_signal("paid", saga_id=waiting, signal_id="late")
        # What was sent before is recognised as such.
        assert send_signal("paid", saga_id=waiting) is False


@EVERYWHERE
def test_outside_of_a_transaction_the_error_names_the_fix(home):
    with pytest.raises(TransactionRequired, match=r"the signal could commit with.*`with transaction\.atomic\("):
        send_signal("paid", key="k")
    assert counts(home) == (0, 0)


@EVERYWHERE
def test_with_autocommit_off_the_signal_is_of_the_callers_transaction(home):
    transaction.set_autocommit(False, using=home)
    try:
        send_signal("paid", key="lost")
        transaction.rollback(using=home)
        send_signal("paid", key="kept")
        transaction.commit(using=home)
    finally:
        transaction.set_autocommit(True, using=home)
    assert Signal.objects.using(home).get().key == "kept"


@on("default")
def test_what_cannot_be_sent_is_refused(home):
    with transaction.atomic(home):
        with pytest.raises(WrongDatabase, match="'pg', and sagas are kept in 'default'"):
            send_signal("paid", key="k", using="pg")
        with pytest.raises(UsageError, match="exactly one of saga_id and key"):
            send_signal("paid")
        with pytest.raises(InvalidInput, match="price"):
            send_signal("paid", {"price": float("nan")}, key="k")
    assert counts(home) == (0, 0)


@on("pg")
def test_a_signal_that_another_transaction_has_sent_is_waited_for_and_recognised(home):
    sent, answers = threading.Event(), []

    def second():
        try:
            assert sent.wait(20)
            with transaction.atomic(home):
                answers.append(send_signal("paid", key="pi_1"))
        finally:
            connections.close_all()

    thread = threading.Thread(target=second)
    thread.start()
    with transaction.atomic(home):
        assert send_signal("paid", key="pi_1")
        sent.set()
    thread.join(20)
    assert answers == [False]


@EVERYWHERE
def test_an_inline_run_that_waits_says_so_and_holds_nothing(home, caplog):
    caplog.set_level(logging.INFO)
    with pytest.raises(RunWaiting, match="waits for signal 'paid'") as raised:
        run_saga(PaidSaga, {"key": "pi_1"}, idempotency_key="k")
    run = run_of(home, raised.value.saga_id)
    assert (run.status, run.lease_owner) == ("waiting", None)
    assert [record.message for record in caplog.records if record.exc_info or record.levelno > logging.INFO] == []
    with pytest.raises(RunWaiting):
        run_saga(PaidSaga, {"key": "pi_1"}, idempotency_key="k")
    with transaction.atomic(home):
        pay(home)
    worked()
    assert run_saga(PaidSaga, {"key": "pi_1"}, idempotency_key="k")["paid"] == {"name": "one"}


@EVERYWHERE
@pytest.mark.parametrize("start", [atomic_saga_start, run_deferred])
def test_a_start_with_a_deadline_that_passes_rolls_back(home, start):
    with transaction.atomic(home):
        late = start(OrderSaga, {"db": home, "name": "one"}, deadline=datetime(2020, 1, 1, tzinfo=UTC))
        kept = start(PaidSaga, {"key": "k"}, deadline=timedelta(hours=1))
    worked()
    assert (run_of(home, late).status, run_of(home, kept).status) == ("rolled_back", "waiting")
    assert "deadline has passed" in run_of(home, late).error


class Signalling:
    """Inside of Django's own test class, on the test's connection."""

    home: str

    def test_a_waiting_run_goes_on_in_a_test_case(self):
        with transaction.atomic(self.home):
            saga_id = atomic_saga_start(PaidSaga, {"key": "pi_1"})
        worked()
        assert run_of(self.home, saga_id).status == "waiting"
        with pytest.raises(TransactionRequired):
            send_signal("paid", key="pi_1")
        with transaction.atomic(self.home):
            assert send_signal("paid", key="pi_1")
        worked()
        assert run_of(self.home, saga_id).status == "completed"


def _in_test_cases():
    for home in ("default", "memory", "pg"):
        case = type(f"In_{home}", (Signalling, TestCase), {"home": home, "databases": {home}})
        yield case.__name__, override_settings(SAGAZ={"DATABASE": home})(case)


globals().update(_in_test_cases())
