"""The lists: pages, filters, search, and what they ask the database."""

from __future__ import annotations

import re
from datetime import timedelta
from itertools import chain

import pytest
from admin_places import EVENTS, RUNS, kept_in
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_sagaz.admin import changelist
from django_sagaz.admin.readonly import ReadOnlyAdmin
from django_sagaz.models import Run

everywhere = kept_in("default", "pg", "maria")


@pytest.fixture
def viewer(login):
    return login("viewer")


@pytest.fixture
def pages_of_10(monkeypatch):
    monkeypatch.setattr(ReadOnlyAdmin, "list_per_page", 10)


def ids(answer):
    return [row.pk for row in answer.context["cl"].result_list]


def walk(viewer, address, link):
    """Return the ids of a page and of all that a link leads to, page by page."""
    found = []
    while address is not None:
        answer = viewer.get(RUNS + address)
        found.append(ids(answer))
        address = getattr(answer.context["cl"], link)
    return found, answer


@everywhere
def test_pages_follow_each_other_without_gap_or_repetition_both_ways(viewer, make, pages_of_10, alias):
    made = [make().pk for _ in range(33)]
    # Equal times are nothing unusual: many are started in one transaction.
    runs = Run.objects.using(alias)
    runs.filter(pk__in=made[5:28]).update(created_at=runs.get(pk=made[5]).created_at)
    expected = [*made[:5], *sorted(made[5:28], reverse=True), *made[28:]]
    forth, last = walk(viewer, "", "older")
    assert [len(page) for page in forth] == [10, 10, 10, 3]
    assert list(chain(*forth)) == expected
    back, first = walk(viewer, last.context["cl"].newer, "newer")
    assert list(chain(*reversed(back))) == expected[:30]
    assert first.context["cl"].newest == "?"


@everywhere
def test_a_page_stays_where_it_is_while_newer_runs_come_in(viewer, make, pages_of_10):
    made = [make().pk for _ in range(15)]
    older = viewer.get(RUNS).context["cl"].older
    make(saga_id="new", created_at=timezone.now())
    assert ids(viewer.get(RUNS + older)) == made[10:]


@everywhere
def test_filters_keep_the_page_out_of_their_links_and_pages_keep_the_filters(viewer, make, pages_of_10):
    for _ in range(15):
        make("failed")
    older = viewer.get(f"{RUNS}?status=failed").context["cl"].older
    assert older.startswith("?p=older")
    assert older.endswith("&status=failed")
    page = viewer.get(RUNS + older)
    assert len(ids(page)) == 5
    links = re.findall(r'href="(\?[^"]*saga=order[^"]*)"', page.content.decode())
    assert links
    assert not any("p=" in link for link in links)


@everywhere
def test_runs_are_filtered_by_status_saga_and_time(viewer, make):
    now = timezone.now()
    make("failed", saga_name="a", created_at=now - timedelta(days=2))
    make("failed", saga_name="b", created_at=now - timedelta(minutes=5))
    make("completed", saga_name="a", created_at=now - timedelta(days=90))
    wanted = {
        "": [1, 0, 2],
        "?status=failed": [1, 0],
        "?status=rolled_back": [],
        "?saga=a": [0, 2],
        "?saga=a&status=failed": [0],
        "?saga=gone": [],
        "?created=hour": [1],
        "?created=week": [1, 0],
        "?created=before": [2],
        "?created=before&status=failed": [],
    }
    found = {address: ids(viewer.get(RUNS + address)) for address in wanted}
    assert found == {address: [f"run-{number:04}" for number in numbers] for address, numbers in wanted.items()}


@everywhere
def test_the_saga_filter_offers_registered_sagas_and_those_of_the_newest_runs(viewer, make):
    make(saga_name="forgotten")
    page = viewer.get(RUNS).content.decode()
    assert all(f"?saga={name}" in page for name in ("order", "travel", "forgotten"))


@everywhere
def test_a_rare_saga_is_looked_for_a_bounded_number_of_rows_at_a_time(viewer, make, monkeypatch, pages_of_10):
    monkeypatch.setattr(changelist, "SCANNED", 20)
    made = [make(saga_name="rare" if number in (3, 45) else "order").pk for number in range(65)]
    pages, last = walk(viewer, "?saga=rare", "older")
    assert pages == [[made[3]], [], [made[45]], []]
    assert "20 rows were looked through" in viewer.get(f"{RUNS}?saga=rare").content.decode()
    assert "were looked through" not in last.content.decode()


@everywhere
def test_search_finds_the_beginning_of_a_saga_id_a_correlation_id_an_owner_and_a_saga(viewer, make):
    make(saga_id="abc-1", correlation_id="request-7")
    make(saga_id="abc-2", saga_name="travel")
    make(saga_id="xabc", correlation_id="request-8", owner="user:42")
    wanted = {
        "abc": ["abc-1", "abc-2"],
        "abc-2": ["abc-2"],
        "request-7": ["abc-1"],
        " travel ": ["abc-2"],
        "request": [],
        "user:42": ["xabc"],
        "user:4": [],
        "ABC": [],
        "%": [],
        "abc_": [],
    }
    assert {term: ids(viewer.get(RUNS, {"q": term})) for term in wanted} == wanted
    assert ids(viewer.get(RUNS, {"q": "abc", "saga": "travel"})) == ["abc-2"]


