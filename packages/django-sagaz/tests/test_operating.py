"""The operators' commands of ``manage.py``, on every database, beside a running worker."""

from __future__ import annotations

import io
import json
import re
import threading

import pytest
from django.core.management import CommandError, call_command
from django.db import connections, transaction
from places import on, until
from testproject.shop.sagas import OrderSaga, PaidSaga

from django_sagaz import RunErased, atomic_saga_start, publish
from django_sagaz.models import AuditEntry, OutboxEvent, Run, Step, Wait


def said(*arguments, **options):
    out = io.StringIO()
    call_command(*arguments, stdout=out, **options)
    return out.getvalue()


def start(home, **context):
    with transaction.atomic(home):
        return atomic_saga_start(OrderSaga, {"db": home, "name": "x", **context})


def fail(home):
    """Have a run whose last step failed and whose compensation failed, as its journal tells."""
    with transaction.atomic(home):
        saga_id = atomic_saga_start(OrderSaga, {"db": home, "name": "x"})
        run = Run.objects.using(home).filter(pk=saga_id)
        run.update(status="failed", direction="back", available_at=None, attempt=1, error="step 'ship': no truck")
        now = run.get().created_at
        for step, phase, status in (("reserve", "do", "done"), ("ship", "do", "failed"), ("reserve", "undo", "failed")):
            error = "no truck" if status == "failed" else None
            Step.objects.using(home).create(
                saga_id=saga_id, step=step, phase=phase, status=status, error=error, attempt=1, started_at=now
            )
    return saga_id


def status(home, saga_id):
    return Run.objects.using(home).get(pk=saga_id).status


@on("default", "pg", "maria")
def test_a_failed_compensation_is_tried_again(home):
    saga_id = fail(home)
    assert "Its compensation is tried again." in said(
        "sagaz_retry", saga_id, "--by", "ann", "--reason", "truck is back"
    )
    said("sagaz_worker", "--drain")
    assert status(home, saga_id) == "rolled_back"
    assert "retry by ann: failed -> compensating (truck is back)" in said("sagaz_show", saga_id)


@on("default", "pg", "maria")
def test_operators_see_what_runs_wait_for_and_signal_them(home):
    with transaction.atomic(home):
        saga_id = atomic_saga_start(PaidSaga, {"key": "pi_1", "rest": True})
    said("sagaz_worker", "--drain")
    assert f"waiting       {saga_id}  payment_awaited: pay waits for signal 'paid'\n" in said("sagaz_list", "--runs")
    assert "  pay waits for signal 'paid', key pi_1, since " in said("sagaz_show", saga_id)
    assert "1 waiting" in said("sagaz_check")
    waits = Wait.objects.using(home).filter(saga_id=saga_id)
    waits.update(step="gone")
    assert "1 waiting" in said("sagaz_check", "--max-lost-waits", "1")
    lost = io.StringIO()
    with pytest.raises(SystemExit, match="1"):
        call_command("sagaz_check", stdout=lost)
    assert "1 in 'gone' of 'payment_awaited'" in lost.getvalue()
    waits.update(step="pay")
    words = (
        "sagaz_signal",
        "paid",
        "--run",
        saga_id,
        "--payload",
        '{"amount": 7}',
        "--by",
        "ann",
        "--reason",
        "called",
    )
    assert "Sent." in said(*words)
    [signal] = json.loads(said("sagaz_list", "--signals", "--format", "json"))
    assert (signal["saga_id"], "payload" in signal) == (saga_id, False)
    said("sagaz_worker", "--drain")
    [listed] = json.loads(said("sagaz_list", "--runs", "--format", "json"))
    assert [(wait["name"], wait["until"] is None) for wait in listed["waits"]] == [("", False)]
    assert said("sagaz_run_now", saga_id) == f"ok       {saga_id}  Its sleep is over now.\n"
    said("sagaz_worker", "--drain")
    report = json.loads(said("sagaz_show", saga_id, "--context", "--format", "json"))
    assert (report["status"], report["steps"][0]["result"]) == ("completed", {"paid": {"amount": 7}})
    note = report["audit"][0]
    assert (note["action"], note["actor"], note["reason"]) == ("signal", "ann", "called")


