"""Runs that wait, in the admin: what they wait for, the signals that there are, and those that people send."""

from __future__ import annotations

import html
import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from admin_places import RUNS, SIGNALS, decide, kept_in, said, send
from django.contrib.admin.models import LogEntry
from django.core.management import call_command
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from testproject.shop.sagas import PaidSaga

from django_sagaz import atomic_saga_start
from django_sagaz.admin.readonly import ReadOnlyAdmin
from django_sagaz.models import AuditEntry, Run, Signal, Step, Wait

everywhere = kept_in("default", "pg", "maria")

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = datetime(2036, 3, 4, 9, 30, tzinfo=UTC)
HOSTILE = '"><script>alert(1)</script>\u202e'


@pytest.fixture
def viewer(login):
    return login("viewer")


@pytest.fixture
def operator(login):
    return login("operator")


def page_of(client, pk="run-0000"):
    answer = client.get(f"{RUNS}{pk}/change/")
    assert answer.status_code == 200
    return answer.content.decode()


def section(text, title):
    """Return the rows of one of the tables of a page, each as the texts of its cells."""
    found = re.search(rf"<h2>{title}</h2>(.*?)</section>", text, re.DOTALL)
    rows = re.findall(r"<tr>(.*?)</tr>", found[1], re.DOTALL) if found else []
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows[1:]]
    return [[" ".join(html.unescape(re.sub(r"<[^>]*>", " ", cell)).split()) for cell in row] for row in cells]


def fact(text, name):
    return html.unescape(re.search(rf"<dt>{name}</dt><dd><bdi>(.*?)</bdi>", text)[1])


@everywhere
def test_what_a_run_waits_for_is_shown_with_step_key_and_times(viewer, make, wait):
    make("waiting", direction="back", steps=[("pay", "do", "done", {}), ("pay", "undo", "waiting", {})])
    wait("approve", "approval")
    wait("pay", "refunded", phase="undo", key="pi_1", until=LATER)
    wait("ask", "", until=LATER)
    assert section(page_of(viewer), "Waits") == [
        ["approve", "signal approval", "", "2026-03-01 06:00:00", "no limit", "waiting"],
        ["pay (compensation)", "signal refunded", "pi_1", "2026-03-01 06:00:01", "2036-03-04 03:30:00", "waiting"],
        ["ask", "a time", "", "2026-03-01 06:00:02", "2036-03-04 03:30:00", "waiting"],
    ]


@everywhere
def test_how_the_waits_of_a_call_ended_is_shown(viewer, make, wait):
    make("executing")
    for number, outcome in enumerate(("signal", "timeout", "refused")):
        wait(name=f"s{number}", outcome=outcome, attempt=2)
    assert [row[-1] for row in section(page_of(viewer), "Waits")] == ["came", "time over", "another run waits for it"]
    make("completed")
    assert "<h2>Waits</h2>" not in page_of(viewer, "run-0001")


@everywhere
def test_the_diagram_tells_what_a_step_waits_for(viewer, make, wait):
    make("waiting", saga_name="paid", steps=[("pay", "do", "waiting", {})])
    wait(until=LATER)
    text = page_of(viewer)
    assert '<g class="sagaz-step sagaz-is-waiting">' in text
    assert "pay: waiting: signal paid until 2036-03-04 03:30:00; no compensation." in text
    assert "◷ waiting" in text


@everywhere
def test_what_may_follow_a_wait_is_not_called_yet(viewer, make, wait):
    make("waiting", steps=[("reserve", "do", "waiting", {})])
    assert "ship: not called yet;" in page_of(viewer)
    make("waiting", direction="back", steps=[("reserve", "do", "done", {}), ("reserve", "undo", "waiting", {})])
    assert "ship: not called;" in page_of(viewer, "run-0001")


@everywhere
def test_a_deadline_is_shown_and_whether_it_has_passed(viewer, make):
    make("waiting", deadline=LATER)
    make("waiting", deadline=NOW)
    make("completed", deadline=NOW)
    shown = [fact(page_of(viewer, f"run-000{number}"), "Deadline") for number in range(3)]
    assert shown == ["2036-03-04 03:30:00 CST", "2026-03-01 06:00:00 CST, which has passed", "2026-03-01 06:00:00 CST"]
    assert "<dt>Deadline</dt>" not in page_of(viewer, make("waiting").pk)