@everywhere
def test_a_search_that_finds_too_much_says_so(viewer, make, monkeypatch):
    for module in ("django_sagaz.admin.search", "django_sagaz.admin.runs"):
        monkeypatch.setattr(f"{module}.FOUND", 3)
    for _ in range(5):
        make()
    answer = viewer.get(RUNS, {"q": "run-"})
    assert len(ids(answer)) == 3
    assert "more than 3 runs" in str(next(iter(answer.context["messages"])))


@everywhere
@pytest.mark.parametrize(
    "query",
    [
        "status=x", "created=x", "saga=%00", "q=%00", "p=older", "p=older[", "p=older[1]", "p=x", "p=-1", "p=99999",
        'p=older["2026-01-01","a"]', 'p=older["2026-01-01T00:00:00Z"]', 'p=older["x","a"]', "p=older[null,null]",
        'p=older["2026-01-01T00:00:00Z","%00"]', 'p=older["2026-01-01T00:00:00Z","\\ud800"]', "p=newer{}",
        'p=older["9999-12-31T23:59:59-12:00","a"]', 'p=newer["0001-01-01T00:00:00%2B12:00","a"]', "o=-1.2.3", "all=",
        "p=older" + "[" * 5000, "_facets=True", "e=1", "status=failed&status=x",
    ],
)  # fmt: skip
def test_a_wrong_address_is_no_error_of_the_server(viewer, make, query):
    make("failed")
    answer = viewer.get(f"{RUNS}?{query}")
    assert answer.status_code in (200, 302)
    if answer.status_code == 302:
        assert answer["Location"] == f"{RUNS}?e=1"
        assert viewer.get(answer["Location"]).status_code == 200


@kept_in("default")
@pytest.mark.parametrize(
    "query",
    ["context__card_number__startswith=4", "context__icontains=a", "error__contains=x", "saga_id=run-0000", "pk=1",
     "fingerprint__gte=f", "status__exact=failed", "_to_field=fingerprint"],
)  # fmt: skip
def test_what_is_not_shown_cannot_be_asked_for_letter_by_letter(viewer, make, query, caplog):
    make(context={"card_number": "4111"})
    assert viewer.get(f"{RUNS}?{query}").status_code == 400


def statements(connection, ask):
    with CaptureQueriesContext(connection) as queries:
        answer = ask()
    assert answer.status_code == 200
    return [query["sql"] for query in queries]


@everywhere
@pytest.mark.parametrize("query", ["", "?status=failed", "?saga=order", "?q=run-00", "?created=before&status=failed"])
def test_the_number_of_queries_does_not_depend_on_the_number_of_runs(viewer, make, alias, query):
    make("failed")
    viewer.get(RUNS)
    few = statements(connections[alias], lambda: viewer.get(RUNS + query))
    for _ in range(40):
        make("failed", error="E" * 1000, context={"x": "y" * 1000})
    many = statements(connections[alias], lambda: viewer.get(RUNS + query))
    assert len(many) == len(few) < 12
    assert not [sql for sql in many if "COUNT(" in sql.upper()]
    assert not [sql for sql in many if '"sagaz_run"."context"' in sql]
    asked = [sql for sql in many if "sagaz_run" in sql]
    assert [sql for sql in asked if " LIMIT " not in sql] == []


@everywhere
def test_events_are_filtered_and_searched(viewer, event):
    made = [event(status, saga_id=f"run-{status}") for status in ("pending", "sent", "dead", "dead")]
    pks = [row.pk for row in made]
    wanted = {
        "": pks[::-1],
        "?status=dead": [pks[3], pks[2]],
        "?status=sent": [pks[1]],
        "?status=pending": [pks[0]],
        "?q=event-2": [pks[2]],
        "?q=run-dead": [pks[3], pks[2]],
        "?q=nothing": [],
    }
    assert {address: ids(viewer.get(EVENTS + address)) for address in wanted} == wanted
    assert viewer.get(f"{EVENTS}?status=x").status_code == 302


@everywhere
@pytest.mark.parametrize("status", ["", "pending", "dead"])
def test_pages_of_events_follow_each_other(viewer, event, pages_of_10, status):
    made = [event(status or "sent").pk for _ in range(23)]
    found, address = [], f"?status={status}" if status else ""
    while address is not None:
        answer = viewer.get(EVENTS + address)
        found += ids(answer)
        address = answer.context["cl"].older
    assert found == made[::-1]
    assert ids(viewer.get(EVENTS + answer.context["cl"].newer)) == found[10:20]