@on("default", "pg", "maria")
def test_a_started_run_is_cancelled_before_it_begins(home):
    saga_id = start(home)
    [outcome] = json.loads(said("sagaz_cancel", saga_id, "--by", "ann", "--format", "json"))
    assert (outcome["done"], outcome["status"]) == (True, "compensating")
    said("sagaz_worker", "--drain")
    run = Run.objects.using(home).get(pk=saga_id)
    assert (run.status, run.error) == ("rolled_back", "cancelled by ann")
    assert not Step.objects.using(home).filter(saga_id=saga_id).exists()


@on("default", "pg", "maria")
def test_a_settled_run_keeps_who_and_why(home):
    saga_id = fail(home)
    assert "Settled as completed." in said(
        "sagaz_resolve", saga_id, "--as", "completed", "--reason", "sent by post", "--by", "ann"
    )
    assert status(home, saga_id) == "completed"
    note = AuditEntry.objects.using(home).get(saga_id=saga_id)
    assert (note.action, note.actor, note.reason) == ("resolve", "ann", "sent by post")


@on("default", "pg", "maria")
def test_show_masks_secrets(home):
    saga_id = start(home, password="hunter2")
    shown = said("sagaz_show", saga_id, "--context")
    assert '"password": "***"' in shown
    assert "context" not in said("sagaz_show", saga_id)
    with pytest.raises(CommandError, match="There is no run nowhere"):
        said("sagaz_show", "nowhere")


@on("default", "pg", "maria")
def test_prune_deletes_what_ended_long_ago(home):
    saga_ids = [start(home) for _ in range(3)]
    said("sagaz_worker", "--drain")
    assert re.search(r"Would delete 3 runs", said("sagaz_prune", "--older-than", "0s", "--dry-run"))
    assert "Deleted 0 runs" in said("sagaz_prune", "--older-than", "1d")
    assert "Deleted 3 runs" in said("sagaz_prune", "--older-than", "0s")
    assert not Run.objects.using(home).filter(pk__in=saga_ids).exists()
    assert not Step.objects.using(home).filter(saga_id__in=saga_ids).exists()


@on("default", "pg", "maria")
def test_prune_contexts_erases_and_keeps_the_journal(home):
    saga_ids = [start(home, card="4111") for _ in range(3)]
    said("sagaz_worker", "--drain")
    assert "Erased context" in said("sagaz_prune", saga_ids[0], "--contexts", "--by", "ann", "--reason", "ticket 7")
    assert "Would erase the contexts of 2 runs" in said("sagaz_prune", "--contexts", "--older-than", "0s", "--dry-run")
    assert "Erased the contexts of 2 runs" in said("sagaz_prune", "--contexts", "--older-than", "0s")
    runs = list(Run.objects.using(home).filter(pk__in=saga_ids))
    assert [(run.status, run.context, run.fingerprint) for run in runs] == [("completed", {}, "erased:completed")] * 3
    steps = Step.objects.using(home).filter(saga_id=saga_ids[0])
    assert steps.exists()
    assert not steps.filter(result__isnull=False).exists()
    note = AuditEntry.objects.using(home).get(saga_id=saga_ids[0])
    assert (note.action, note.actor, note.reason) == ("erase", "ann", "ticket 7")
    with pytest.raises(CommandError, match="A saga_id goes with --contexts"):
        said("sagaz_prune", saga_ids[0])