@kept_in("default", "maria")
def test_without_time_zone_support_it_is_told_by_utc_what_has_passed(login, make, settings):
    settings.USE_TZ, settings.TIME_ZONE = False, "Asia/Tokyo"
    operator = login("operator")
    # The project's own time is hours ahead of these columns', which have no other than UTC.
    soon, lately = (datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=hours) for hours in (1, -1))
    times = {"created_at": lately, "updated_at": lately, "finished_at": None}
    pages = [page_of(operator, make("waiting", deadline=at, available_at=None, **times).pk) for at in (soon, lately)]
    assert ["has passed" in fact(page, "Deadline") for page in pages] == [False, True]
    pages = [page_of(operator, make("pending", available_at=due, **times).pk) for due in (soon, lately)]
    assert ["decide/run-now/" in page for page in pages] == [True, False]


@everywhere
def test_runs_that_wait_are_listed_as_such_and_filtered(viewer, make):
    make("waiting")
    make("pending")
    answer = viewer.get(f"{RUNS}?status=waiting")
    assert [row.pk for row in answer.context["cl"].result_list] == ["run-0000"]
    assert '<span class="sagaz-status sagaz-is-waiting">waiting</span>' in answer.content.decode()


@everywhere
def test_the_page_of_a_run_has_its_signals_and_those_that_its_keys_have_brought(viewer, make, wait, signal):
    make("waiting")
    wait(key="pi_2")
    signal("approval", signal_id="second")
    taken = {"taken_by": "run-0000", "taken_at": NOW + timedelta(hours=1), "taken_step": "pay"}
    signal(key="pi_1", taken_phase="do", **taken)
    signal(key="pi_2")
    signal("refunded", taken_phase="undo", **taken)
    signal("other", key="pi_2")
    signal(saga_id="run-0001")
    signal(key="pi_3", taken_by="run-0001", taken_at=NOW)
    payload, at = 'Payload { "amount": 3 }', "2026-03-01 07:00:00"
    assert section(page_of(viewer), "Signals") == [
        ["refunded", "this run", "", "taken", "2026-03-01 06:03:00", at, "compensation of pay", ""],
        ["paid", "key pi_2", "", "not taken", "2026-03-01 06:02:00", "", "", payload],
        ["paid", "key pi_1", "", "taken", "2026-03-01 06:01:00", at, "pay", ""],
        ["approval", "this run", "second", "not taken", "2026-03-01 06:00:00", "", "", payload],
    ]


@everywhere
def test_the_secrets_of_a_payload_are_masked_as_those_of_a_context(viewer, make, signal, settings, home):
    make("waiting")
    pk = signal(payload={"card_number": "4111", "passport": "P-123", "amount": 3}).pk
    texts = page_of(viewer), viewer.get(f"{SIGNALS}{pk}/change/").content.decode()
    assert all("4111" not in text and "P-123" in text and "***" in text for text in texts)
    settings.SAGAZ = {"DATABASE": home, "REDACT_KEYS": ["passport"]}
    texts = page_of(viewer), viewer.get(f"{SIGNALS}{pk}/change/").content.decode()
    assert not [text for text in texts if "4111" in text or "P-123" in text]


# The names of a MariaDB whose character set is latin1 cannot hold it.
@kept_in("default", "pg")
def test_whatever_a_wait_or_a_signal_holds_is_text(operator, make, wait, signal):
    make("waiting", steps=[(HOSTILE, "do", "waiting", {})])
    wait(HOSTILE, HOSTILE, key=HOSTILE)
    pk = signal(HOSTILE, key=HOSTILE, signal_id=HOSTILE, payload={HOSTILE: HOSTILE}).pk
    for answer in (
        operator.get(f"{RUNS}run-0000/change/"), operator.get(SIGNALS), operator.get(f"{SIGNALS}{pk}/change/"),
        operator.get(SIGNALS, {"q": HOSTILE}), operator.post(f"{RUNS}signal/", {"_selected_action": "run-0000"}),
        send(operator, "run-0000", name=HOSTILE, signal_id=HOSTILE, payload=f'{{"a": "{HOSTILE}'),
    ):  # fmt: skip
        assert answer.status_code == 200
        # Only what people type into a form comes back to them as it is, escaped.
        text = re.sub(r'(?s) value="[^"]*"|<textarea.*?</textarea>', "", answer.content.decode())
        assert "<script>alert" not in text
        assert "\u202e" not in text[text.index('id="content"') :]


@everywhere
def test_a_page_asks_the_same_number_of_questions_whatever_there_is(viewer, make, wait, signal, alias):
    def asked(pk):
        with CaptureQueriesContext(connections[alias]) as queries:
            page_of(viewer, pk)
        return len(queries)

    make("waiting")
    make("waiting")
    for number in range(50):
        wait(f"s{number}", saga_id="run-0001", key=f"k{number}")
        signal(saga_id="run-0001", id=f"s{number}")
    asked("run-0000")
    assert asked("run-0001") == asked("run-0000") < 18


