"""What the commands say, to people and to programs."""

from __future__ import annotations

import io
import json
import logging
import re
import signal
import threading

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.db.models import Max
from places import on, until
from testproject.shop.models import Order
from testproject.shop.sagas import OrderSaga

from django_sagaz import Saga, action, atomic_saga_start, run_saga
from django_sagaz.models import Attempt, Run, Step
from sagaz_durable.problem_types import NOT_FOUND, PAGE


def said(*arguments, **options):
    out = io.StringIO()
    call_command(*arguments, stdout=out, **options)
    return out.getvalue()


def refused(*arguments, **options):
    out = io.StringIO()
    with pytest.raises(SystemExit) as caught:
        call_command(*arguments, stdout=out, **options)
    assert caught.value.code == 1
    return out.getvalue()


def start(home, n=1, **context):
    with transaction.atomic(home):
        return [atomic_saga_start(OrderSaga, {"db": home, "name": str(i), **context}) for i in range(n)]


def test_sagaz_list_shows_the_sagas_of_the_project():
    text = said("sagaz_list")
    assert "order  (testproject.shop.sagas.OrderSaga)" in text
    assert "count    after reserve" in text
    [saga] = [saga for saga in json.loads(said("sagaz_list", format="json")) if saga["name"] == "order"]
    assert [(step["name"], step["depends_on"], step["compensated"]) for step in saga["steps"]] == [
        ("reserve", [], True), ("count", ["reserve"], False), ("ship", ["count"], False),
    ]  # fmt: skip


@on("default", "pg", "maria")
def test_sagaz_list_shows_runs(home):
    run = run_saga(OrderSaga, {"db": home, "name": "x"})
    start(home)
    assert f"completed     {run.saga_id}  order" in said("sagaz_list", "--runs", "--status", "completed")
    [pending] = json.loads(said("sagaz_list", "--runs", "--status", "pending", "--format", "json"))
    assert (pending["status"], pending["saga_name"], "context" in pending) == ("pending", "order", False)
    assert said("sagaz_list", "--runs", "--saga", "another").strip() == "No runs."


@on("default", "pg", "maria")
def test_sagaz_check_is_a_health_probe(home):
    vendor = {"default": "sqlite", "pg": "postgresql", "maria": "mysql"}[home]
    text = said("sagaz_check")
    assert "problem    none" in text
    assert f"store      database '{home}' ({vendor})" in text
    assert json.loads(said("sagaz_check", format="json"))["healthy"] is True
    [saga_id, executing, failed] = start(home, 3)
    Run.objects.using(home).filter(pk=saga_id).update(available_at="2020-01-01T00:00:00Z")
    later = "2999-01-01T00:00:00Z"
    held = {"lease_owner": "me", "lease_expires_at": later, "available_at": later}
    Run.objects.using(home).filter(pk=executing).update(status="executing", **held)
    Run.objects.using(home).filter(pk=failed).update(status="failed", available_at=None)
    out = io.StringIO()
    with pytest.raises(SystemExit) as caught:
        call_command("sagaz_check", format="json", stdout=out)
    assert caught.value.code == 1
    told = json.loads(out.getvalue())
    assert "no worker is alive" in told["problem"]
    [finding] = told["findings"]
    assert (finding["type"], finding["detail"]) == (f"{PAGE}#no-worker", told["problem"])
    assert f"\nSee {PAGE}#no-worker" in refused("sagaz_check")
    stats = told["stats"]
    assert [stats["counts"][status] for status in ("pending", "executing", "failed")] == [1, 1, 1]
    assert (stats["due"], stats["live_workers"], stats["oldest_due_age"] > 86400) == (1, 0, True)


@on("default")
def test_missing_tables_are_told_with_the_fix(home, elsewhere, tmp_path):
    for command, code in (("sagaz_check", 1), ("sagaz_worker", 1), ("sagaz_list --runs", 1)):
        process = elsewhere("-m", "django", *command.split(), name=tmp_path / "empty.db")
        text, _ = process.communicate(timeout=30)
        assert re.search(r"there is no table .*sagaz_run|no such table: sagaz_run", text)
        assert "Run: python manage.py migrate" in text
        assert process.returncode == code


@on("default")
def test_a_wrong_option_is_an_error(home):
    with pytest.raises(CommandError, match="renew at least twice in a lease"):
        said("sagaz_worker", "--drain", "--lease-seconds", "5")
    with pytest.raises(CommandError, match="no such database"):
        said("sagaz_worker", "--drain", "--database", "nowhere")
    with pytest.raises(CommandError, match="DEBUG is off") as caught:
        said("sagaz_worker", "--autoreload")
    assert str(caught.value).endswith(f"\nSee {PAGE}#settings-wrong")


@on("default")
def test_an_error_is_told_to_programs_that_asked_for_json(home):
    out = io.StringIO()
    with pytest.raises(CommandError, match="There is no run nowhere") as caught:
        call_command("sagaz_show", "nowhere", format="json", stdout=out)
    told = json.loads(out.getvalue())
    assert (told["type"], told["title"]) == (NOT_FOUND.address, NOT_FOUND.title)
    assert str(caught.value) == f"{told['detail']}\nSee {NOT_FOUND.address}"
    with pytest.raises(CommandError):
        assert said("sagaz_show", "nowhere") == ""


