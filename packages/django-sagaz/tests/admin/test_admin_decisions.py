"""Retry, cancel and resolve: asked first, carried out run by run, and kept in the audit and the admin's log."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from admin_places import EVENTS, RUNS, decide, explained, kept_in, said
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.management import call_command

from django_sagaz.models import AuditEntry, OutboxEvent, Run
from sagaz_durable.operations.operator import Operator
from sagaz_integration_core.errors import StoreUnavailable

everywhere = kept_in("default", "pg", "maria")


@pytest.fixture
def operator(login):
    return login("operator")


def statuses(alias):
    return dict(Run.objects.using(alias).values_list("pk", "status"))


@everywhere
@pytest.mark.parametrize("action", ["retry", "cancel", "resolve"])
def test_the_list_asks_before_anything_is_done(operator, make, alias, action):
    made = [make("failed").pk, make("completed").pk]
    answer = operator.post(RUNS, {"action": action, "_selected_action": made, "index": 0})
    text = answer.content.decode()
    assert all(f'name="_selected_action" value="{pk}"' in text for pk in made)
    assert ('name="settled"' in text) == (action == "resolve")
    assert 'name="reason"' in text
    assert "run-0001 is completed" in text
    assert statuses(alias) == {made[0]: "failed", made[1]: "completed"}
    assert not AuditEntry.objects.using(alias).exists()
    assert not LogEntry.objects.exists()


@everywhere
def test_each_run_has_an_outcome_of_its_own(operator, make, alias):
    made = [make("failed").pk, make("completed").pk, make("failed").pk]
    answer = decide(operator, "retry", *made, "nowhere", reason="The trucks are back.")
    assert said(answer) == [
        "run-0000: It goes on where it stopped.",
        "run-0001: Only a failed run takes a retry; run run-0001 is completed.",
        "run-0002: It goes on where it stopped.",
        "nowhere: There is no run nowhere in this store. It may have been pruned, or be in another database.",
    ]
    assert [message.level_tag for message in answer.context["messages"]] == ["success", "warning", "success", "warning"]
    assert explained(answer) == [None, "decision-refused", None, "not-found"]
    assert statuses(alias) == {made[0]: "pending", made[1]: "completed", made[2]: "pending"}


@everywhere
def test_a_decision_is_kept_in_the_audit_and_in_the_admins_log(operator, make, alias):
    make("failed")
    decide(operator, "resolve", "run-0000", settled="rolled_back", reason="[Paid back] by hand.")
    entry = AuditEntry.objects.using(alias).get()
    assert (entry.action, entry.actor, entry.found, entry.status) == ("resolve", "operator", "failed", "rolled_back")
    assert entry.reason == "[Paid back] by hand."
    log = LogEntry.objects.get()
    assert (log.user.username, log.object_id, log.action_flag) == ("operator", "run-0000", CHANGE)
    assert log.get_change_message() == "Resolve: Settled as rolled_back. ([Paid back] by hand.)"
    assert "Paid back" in operator.get(f"{RUNS}run-0000/history/").content.decode()


@everywhere
def test_what_is_refused_is_in_neither(operator, make, alias):
    make("completed")
    decide(operator, "cancel", "run-0000", reason="x")
    assert not AuditEntry.objects.using(alias).exists()
    assert not LogEntry.objects.exists()


@everywhere
def test_a_run_is_resolved_with_a_reason_and_as_something(operator, make, alias):
    make("failed")
    for given in ({"settled": "completed"}, {"reason": "  ", "settled": "completed"}, {"reason": "x"},
                  {"reason": "x", "settled": "failed"}, {"reason": "x" * 2001, "settled": "completed"},
                  {"reason": "a\0b", "settled": "completed"}):  # fmt: skip
        answer = decide(operator, "resolve", "run-0000", **given)
        assert "Please correct the errors below." in answer.content.decode()
    assert statuses(alias) == {"run-0000": "failed"}
    decide(operator, "resolve", "run-0000", reason="x", settled="completed")
    assert statuses(alias) == {"run-0000": "completed"}


FORGED = "paid)\r\nresolve of run run-0001 by boss\u2028\x85\x1b[2K\u202egnp.\u2066\x9b1A"


@everywhere
@pytest.mark.parametrize("action", ["retry", "cancel", "resolve"])
def test_a_reason_cannot_forge_a_line_of_the_audit_or_turn_one_around(operator, make, alias, action, caplog):
    make("failed")
    caplog.set_level("INFO", "sagaz_durable.audit")
    answer = decide(operator, action, "run-0000", reason=FORGED, settled="completed")
    [line] = [record for record in caplog.records if record.name == "sagaz_durable.audit"]
    shown = r"paid)\r\nresolve of run run-0001 by boss\u2028\x85\x1b[2K\u202egnp.\u2066\x9b1A"
    assert line.getMessage().endswith(f"({shown})")
    assert AuditEntry.objects.using(alias).get().reason == shown
    assert LogEntry.objects.get().get_change_message().endswith(f"({shown})")
    pages = [operator.get(f"{RUNS}run-0000/{page}/").content.decode() for page in ("change", "history")]
    for text in (line.getMessage(), *pages, answer.content.decode()):
        assert not set("\u2028\x85\x1b\u202e\u2066\x9b") & set(text)
        assert "\nresolve of run run-0001" not in text


@everywhere
def test_two_operators_at_once_come_to_one_clear_outcome(login, make, alias):
    make("failed")
    one, other = login("operator"), login("superuser")
    # Both look at the same page, and then both press the button.
    for client in (one, other):
        assert b"It goes on" in client.post(f"{RUNS}decide/retry/", {"_selected_action": "run-0000"}).content
    assert said(decide(one, "retry", "run-0000")) == ["run-0000: It goes on where it stopped."]
    [message] = said(decide(other, "cancel", "run-0000"))
    assert message.startswith("run-0000: What it has done is compensated")
    [message] = said(decide(other, "resolve", "run-0000", reason="x", settled="completed"))
    assert message == "run-0000: Only a failed run takes a resolve; run run-0000 is compensating."
    notes = AuditEntry.objects.using(alias).order_by("id").values_list("actor", "action", "found", "status")
    assert list(notes) == [
        ("operator", "retry", "failed", "pending"),
        ("superuser", "cancel", "pending", "compensating"),
    ]


@everywhere
def test_a_retried_run_is_executed_by_a_worker(operator, make, alias):
    make("failed", steps=[("reserve", "do", "done", {"result": {"key": "k"}})])
    decide(operator, "retry", "run-0000")
    call_command("sagaz_worker", drain=True)
    assert statuses(alias) == {"run-0000": "completed"}


@everywhere
def test_the_buttons_of_a_page_are_those_that_its_status_takes(operator, make):
    wanted = {
        "failed": {"retry", "cancel", "resolve"},
        "pending": {"cancel"},
        "executing": {"cancel"},
        "completed": set(),
    }
    for status, actions in wanted.items():
        text = operator.get(f"{RUNS}{make(status).pk}/change/").content.decode()
        assert offered(text) == actions


def offered(text):
    return {action for action in ("retry", "cancel", "resolve") if f"decide/{action}/" in text}


@everywhere
def test_an_erased_run_is_offered_nothing_that_would_be_refused(operator, make, alias):
    for status, actions in (("failed", {"resolve"}), ("completed", set())):
        run = make(status)
        call_command("sagaz_prune", run.pk, contexts=True, reason="ticket 7", database=alias, verbosity=0)
        text = operator.get(f"{RUNS}{run.pk}/change/").content.decode()
        assert offered(text) == actions
        assert "what it was given and has returned" in text
        for action in {"retry", "cancel"}:
            asked = operator.post(f"{RUNS}decide/{action}/", {"_selected_action": run.pk}).content.decode()
            assert "was erased" in asked
            assert '<input type="submit" class="default"' not in asked
    text = operator.get(f"{RUNS}{make('failed', fingerprint='foreign').pk}/change/").content.decode()
    assert "decide/" not in text


@everywhere
def test_one_comes_back_to_where_one_was(operator, make):
    make("failed")
    make("failed")
    answer = decide(operator, "retry", "run-0000", origin="page", follow=False)
    assert answer["Location"] == f"{RUNS}run-0000/change/"
    answer = operator.post(
        f"{RUNS}?status=failed&q=run", {"action": "retry", "_selected_action": "run-0001", "index": 0}
    )
    assert 'name="filters" value="status=failed&amp;q=run"' in answer.content.decode()
    answer = decide(operator, "retry", "run-0001", filters="status=failed&q=run", follow=False)
    assert answer["Location"] == f"{RUNS}?status=failed&q=run"
    answer = decide(operator, "retry", "run-0001", filters="//evil.example/\r\nSet-Cookie: a=b", follow=False)
    assert answer["Location"].startswith(f"{RUNS}?%2F%2Fevil.example")


@everywhere
@pytest.mark.parametrize("chosen", [[], [""], ["a\0b"], ["x" * 256]])
def test_nothing_that_can_be_a_run_was_selected(operator, make, alias, chosen):
    make("failed")
    assert said(decide(operator, "retry", *chosen)) == ["Nothing was selected."]
    assert statuses(alias) == {"run-0000": "failed"}


@everywhere
def test_a_decision_is_about_a_bounded_number_of_runs(operator, make, alias):
    made = [make("failed").pk for _ in range(101)]
    [message] = said(decide(operator, "retry", *made))
    assert message.startswith("101 were selected, and nothing was done")
    across = {
        "action": "retry",
        "_selected_action": made[0],
        "index": 0,
        "select_across": 1,
        "decided": "1",
        "reason": "",
    }
    operator.post(RUNS, across)
    assert list(statuses(alias).values()).count("pending") == 1


@everywhere
def test_a_database_that_fails_in_between_is_told_and_nothing_is_claimed(operator, make, alias, monkeypatch):
    made = [make("failed").pk for _ in range(3)]
    retry = Operator.retry

    async def failing(self, saga_id, **options):
        if saga_id == made[1]:
            raise StoreUnavailable("Database cannot be used: <b>gone</b>.")
        return await retry(self, saga_id, **options)

    monkeypatch.setattr(Operator, "retry", failing)
    answer = decide(operator, "retry", *made)
    assert said(answer) == ["run-0000: It goes on where it stopped.", "Database cannot be used: <b>gone</b>."]
    assert explained(answer) == [None, "store-unavailable"]
    assert "<b>gone" not in answer.content.decode()
    assert b"<b>gone" not in answer.content
    assert [statuses(alias)[pk] for pk in made] == ["pending", "failed", "failed"]
    asked = operator.post(f"{RUNS}decide/retry/", {"_selected_action": made[1]}, follow=True)
    assert said(asked) == ["Database cannot be used: <b>gone</b>."]


@everywhere
def test_an_event_that_was_set_aside_is_retried(operator, event, alias):
    pks = [event(status).pk for status in ("dead", "sent", "dead")]
    page = operator.get(f"{EVENTS}{pks[0]}/change/").content.decode()
    assert f'formaction="{EVENTS}retry/"' in page
    assert f'formaction="{EVENTS}retry/"' not in operator.get(f"{EVENTS}{pks[1]}/change/").content.decode()
    asked = operator.post(EVENTS, {"action": "retry", "_selected_action": pks[:2], "index": 0}).content.decode()
    assert "Retry 2 events?" in asked
    assert "Only an event that was set aside is retried." in asked
    assert set(OutboxEvent.objects.using(alias).values_list("status", flat=True)) == {"dead", "sent"}
    answer = operator.post(f"{EVENTS}retry/", {"_selected_action": pks[:2], "decided": "yes"}, follow=True)
    assert said(answer) == [
        "event-0: It is published again.",
        "event-1: Only an event that was set aside is retried.",
    ]
    found = OutboxEvent.objects.using(alias).order_by("pk").values_list("status", "attempts")
    assert list(found) == [("pending", 0), ("sent", 0), ("dead", 20)]
    assert [(log.object_id, log.get_change_message()) for log in LogEntry.objects.all()] == [(str(pks[0]), "Retry")]


@everywhere
@pytest.mark.parametrize("chosen", [[], ["x"], ["9" * 17], ["9" * 19], ["0"], ["-1"]])
def test_what_is_no_event_is_not_retried(operator, event, chosen):
    event("dead")
    answer = operator.post(f"{EVENTS}retry/", {"_selected_action": chosen, "decided": "yes"}, follow=True)
    assert said(answer) == ["Nothing was selected."]


def test_a_project_without_the_admin_has_all_the_rest(elsewhere_plain):
    for arguments in (("check",), ("migrate", "--verbosity", "0"), ("sagaz_list",), ("sagaz_list", "--runs")):
        done = elsewhere_plain("-m", "django", *arguments)
        assert done.returncode == 0, done.stdout
    loaded = "import django, sys; django.setup(); print('django_sagaz.admin' in sys.modules)"
    assert elsewhere_plain("-c", loaded).stdout.strip() == "False"


@pytest.fixture
def elsewhere_plain(tmp_path, monkeypatch):
    """Run Python in the project without the admin."""
    import os

    tests = str(Path(__file__).parents[1])
    env = {**os.environ, "TESTPROJECT_PLAIN": "1", "DJANGO_SETTINGS_MODULE": "testproject.settings"}
    env["TESTPROJECT_NAMES"] = f'{{"default": {{"NAME": "{tmp_path}/plain.db"}}}}'
    env["PYTHONPATH"] = os.pathsep.join([tests, *filter(None, [os.environ.get("PYTHONPATH")])])

    def run(*arguments):
        return subprocess.run(
            [sys.executable, *arguments],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    return run
