"""The page of a run and that of an event: complete, and safe whatever they have to show."""

from __future__ import annotations

import html
import json
import re
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from admin_places import EVENTS, RUNS, decide, kept_in
from django.contrib.admin.utils import quote
from django.db import connections
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from django_sagaz.admin import page, runs, values
from django_sagaz.models import Attempt, AuditEntry, Run
from sagaz_durable.serialization.codec import encode
from sagaz_durable.serialization.json_checks import MAX_DEPTH

everywhere = kept_in("default", "pg", "maria")

SCRIPT = "<script>alert(1)</script>"
HOSTILE = [
    SCRIPT,
    '"><img src=x onerror=alert(1)>',
    "</pre></title></desc></svg><script>x()</script>",
    "{{ 7|add:7 }}",
    "{% now %}",
]
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
REVERSED = "invoice\u202egnp.exe\u2066 \u200b\u2028"


@pytest.fixture
def viewer(login):
    return login("viewer")


def shown(viewer, pk="run-0000", base=RUNS):
    answer = viewer.get(f"{base}{pk}/change/")
    assert answer.status_code == 200
    return answer.content.decode()


def context_of(text):
    """Return what is shown as the context."""
    section = text[text.index("<h2>Context</h2>") :]
    return html.unescape(re.search(r"<pre[^>]*>(.*?)</pre>", section, re.DOTALL)[1])


@everywhere
def test_everything_that_is_known_of_a_run_is_shown(viewer, login, make, event):
    run = make(
        "failed",
        correlation_id="request-9",
        owner="user:42",
        lease_owner=None,
        steps=[("reserve", "do", "done", {"result": {"key": "K-1"}}), ("count", "do", "failed", {"error": "E: full"}),
               ("reserve", "undo", "in_doubt", {"error": "T: slow"})],
    )  # fmt: skip
    event("sent")
    began, ended = run.created_at, run.created_at + timedelta(seconds=90)
    Attempt.objects.using(run._state.db).create(
        saga_id=run.pk, attempt=1, owner="host-7:41:aa", began_at=began, ended_at=ended, outcome="died",
        detail=None, under_way="count, undo of reserve",
    )  # fmt: skip
    decide(login("superuser"), "resolve", "run-0000", settled="rolled_back", reason="Undone by hand.")
    text = shown(viewer)
    parts = (
        "request-9", "user:42", "ValueError: no truck", "K-1", "E: full", "T: slow", "0.250 s", "event-0",
        "Undone by hand.", "superuser", "its process died", "host-7:41:aa", "count, undo of reserve",
        "failed → rolled_back", "<svg", "(compensation)", "&quot;name&quot;: &quot;x&quot;",
    )  # fmt: skip
    assert [part for part in parts if part not in text] == []
    table = text[text.index("<h2>Journal</h2>") :]
    assert table.index("reserve") < table.index("count") < table.index("(compensation)")


@everywhere
@pytest.mark.parametrize("hostile", HOSTILE)
def test_whatever_a_row_holds_is_text(viewer, login, make, event, hostile, alias):
    name = hostile[:60]
    make(
        "failed", saga_id=name, saga_name=name, error=hostile, correlation_id=name, owner=name,
        context={hostile: [hostile, {"deep": hostile}]},
        steps=[(name, "do", "failed", {"error": hostile, "result": {hostile: hostile}}), (name, "undo", "done", {})],
    )  # fmt: skip
    Attempt.objects.using(alias).create(
        saga_id=name, attempt=1, owner=name, began_at=NOW, ended_at=NOW, outcome="failed", detail=hostile,
        under_way=hostile,
    )  # fmt: skip
    AuditEntry.objects.using(alias).create(
        saga_id=name, action="cancel", actor=hostile, reason=hostile, found="failed", status="failed",
        at=Run.objects.using(alias).get().created_at,
    )  # fmt: skip
    pk = event("dead", saga_id=name, topic=hostile, event_id=name, payload={hostile: hostile}, error=hostile).pk
    operator = login("operator")
    row = operator.get(RUNS).context["cl"].result_list[0]
    address = f"{RUNS}{quote(name)}/change/"
    assert row.pk == name
    pages = [
        operator.get(RUNS), operator.get(RUNS, {"q": name}), operator.get(RUNS, {"saga": name}), operator.get(address),
        operator.get(address.replace("change/", "history/")), operator.get(EVENTS),
        operator.get(f"{EVENTS}{pk}/change/"),
        operator.post(f"{RUNS}decide/retry/", {"_selected_action": name}),
        decide(operator, "retry", name, reason=hostile),
    ]  # fmt: skip
    for answer in pages:
        text = answer.content.decode()
        assert answer.status_code == 200
        assert SCRIPT not in text
        assert "<img src=x" not in text
        assert "<script>x()" not in text
        assert ">14<" not in text