@on("default", "pg", "maria")
def test_a_worker_takes_runs_as_they_come_and_leaves_when_told(home, elsewhere):
    worker = elsewhere("-m", "django", "sagaz_worker", "--concurrency", "4", POLL_SECONDS=0.1)
    assert f"Working on database '{home}' (" in worker.stdout.readline()
    for n in range(3):
        Order.objects.using(home).create(name="0")
        [saga_id] = start(home)
        until(lambda saga_id=saga_id: Run.objects.using(home).get(pk=saga_id).status == "completed")
        assert Order.objects.using(home).filter(paid=True).count() == n + 1
    assert "workers    1 alive" in said("sagaz_check")
    worker.send_signal(signal.SIGTERM)
    rest, _ = worker.communicate(timeout=30)
    assert worker.returncode == 0, rest
    assert "Ended: 3 completed." in rest
    assert "workers    0 alive" in said("sagaz_check")


@on("pg")
def test_a_commit_wakes_the_worker_without_polling(home, elsewhere):
    worker = elsewhere("-m", "django", "sagaz_worker", POLL_SECONDS=600)
    assert "Working on" in worker.stdout.readline()
    for _ in range(3):
        [saga_id] = start(home)
        until(lambda saga_id=saga_id: Run.objects.using(home).get(pk=saga_id).status == "completed", 30)


class HangingSaga(Saga):
    gate = threading.Event()

    @action("hang", timeout_seconds=0.2)
    def hang(self, ctx):
        self.gate.wait(60)


@on("default")
def test_a_worker_whose_plain_steps_never_return_exits_with_1(home, settings):
    settings.SAGAZ = {**settings.SAGAZ, "SYNC_THREADS": 1, "CONCURRENCY": 2}
    HangingSaga.gate.clear()
    with transaction.atomic(home):
        for _ in range(2):
            atomic_saga_start(HangingSaga, {"db": home})
    try:
        with pytest.raises(CommandError, match="another one takes its place: 2 `def` steps have outlived"):
            said("sagaz_worker")
    finally:
        HangingSaga.gate.set()


@on("default", "pg", "maria")
def test_a_killed_workers_run_is_resumed_by_another(home, elsewhere):
    options = ["--lease-seconds", "1", "--renew-seconds", "0.3", "--poll-seconds", "0.1"]
    saga_ids = start(home, 3, pause=60)
    worker = elsewhere("-m", "django", "sagaz_worker", *options)
    until(lambda: Step.objects.using(home).filter(step="ship", status="started").count() == 3)
    # Killed between a heartbeat and the renewal that follows it, its leases would end before the heartbeat does.
    leased = Run.objects.using(home).aggregate(until=Max("lease_expires_at"))["until"]
    until(lambda: Run.objects.using(home).filter(lease_expires_at__gt=leased).count() == 3)
    worker.kill()
    worker.wait()
    Run.objects.using(home).update(context={"db": home, "name": "0"})
    second = elsewhere("-m", "django", "sagaz_worker", *options)
    until(lambda: Run.objects.using(home).filter(status="completed", pk__in=saga_ids).count() == 3)
    second.terminate()
    said, _ = second.communicate(timeout=30)
    assert second.returncode == 0, said
    assert set(Run.objects.using(home).values_list("attempt", "failures")) == {(2, 0)}
    attempts = Attempt.objects.using(home).values_list("attempt", "outcome", "under_way")
    assert set(attempts) == {(1, "died", "ship")}


@on("default")
@pytest.mark.parametrize("verbosity", [0, 1])
def test_a_worker_that_is_called_leaves_logging_as_it_was(home, verbosity, monkeypatch):
    monkeypatch.setattr(logging, "root", root := logging.RootLogger(logging.WARNING))
    monkeypatch.setattr(logging.Logger, "root", root)
    start(home)
    call_command("sagaz_worker", drain=True, verbosity=verbosity, stdout=io.StringIO())
    assert (root.handlers, root.level) == ([], logging.WARNING)


@on("default", "memory")
def test_a_worker_is_silent_when_told_so(home, capfd):
    [saga_id] = start(home)
    call_command("sagaz_worker", drain=True, verbosity=0)
    assert Run.objects.using(home).get(pk=saga_id).status == "completed"
    assert capfd.readouterr() == ("", "")


@on("default")
def test_decisions_are_silent_when_told_so_and_refusals_are_not(home, capsys):
    [saga_id] = start(home)
    call_command("sagaz_cancel", saga_id, verbosity=0)
    call_command("sagaz_prune", older_than="30d", verbosity=0)
    assert capsys.readouterr().out == ""
    with pytest.raises(SystemExit):
        call_command("sagaz_retry", saga_id, verbosity=0)
    assert "Only a failed run takes a retry" in capsys.readouterr().out
    call_command("sagaz_list", runs=True, verbosity=0)
    assert saga_id in capsys.readouterr().out