@on("default", "pg", "maria")
def test_a_key_of_an_erased_run_is_answered_with_the_run_and_its_end(home):
    def begin():
        with transaction.atomic(home):
            return atomic_saga_start(OrderSaga, {"db": home, "name": "x"}, idempotency_key="k1")

    saga_id = begin()
    said("sagaz_worker", "--drain")
    said("sagaz_prune", saga_id, "--contexts")
    with pytest.raises(RunErased, match="had ended as completed") as caught:
        begin()
    assert (caught.value.saga_id, caught.value.status) == (saga_id, "completed")


@on("default", "pg", "maria")
def test_what_is_refused_ends_with_1(home, capsys):
    saga_id = start(home)
    with pytest.raises(SystemExit) as caught:
        said("sagaz_retry", saga_id)
    assert caught.value.code == 1
    with pytest.raises(CommandError, match="Name the runs by their saga_id, or say --all"):
        said("sagaz_retry")


@on("default", "pg", "maria")
def test_two_operators_at_once_beside_a_worker_end_in_one_clear_outcome(home, elsewhere):
    worker = elsewhere("-m", "django", "sagaz_worker", POLL_SECONDS=0.05)
    assert "Working on" in worker.stdout.readline()
    for _ in range(5):
        saga_id = fail(home)
        outcomes = decide_at_once(saga_id)
        until(lambda saga_id=saga_id: status(home, saga_id) == "rolled_back")
        notes = AuditEntry.objects.using(home).filter(saga_id=saga_id)
        assert sorted(notes.values_list("action", flat=True)) == sorted(
            action for action, done in outcomes.items() if done
        )
        assert len(notes) == 1


def decide_at_once(saga_id):
    """Have two people, on connections of their own, retry and cancel a run at the same time."""
    barrier, outcomes = threading.Barrier(2), {}

    def decide(action):
        barrier.wait()
        try:
            text = said(f"sagaz_{action}", saga_id, "--by", action)
            outcomes[action] = text.startswith("ok")
        except SystemExit:
            outcomes[action] = False
        finally:
            connections.close_all()

    threads = [threading.Thread(target=decide, args=(action,)) for action in ("retry", "cancel")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


@on("default")
def test_check_has_thresholds_for_probes(home):
    fail(home)
    assert "problem    none" in said("sagaz_check", "--max-failed", "1")
    with pytest.raises(SystemExit):
        said("sagaz_check", "--max-failed", "0")
    saga_id = start(home)
    Run.objects.using(home).filter(pk=saga_id).update(available_at="2020-01-01T00:00:00Z")
    with pytest.raises(SystemExit):
        said("sagaz_check", "--max-age", "60")


@on()
def test_events_are_listed_and_those_that_were_set_aside_are_retried(home, settings):
    settings.SAGAZ = {**settings.SAGAZ, "BROKER_URL": "memory://"}
    with transaction.atomic(home):
        event_id = publish("orders.placed", {"order": 1})
    events = OutboxEvent.objects.using(home)
    events.update(status="dead", error="refused", available_at=None)
    assert [row["event_id"] for row in json.loads(said("sagaz_events", "--format", "json"))] == [event_id]
    assert said("sagaz_events", "--status", "pending") == "No events.\n"
    assert said("sagaz_events", "--retry", event_id, "--dry-run") == f"{event_id}  would be published again\n"
    assert said("sagaz_events", "--retry", "--all") == f"{event_id}  is due again\n"
    assert events.get().status == "pending"
    with pytest.raises(SystemExit, match="1"):
        said("sagaz_events", "--retry", event_id)
    with pytest.raises(CommandError, match="add --retry"):
        said("sagaz_events", "--all")


@on("default")
def test_payloads_of_events_are_masked_as_the_setting_says(home, settings):
    settings.SAGAZ = {**settings.SAGAZ, "BROKER_URL": "memory://", "REDACT_KEYS": ["customer_*"]}
    with transaction.atomic(home):
        publish("orders.placed", {"customer_name": "Ann", "password": "hunter2", "n": 1})
    [row] = json.loads(said("sagaz_events", "--payload", "--format", "json"))
    assert row["payload"] == {"customer_name": "***", "password": "***", "n": 1}