@everywhere
def test_signals_that_nobody_has_taken_are_listed_first_and_the_others_by_when_they_were(viewer, signal):
    made = [signal(key=f"pi_{number}").pk for number in range(3)]
    taken = [signal(taken_by="run-0000", taken_at=NOW + timedelta(hours=hour)).pk for hour in (3, 1, 2)]
    wanted = {
        "": made[::-1],
        "?state=taken": [taken[0], taken[2], taken[1]],
        "?q=pi_1": [made[1]],
        "?q=pi_": made[::-1],
        "?q=run-0000": taken[::-1],
        "?q=run-0000&state=taken": [taken[0], taken[2], taken[1]],
        "?q=pi_1&state=taken": [],
        "?q=nobody": [],
    }
    found = {
        query: [row.pk for row in viewer.get(SIGNALS + query).context["cl"].result_list] for query in wanted
    }  # fmt: skip
    assert found == wanted


@everywhere
@pytest.mark.parametrize("state", ["", "?state=taken"])
def test_pages_of_signals_follow_each_other_both_ways(viewer, signal, monkeypatch, state):
    monkeypatch.setattr(ReadOnlyAdmin, "list_per_page", 10)
    # Some at the same time, as in one transaction.
    moments = [NOW + timedelta(minutes=number // 4) for number in range(23)]
    given = {"taken_by": "run-0000"} if state else {}
    made = [
        signal(created_at=NOW, taken_at=moment, **given) if state else signal(created_at=moment) for moment in moments
    ]
    found, address = [], state
    while address is not None:
        answer = viewer.get(SIGNALS + address)
        found += [row.pk for row in answer.context["cl"].result_list]
        address = answer.context["cl"].older
    assert found == [one.pk for one in reversed(made)]
    before = viewer.get(SIGNALS + answer.context["cl"].newer).context["cl"].result_list
    assert [row.pk for row in before] == found[10:20]


@everywhere
@pytest.mark.parametrize("query", ["state=x", "state=%00", "q=%00", "p=older[1]", 'p=older["x","a"]', "payload__a=1"])
def test_a_wrong_address_of_signals_is_no_error_of_the_server(viewer, signal, query):
    signal()
    assert viewer.get(f"{SIGNALS}?{query}").status_code in (200, 302, 400)


@everywhere
def test_the_page_of_a_signal_leads_to_its_run(viewer, make, signal):
    make("waiting")
    early = viewer.get(f"{SIGNALS}{signal(key='pi_1').pk}/change/").content.decode()
    assert "Sent to key" in early
    assert "&quot;amount&quot;: 3" in early
    assert "run-0000/change/" not in early
    taken = signal(key="pi_1", taken_by="run-0000", taken_at=NOW).pk
    text = viewer.get(f"{SIGNALS}{taken}/change/").content.decode()
    assert f'href="{RUNS}run-0000/change/">The run that has taken it</a>' in text
    assert "nothing of that is kept here" in text
    assert viewer.get(f"{SIGNALS}nowhere/change/").status_code == 302


@everywhere
def test_a_signal_that_an_operator_sends_has_the_run_go_on(operator, home, alias, waiting):
    saga_id = waiting
    asked = operator.post(f"{RUNS}signal/", {"_selected_action": saga_id, "origin": "page"}).content.decode()
    assert "The run waits for: paid (pay, key pi_1)." in asked
    assert re.search(r'<input type="text" name="name" value="paid"[^>]* list="sagaz-suggestions"', asked)
    assert '<datalist id="sagaz-suggestions">' in asked
    assert '<option value="paid">' in asked
    assert not Signal.objects.using(alias).exists()
    answer = send(operator, saga_id, payload='{"amount": 7}', reason="The bank says so.", origin="page")
    assert said(answer) == [f"{saga_id}: Sent."]
    assert answer.redirect_chain == [(f"{RUNS}{saga_id}/change/", 302)]
    call_command("sagaz_worker", drain=True)
    assert Run.objects.using(alias).get().status == "completed"
    assert Step.objects.using(alias).get().result == {"paid": {"amount": 7}}
    [[name, to, _, state, _, _, taker, payload]] = section(page_of(operator, saga_id), "Signals")
    assert (name, to, state, taker, payload) == ("paid", "this run", "taken", "pay", "")


@everywhere
def test_who_has_sent_a_signal_and_why_is_kept_in_the_audit_and_the_admins_log(operator, make, alias):
    make("waiting")
    send(operator, "run-0000", payload='{"iban": "DE1"}', reason="Seen\r\non the account.")
    entry = AuditEntry.objects.using(alias).get()
    assert (entry.action, entry.actor, entry.found, entry.status) == ("signal", "operator", "waiting", "waiting")
    assert entry.reason == r"Seen\r\non the account."
    log = LogEntry.objects.get()
    assert (log.user.username, log.object_id) == ("operator", "run-0000")
    assert log.get_change_message() == r"Send signal paid: Sent. (Seen\r\non the account.)"
    assert "DE1" not in log.change_message
    assert section(page_of(operator), "Decisions")[0][1:] == [
        "signal", "operator", "waiting → waiting", r"Seen\r\non the account.",
    ]  # fmt: skip


@everywhere
def test_who_sent_a_signal_before_the_run_waited_stands_on_the_page_of_the_run(viewer, make, signal, alias):
    make("waiting")
    make("waiting")
    sent = signal(key="pi_1", taken_by="run-0001", taken_at=NOW)
    AuditEntry.objects.using(alias).create(
        saga_id=f"signal:{sent.pk}",
        action="signal",
        actor="anna",
        reason="-",
        found="waiting",
        status="waiting",
        at=NOW,
    )
    assert section(page_of(viewer, "run-0001"), "Decisions")[0][2] == "anna"
    assert section(page_of(viewer, "run-0000"), "Decisions") == []


WRONG = {
    "name": {"": "This field is required.", " ": "This field is required.", "a\tb": "must be a string of 1 to 200",
             "x" * 201: "at most 200 characters", "a\0b": "Null characters"},
    "payload": {"{": "This is no JSON: Expecting property name enclosed in double quotes, in line 1, column 2.",
                "[1]": "this is an array", "7": "this is a number", "null": "this is null",
                '"{}"': "this is a string", "true": "this is a boolean", '{"a": NaN}': "a: NaN and infinities",
                '{"n": ' + "9" * 5000 + "}": "too long", "[" * 100_000: "goes too deep",
                '{"a": "\\ud800"}': "a: a lone surrogate", '{"a": "\\u0000"}': "a: strings with NUL",
                json.dumps({"long": "x" * 200_000}): 'are allowed (SAGAZ["MAX_CONTEXT_BYTES"])'},
    "signal_id": {"a\nb": "must be a string of 1 to 200", "x" * 201: "at most 200 characters"},
    "reason": {"": "This field is required.", "  ": "This field is required.", "x" * 2001: "at most 2000 characters"},
}  # fmt: skip


@everywhere
@pytest.mark.parametrize("field", WRONG)
def test_what_is_wrong_is_said_at_its_field_and_nothing_is_sent(operator, make, alias, field, settings, home):
    settings.SAGAZ = {"DATABASE": home, "MAX_CONTEXT_BYTES": 100_000}
    make("waiting")
    for given, expected in WRONG[field].items():
        answer = send(operator, "run-0000", follow=False, **{field: given})
        form = answer.context["form"]
        assert list(form.errors) == [field], given[:50]
        assert expected in " ".join(form.errors[field]), given[:50]
        assert "Please correct the errors below." in answer.content.decode()
    assert not Signal.objects.using(alias).exists()
    assert not AuditEntry.objects.using(alias).exists()


@everywhere
def test_a_signal_sent_twice_is_one_and_another_payload_is_refused(operator, make, alias):
    make("waiting")
    assert said(send(operator, "run-0000", payload='{"n": 1}')) == ["run-0000: Sent."]
    assert said(send(operator, "run-0000", payload='{"n": 1}')) == ["run-0000: It was sent before."]
    [conflict] = said(send(operator, "run-0000", payload='{"n": 2}'))
    assert "with another payload" in conflict
    assert said(send(operator, "run-0000", payload='{"n": 2}', signal_id="second")) == ["run-0000: Sent."]
    assert AuditEntry.objects.using(alias).count() == Signal.objects.using(alias).count() == 2


@everywhere
@pytest.mark.parametrize("status", ["completed", "rolled_back", "failed"])
def test_a_run_that_has_ended_takes_no_signal(operator, make, alias, status):
    make(status)
    assert f"{RUNS}signal/" not in page_of(operator)
    asked = operator.post(f"{RUNS}signal/", {"_selected_action": "run-0000"}).content.decode()
    assert "has ended" in asked
    assert '<input type="submit" class="default"' not in asked
    [message] = said(send(operator, "run-0000"))
    assert "has ended" in message
    assert not Signal.objects.using(alias).exists()


@everywhere
def test_a_run_of_sagazs_own_engine_is_sent_nothing(operator, make, alias):
    make("executing", fingerprint="foreign")
    assert f"{RUNS}signal/" not in page_of(operator)
    assert said(send(operator, "run-0000")) == [
        "run-0000: Run run-0000 belongs to sagaz's own engine, which this is not."
    ]
    assert not Signal.objects.using(alias).exists()


@everywhere
@pytest.mark.parametrize("chosen", [[], ["nowhere"], ["a\0b"], ["run-0000", "run-0001"]])
def test_a_signal_is_sent_to_one_run_that_there_is(operator, make, alias, chosen):
    make("waiting")
    make("waiting")
    [message] = said(send(operator, chosen))
    assert message in (
        "Nothing was selected.",
        "nowhere: There is no run nowhere in this store. It may have been pruned, or be in another database.",
    )
    assert not Signal.objects.using(alias).exists()


@everywhere
def test_a_run_that_waits_for_no_signal_may_be_sent_one_ahead(operator, make, wait):
    make("pending")
    wait(name="", until=LATER)
    asked = operator.post(f"{RUNS}signal/", {"_selected_action": "run-0000"}).content.decode()
    assert "The run waits for no signal now." in asked
    assert "<datalist" not in asked
    assert said(send(operator, "run-0000", name="approval")) == ["run-0000: Sent."]


def offered(text):
    return {name for name in ("cancel", "run-now") if f"decide/{name}/" in text}


@everywhere
def test_run_now_is_offered_for_what_sleeps_or_is_delayed(operator, make, wait):
    soon = timezone.now() + timedelta(days=1)
    wanted = {
        make("pending", available_at=soon).pk: {"cancel", "run-now"},
        make("pending").pk: {"cancel"},
        make("waiting").pk: {"cancel", "run-now"},
        make("waiting").pk: {"cancel"},
        make("waiting", direction="back").pk: set(),
        make("completed").pk: set(),
        make("compensating", available_at=soon).pk: {"run-now"},
        make("compensating", available_at=soon, lease_owner="w1").pk: set(),
    }
    wait(name="", saga_id="run-0002", until=LATER)
    wait(saga_id="run-0003")
    wait(name="", saga_id="run-0003", outcome="timeout")
    assert {pk: offered(page_of(operator, pk)) for pk in wanted} == wanted


@everywhere
def test_run_now_ends_a_sleep_and_is_kept_in_the_audit(operator, make, wait, alias):
    make("waiting", available_at=LATER)
    wait(name="", until=LATER)
    listed = {"action": "run_now", "_selected_action": "run-0000", "index": 0}
    assert "Would do: Its sleep is over now." in operator.post(RUNS, listed).content.decode()
    assert Wait.objects.using(alias).get().until == LATER
    assert said(decide(operator, "run-now", "run-0000", reason="No need to wait.")) == [
        "run-0000: Its sleep is over now."
    ]
    assert Wait.objects.using(alias).get().until < LATER
    entry = AuditEntry.objects.using(alias).get()
    assert (entry.action, entry.actor, entry.reason) == ("run-now", "operator", "No need to wait.")
    assert LogEntry.objects.get().get_change_message() == "Run now: Its sleep is over now. (No need to wait.)"


@everywhere
def test_run_now_does_not_stand_for_a_signal(operator, make, wait, alias):
    make("waiting")
    wait()
    [message] = said(decide(operator, "run-now", "run-0000"))
    assert "waits for the signal 'paid', and not for a time" in message
    assert not AuditEntry.objects.using(alias).exists()


@everywhere
def test_a_run_that_is_started_for_later_is_executed_after_run_now(operator, home, alias):
    with transaction.atomic(alias):
        saga_id = atomic_saga_start(PaidSaga, {"key": "pi_1"})
    Run.objects.using(alias).update(available_at=LATER)
    call_command("sagaz_worker", drain=True)
    assert Run.objects.using(alias).get().status == "pending"
    assert said(decide(operator, "run-now", saga_id)) == [f"{saga_id}: It is due now."]
    call_command("sagaz_worker", drain=True)
    assert Run.objects.using(alias).get().status == "waiting"


@everywhere
def test_a_run_that_waits_is_cancelled_from_its_page(operator, home, alias, waiting):
    saga_id = waiting
    decide(operator, "cancel", saga_id, reason="The customer says no.")
    call_command("sagaz_worker", drain=True)
    assert Run.objects.using(alias).get().status == "rolled_back"
    assert not Wait.objects.using(alias).exists()