@everywhere
def test_a_context_of_a_megabyte_is_cut_with_a_note(viewer, make):
    make(
        context={"long": "x" * 1_000_000, "after": "still here"},
        steps=[("reserve", "do", "done", {"result": {"page": "y" * 1_000_000}})],
    )
    text = shown(viewer)
    assert len(text) < 100_000
    assert "(1,000,000 characters in all)" in text
    assert "still here" in text
    assert "x" * 2000 in text
    assert "x" * 2001 not in text


@everywhere
def test_many_values_are_cut_with_a_note(viewer, make):
    make(context={"rows": [{"n": number} for number in range(50_000)]})
    text = shown(viewer)
    assert len(text) < 1_000_000
    assert "The rest is too long to be shown here." in text


@everywhere
def test_what_is_too_long_to_be_read_is_not_read(viewer, make, monkeypatch, alias):
    for module in (page, runs):
        monkeypatch.setattr(module, "LOADED", 5_000)
    make(context={"long": "x" * 6_000}, steps=[("reserve", "do", "done", {"result": {"page": "y" * 6_000}})])
    with CaptureQueriesContext(connections[alias]):
        text = shown(viewer)
    assert "characters are too many to be shown here." in context_of(text)
    assert text.count("characters are too many to be shown here.") == 2
    assert "xxx" not in text
    assert "yyy" not in text


@everywhere
def test_the_deepest_context_that_the_codec_takes_is_shown_whole(viewer, make):
    deep = "bottom"
    for level in range(MAX_DEPTH - 1):
        deep = {"k": deep} if level % 2 else [deep]
    context = {"top": deep}
    assert encode(context, max_bytes=10_000)
    make(context=context)
    assert json.loads(context_of(shown(viewer))) == context


@everywhere
def test_values_that_json_has_not_are_shown_on_one_line_with_their_types_and_masked_like_others(viewer, make):
    values = {"amount": Decimal("12.50"), "card_number": Decimal(4111), "head": [b"authorization", b"abc"]}
    make(context=json.loads(encode(values, max_bytes=10_000)))
    text = context_of(shown(viewer))
    assert '"amount": {"$sagaz.decimal": "12.50"}' in text
    assert '"card_number": "***"' in text
    assert "4111" not in text
    assert b64encode(b"abc").decode() not in text


# MariaDB itself takes nothing that is deeper than 31.
@kept_in("default", "pg")
@pytest.mark.parametrize("depth", [100, 900, 5_000])
def test_what_something_else_has_written_may_go_deeper(viewer, make, alias, depth):
    make()
    if alias == "default":
        # SQLite itself takes no more.
        depth = min(depth, 990)
    text = json.dumps({"a": "S"}).replace('"S"', "[" * depth + "]" * depth)
    cast = "::jsonb" if alias == "pg" else ""
    with connections[alias].cursor() as cursor:
        cursor.execute(f"UPDATE sagaz_run SET context = %s{cast}", [text])
    assert "[…]" in context_of(shown(viewer)) or "too deeply nested" in context_of(shown(viewer))


# The names of a MariaDB whose character set is latin1 cannot hold it.
@kept_in("default", "pg")
def test_text_cannot_turn_around_or_hide_other_text(viewer, login, make, event, alias):
    make("failed", context={REVERSED: REVERSED}, error=REVERSED, saga_name=REVERSED, correlation_id=REVERSED,
         steps=[(REVERSED, "do", "failed", {"error": REVERSED, "result": {"a": REVERSED}})])  # fmt: skip
    pk = event("dead", topic=REVERSED, error=REVERSED, payload={"a": REVERSED}).pk
    operator = login("operator")
    asked = operator.post(f"{RUNS}decide/retry/", {"_selected_action": "run-0000"}).content.decode()
    for text in (shown(viewer), shown(viewer, pk, EVENTS), viewer.get(EVENTS).content.decode(), asked):
        body = text[text.index('id="content"') :]
        assert not set("\u202e\u2066\u200b\u2028") & set(body)
    listed = viewer.get(RUNS).content.decode()
    assert "\\u202e" in listed
    assert "\u202e" not in re.search(r'<table id="result_list">.*?</table>', listed, re.DOTALL)[0]


