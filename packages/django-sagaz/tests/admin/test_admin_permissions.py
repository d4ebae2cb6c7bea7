"""Who may see and do what, at every address, by GET and by a POST that was made up."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from admin_places import EVENTS, RUNS, SIGNALS, kept_in, send

from django_sagaz.models import AuditEntry, OutboxEvent, Run, Signal

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PEOPLE = ("anonymous", "customer", "nobody", "blind", "viewer", "retrier", "operator", "superuser")
SEES_RUNS = {"viewer", "retrier", "operator", "superuser"}
SEES_EVENTS = {"viewer", "operator", "superuser"}
SEES_SIGNALS = SEES_EVENTS
SENDS = {"operator", "superuser"}
OUTSIDE = {"anonymous", "customer"}

pytestmark = [kept_in("default"), pytest.mark.parametrize("person", PEOPLE)]


@pytest.fixture
def client(login, person):
    return login(person)


def refused(answer, person):
    if person in OUTSIDE:
        assert (answer.status_code, "/admin/login/" in answer["Location"]) == (302, True)
    else:
        assert answer.status_code == 403


@pytest.mark.parametrize("address", ["", "?status=failed", "?q=run-0000", "?saga=order", "run-0000/change/"])
def test_runs_are_shown_to_those_with_the_view_permission_only(client, person, make, address):
    make("failed", context={"note": "for viewers"})
    answer = client.get(RUNS + address)
    if person not in SEES_RUNS:
        refused(answer, person)
        assert b"run-0000" not in answer.content
        assert b"for viewers" not in answer.content
    else:
        assert answer.status_code == 200
        assert b"run-0000" in answer.content


@pytest.mark.parametrize("address", ["nowhere/change/", "nowhere/history/", "nowhere/delete/", "nowhere/"])
def test_those_without_it_cannot_tell_which_runs_there_are(client, person, make, address):
    make()
    there, nowhere = (client.get(RUNS + address.replace("nowhere", id_)) for id_ in ("run-0000", "nowhere"))
    if person not in SEES_RUNS:
        # "…/" alone leads to "…/change/", which refuses.
        assert there.status_code == nowhere.status_code in (302, 403)
        assert there.content == nowhere.content


@pytest.mark.parametrize("address", ["", "?status=dead", "?q=event-0", "PK/change/"])
def test_events_are_shown_to_those_with_their_view_permission_only(client, person, event, address):
    pk = event("dead").pk
    answer = client.get(EVENTS + address.replace("PK", str(pk)))
    if person not in SEES_EVENTS:
        refused(answer, person)
        assert b"event-0" not in answer.content
    else:
        assert answer.status_code == 200
        assert b"event-0" in answer.content


@pytest.mark.parametrize("address", ["", "?state=taken", "?q=pi_1", "signal-0000/change/"])
def test_signals_are_shown_to_those_with_their_view_permission_only(client, person, signal, address):
    signal(key="pi_1", payload={"note": "for viewers"}, taken_at=NOW if "taken" in address else None)
    answer = client.get(SIGNALS + address)
    if person not in SEES_SIGNALS:
        refused(answer, person)
        assert b"pi_1" not in answer.content
    else:
        assert answer.status_code == 200
        assert b"pi_1" in answer.content


def test_the_page_of_a_run_has_its_signals_for_those_who_may_see_them(client, person, make, signal, wait):
    make("waiting")
    wait(name="approval")
    signal(signal_id="delivery-7")
    if person in SEES_RUNS:
        page = client.get(f"{RUNS}run-0000/change/").content
        assert b"approval" in page
        assert (b"delivery-7" in page) == (person in SEES_SIGNALS)


def test_a_signal_is_sent_with_the_permission_to_do_so_only(client, person, make, wait):
    make("waiting")
    wait()
    if person in SEES_RUNS:
        page = client.get(f"{RUNS}run-0000/change/").content
        assert (f'formaction="{RUNS}signal/"'.encode() in page) == (person in SENDS)
    answer = send(client, "run-0000", follow=False)
    assert (Signal.objects.count(), AuditEntry.objects.count()) == ((1, 1) if person in SENDS else (0, 0))
    if person not in SENDS:
        refused(answer, person)
    asked = client.post(f"{RUNS}signal/", {"_selected_action": "run-0000"})
    if person not in SENDS:
        refused(asked, person)
    else:
        assert b'name="payload"' in asked.content


def test_no_signal_is_sent_by_get_or_without_the_csrf_token(client, login, person, make):
    make("waiting")
    answer = client.get(f"{RUNS}signal/?_selected_action=run-0000&decided=yes&name=paid&payload={{}}&reason=x")
    if person in SENDS:
        assert answer.status_code == 405
    else:
        refused(answer, person)
    forged = send(login(person, enforce_csrf_checks=True), "run-0000", follow=False)
    assert forged.status_code in (302, 403)
    assert not Signal.objects.exists()


def test_the_index_tells_of_what_one_may_see(client, person, home):
    answer = client.get("/admin/")
    assert (RUNS.encode() in answer.content) == (person in SEES_RUNS)
    assert (EVENTS.encode() in answer.content) == (person in SEES_EVENTS)
    assert (SIGNALS.encode() in answer.content) == (person in SEES_SIGNALS)
    application = client.get("/admin/django_sagaz/").status_code
    assert application == (200 if person in SEES_RUNS else 302 if person in OUTSIDE else 404)


def test_the_page_of_a_run_has_its_events_for_those_who_may_see_them(client, person, make, event):
    make()
    event()
    if person in SEES_RUNS:
        shown = b"event-0" in client.get(f"{RUNS}run-0000/change/").content
        assert shown == (person in SEES_EVENTS)


@pytest.mark.parametrize("verb", ["get", "post"])
@pytest.mark.parametrize("address", ["add/", "signal-0000/delete/", "signal-0000/change/"])
def test_nobody_changes_signals_by_hand(client, person, signal, verb, address):
    signal()
    answer = getattr(client, verb)(SIGNALS + address, {"post": "yes", "id": "new", "name": "forged", "saga_id": "x"})
    if verb == "post" or "change" not in address:
        refused(answer, person)
    assert list(Signal.objects.values_list("pk", "name")) == [("signal-0000", "paid")]


@pytest.mark.parametrize("verb", ["get", "post"])
@pytest.mark.parametrize("address", ["add/", "run-0000/delete/", "PK/delete/"])
def test_nobody_adds_or_deletes_by_hand(client, person, make, event, verb, address):
    make()
    base = EVENTS if "PK" in address else RUNS
    address = base + address.replace("PK", str(event().pk))
    refused(getattr(client, verb)(address, {"post": "yes", "saga_id": "new", "status": "failed"}), person)
    assert (Run.objects.count(), OutboxEvent.objects.count()) == (1, 1)


@pytest.mark.parametrize("data", [{"status": "completed", "_save": "Save"}, {"_saveasnew": "1", "status": "completed"}])
def test_nobody_edits_by_hand(client, person, make, event, data):
    make("failed")
    refused(client.post(f"{RUNS}run-0000/change/", data), person)
    refused(client.post(f"{EVENTS}{event('dead').pk}/change/", data), person)
    assert Run.objects.get().status == "failed"
    assert OutboxEvent.objects.get().status == "dead"


@pytest.mark.parametrize(
    "data",
    [
        {"action": "delete_selected", "_selected_action": "run-0000", "post": "yes"},
        {"action": "delete_selected", "_selected_action": "run-0000", "index": 0, "select_across": 1},
        {
            "form-TOTAL_FORMS": 1,
            "form-INITIAL_FORMS": 1,
            "form-0-saga_id": "run-0000",
            "form-0-status": "x",
            "_save": 1,
        },
    ],
)
def test_the_list_neither_deletes_nor_edits(client, person, make, data):
    make("failed")
    client.post(RUNS, data)
    assert Run.objects.get().status == "failed"


MAY = {
    "retry": {"retrier", "operator", "superuser"},
    "cancel": {"operator", "superuser"},
    "resolve": {"operator", "superuser"},
    "run-now": {"operator", "superuser"},
}
STATUS = {"run-now": "waiting"}
"""In which status a run takes it; failed, unless it is said here."""


@pytest.fixture
def ready(make, wait):
    """Return a function that makes a run that takes this decision."""

    def ready(action):
        make(STATUS.get(action, "failed"))
        if action == "run-now":
            wait(name="")

    return ready


@pytest.mark.parametrize("action", MAY)
@pytest.mark.parametrize("way", ["page", "list", "list across pages"])
def test_a_decision_needs_its_own_permission_however_it_is_posted(client, person, ready, action, way):
    ready(action)
    data = {"_selected_action": "run-0000", "decided": "yes", "reason": "seen to", "settled": "completed"}
    if way == "page":
        answer = client.post(f"{RUNS}decide/{action}/", data)
    else:
        answer = client.post(
            RUNS, {**data, "action": action.replace("-", "_"), "index": 0, "select_across": int(way != "list")}
        )
    changed = Run.objects.get().attempt != 1
    assert (changed, AuditEntry.objects.exists()) == ((True, True) if person in MAY[action] else (False, False))
    if way == "page" and person not in MAY[action]:
        refused(answer, person)


@pytest.mark.parametrize("action", MAY)
def test_nothing_is_decided_by_get(client, person, ready, action):
    ready(action)
    answer = client.get(f"{RUNS}decide/{action}/?_selected_action=run-0000&decided=yes&reason=x&settled=completed")
    if person in MAY[action]:
        assert answer.status_code == 405
    else:
        refused(answer, person)
    assert (Run.objects.get().attempt, AuditEntry.objects.exists()) == (1, False)


@pytest.mark.parametrize("action", MAY)
def test_nothing_is_decided_without_the_csrf_token(login, person, ready, action):
    ready(action)
    client = login(person, enforce_csrf_checks=True)
    data = {"_selected_action": "run-0000", "decided": "yes", "reason": "x", "settled": "completed"}
    for address in (RUNS, f"{RUNS}decide/{action}/"):
        assert client.post(address, {**data, "action": action.replace("-", "_"), "index": 0}).status_code in (302, 403)
    assert (Run.objects.get().attempt, AuditEntry.objects.exists()) == (1, False)


@pytest.mark.parametrize("action", MAY)
def test_actions_and_buttons_are_offered_to_those_who_may_use_them(client, person, ready, action):
    ready(action)
    if person in SEES_RUNS:
        listed, page = client.get(RUNS).content, client.get(f"{RUNS}run-0000/change/").content
        may = person in MAY[action]
        assert (f'value="{action.replace("-", "_")}"'.encode() in listed) == may
        assert (f"decide/{action}/".encode() in page) == may
        assert (b'name="_selected_action"' in listed) == (person != "viewer")


@pytest.mark.parametrize("way", ["page", "list"])
def test_an_event_is_retried_with_the_permission_to_do_so(client, person, event, way):
    pk = event("dead").pk
    data = {"_selected_action": pk, "decided": "yes", "action": "retry", "index": 0}
    answer = client.post(f"{EVENTS}retry/" if way == "page" else EVENTS, data)
    may = person in ("operator", "superuser")
    assert OutboxEvent.objects.get().status == ("pending" if may else "dead")
    if way == "page" and not may:
        refused(answer, person)
    answer = client.get(f"{EVENTS}retry/?_selected_action={pk}&decided=yes")
    assert answer.status_code == (405 if may else 302 if person in OUTSIDE else 403)


def test_there_is_no_other_decision(client, person, make):
    make("failed")
    answer = client.post(f"{RUNS}decide/delete/", {"_selected_action": "run-0000"})
    assert answer.status_code == (302 if person in OUTSIDE else 404)


def test_other_models_are_not_shown(client, person, home):
    for model in ("step", "attempt", "wait", "auditentry", "workerprocess", "storeinfo"):
        assert client.get(f"/admin/django_sagaz/{model}/").status_code in (302, 404)