@everywhere
def test_secrets_are_masked_and_the_project_says_what_else_is_one(viewer, make, event, settings, home):
    secret = {
        "card_number": "4111-1111",
        "amount": 3,
        "guest": {"api_key": "K-9", "passport": "P-123", "token_count": 17},
    }
    make(context=secret, steps=[("reserve", "do", "done", {"result": secret})])
    pk = event(payload=secret, headers={"authorization": "Bearer B-7"}).pk
    texts = shown(viewer), shown(viewer, pk, EVENTS)
    assert not [word for text in texts for word in ("4111", "K-9", "B-7") if word in text]
    assert all("P-123" in text for text in texts)
    settings.SAGAZ = {"DATABASE": home, "REDACT_KEYS": ["pass*", "!token_count", "amount"]}
    texts = shown(viewer), shown(viewer, pk, EVENTS)
    assert not [word for text in texts for word in ("4111", "K-9", "P-123", "B-7") if word in text]
    assert all("&quot;token_count&quot;: 17" in text for text in texts)
    assert all("&quot;amount&quot;: &quot;***&quot;" in text for text in texts)


@everywhere
@pytest.mark.parametrize("pk", ["nowhere", "%00", "a%2Fb", "_00", "_2F", "x" * 3000, "%E2%80%AE"])
def test_a_run_that_is_not_there_is_told_so(viewer, make, pk):
    answer = viewer.get(f"{RUNS}{pk}/change/")
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")
    assert viewer.get(f"{EVENTS}{pk}/change/").status_code == 302
    assert viewer.get(f"{EVENTS}{'9' * 30}/change/").status_code == 302


@everywhere
def test_the_number_of_queries_does_not_depend_on_the_number_of_steps_and_events(viewer, make, event, alias):
    def queries(pk):
        with CaptureQueriesContext(connections[alias]) as queries:
            shown(viewer, pk)
        return len(queries)

    make(steps=[("reserve", "do", "done", {"result": {"a": 1}})])
    make(steps=[(f"s{n}", "do", "done", {"result": {"a": "b" * 100_000}}) for n in range(60)], saga_name="gone")
    for number in range(150):
        event(event_id=f"e{number}", saga_id="run-0001")
    queries("run-0000")
    assert queries("run-0001") == queries("run-0000") < 16


@everywhere
def test_numbers_of_the_diagram_are_not_written_as_the_readers_language_has_them(viewer, make):
    make(steps=[(f"s{n}", "do", "done", {}) for n in range(60)], saga_name="gone")
    with override_settings(LANGUAGE_CODE="de", USE_THOUSAND_SEPARATOR=True):
        text = shown(viewer)
    svg = text[text.index('<svg class="sagaz-diagram"') : text.index("sagaz-legend")]
    assert re.search(r'<svg [^>]*height="\d{4}"', svg)
    assert not re.search(r' (x|y|width|height|d)="[^"]*\d[.,]\d', svg)


@everywhere
def test_a_project_without_time_zones_has_these_pages_too(login, make, settings, home):
    settings.USE_TZ = False
    from datetime import datetime

    make(created_at=datetime(2026, 3, 1), updated_at=datetime(2026, 3, 1), available_at=None, finished_at=None)
    make(
        "failed", created_at=datetime(2026, 3, 2), updated_at=datetime(2026, 3, 2), available_at=None, finished_at=None
    )
    viewer = login("viewer")
    assert "2026-03-01 00:00:00" in shown(viewer)
    for query in ("", "?created=before", "?saga=order"):
        assert viewer.get(RUNS + query).status_code == 200


@kept_in("default")
@pytest.mark.parametrize("given", [{"STORAGE_URL": "memory://"}, {"CONCURRENCY": "many"}, {"DATABASE": "nowhere"}])
def test_runs_that_are_kept_elsewhere_are_not_claimed_to_be_here(login, make, settings, given):
    make()
    boss = login("superuser")
    settings.SAGAZ = given
    # It refuses to work at all with wrong settings.
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "sagaz" not in name]
    index = boss.get("/admin/")
    assert index.status_code == 200
    assert RUNS.encode() not in index.content
    for address in (RUNS, f"{RUNS}run-0000/change/", f"{RUNS}run-0000/history/", EVENTS):
        assert boss.get(address).status_code == 403
    assert boss.post(f"{RUNS}decide/retry/", {"_selected_action": "run-0000"}).status_code == 403


def test_visible_text_keeps_its_letters_and_is_one_line():
    for text in ("Zwölf Boxkämpfer", "予約", "👩‍💻 emoji", "نص عربي"):
        assert values.visible(text) == text
    assert values.visible("a\r\nb\x00\x1b[31m\x7f\ud800") == r"a\r\nb\x00\x1b[31m\x7f\ud800"
