"""What people see, in a real Chromium; pictures of it are kept in SAGAZ_TEST_PICTURES."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime

import pytest
from admin_places import EVENTS, RUNS, SIGNALS

pytestmark = [
    pytest.mark.skipif("SAGAZ_TEST_CHROMIUM" not in os.environ, reason="a browser: tox run -e chromium"),
    pytest.mark.skipif(
        not ((shutil.which("chromium") or shutil.which("chromium-browser")) and shutil.which("chromedriver")),
        reason="Chromium: apt-get install chromium chromium-driver",
    ),
    pytest.mark.django_db(transaction=True, databases=["default"]),
]

MODES = ("light", "dark")

TEXTS = ", ".join(
    (
        ".sagaz-status", ".sagaz-name", ".sagaz-state", ".sagaz-pivot", ".sagaz-facts dt", ".sagaz-facts dd",
        ".sagaz-page pre", ".sagaz-page td", ".sagaz-page th", ".sagaz-note", ".sagaz-legend li", ".sagaz-button",
        ".sagaz-quiet", ".sagaz-refused", ".sagaz-field label", ".sagaz-field legend", ".sagaz-field .help",
        ".sagaz-pages a", ".sagaz-pages span",
    )
)  # fmt: skip
"""Everything that these pages add to the admin's own."""

LEASED = {"lease_owner": "web-1", "lease_expires_at": datetime(2026, 3, 1, 12, tzinfo=UTC)}

CAR = "reserve-the-rental-car-with-insurance-and-a-child-seat"


@pytest.fixture
def travels(make):
    """Runs of a saga with branches: one in each status, and steps in each state."""
    ok = {"result": {"id": 7}}
    done = [(name, "do", "done", ok) for name in ("check-traveller", "book-flight", "book-hotel", CAR)]
    charged, sent = ("charge-card", "do", "done", ok), ("send-documents", "do", "done", {})
    failed = [
        *done[:2],
        (CAR, "do", "in_doubt", {"error": "TimeoutError: no answer in 30 s"}),
        ("book-hotel", "do", "failed", {"error": "ValueError: no room"}),
        ("book-flight", "undo", "done", {}),
        (CAR, "undo", "failed", {"error": "OSError: unreachable"}),
    ]
    unknown = [
        ("one", "do", "done", ok),
        ("two", "do", "failed", {"error": "ValueError: no"}),
        ("one", "undo", "done", {}),
    ]
    context = {"amount": 100, "card_number": "4111", "guests": [{"name": "Ada", "age": 36}]}
    travel = {"saga_name": "travel", "correlation_id": "order-7", "context": context}
    return [
        make("failed", steps=failed, direction="back", **{**travel, "error": "step 'book-hotel': ValueError: no room"}),
        make("executing", steps=[*done, ("charge-card", "do", "started", {})], **LEASED, **travel),
        make("completed", steps=[*done, charged, sent], **travel),
        make("rolled_back", steps=unknown, direction="back", saga_name="forgotten", error="ValueError: no"),
        make("pending", **travel),
        make("compensating", steps=[*done, ("book-hotel", "undo", "started", {})], direction="back", **travel),
        make("completed", saga_name="gone", steps=[(f"step-{n}-of-a-long-saga", "do", "done", {}) for n in range(12)]),
        *[make("completed", saga_id=f"{n:08}-4d2e-5f1a-9c3b-7a6b5c4d3e2f") for n in range(120)],
    ]


@pytest.fixture(params=MODES)
def mode(request, browser):
    browser.look_in(request.param)
    return request.param


@pytest.fixture
def seen(browser, mode, login, pictures):
    """Return a function that opens a page and looks at it: console, requests, contrast."""
    browser.log_in(login("operator"))
    browser.complaints()
    browser.strangers()

    def seen(path, name):
        if path:
            browser.open(path)
        browser.picture(pictures / f"{name}-{mode}.png")
        texts = browser.contrasts(TEXTS)
        assert texts
        assert [text for text in texts if text["ratio"] < 4.5] == []
        return texts

    yield seen
    assert browser.complaints() == []
    assert browser.strangers() == []


def test_the_list(browser, seen, travels):
    seen(RUNS, "list")
    assert len(browser.all("#result_list tbody tr")) == 100
    browser.one(".sagaz-pages a[rel=next]").click()
    browser.until(".sagaz-pages a[rel=prev]")
    seen(None, "list-older")
    assert len(browser.all("#result_list tbody tr")) == 27


def test_the_page_of_a_run_and_its_diagram(browser, seen, travels):
    texts = seen(f"{RUNS}{travels[0].pk}/change/", "run-failed")
    assert "no room" in browser.one(".sagaz-error").text
    diagram = browser.one("svg.sagaz-diagram")
    assert diagram.is_displayed()
    boxes = browser.all("svg .sagaz-step")
    assert len(boxes) == 6
    assert all(box.size["width"] > 150 and box.size["height"] > 60 for box in boxes)
    names = [text["text"] for text in texts if text["class"] == "sagaz-name"]
    assert {"check-traveller", "book-flight", "charge-card"} <= set(names)
    assert any("in doubt" in text["text"] for text in texts if text["class"] == "sagaz-state")


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6])
def test_runs_in_every_status(seen, travels, number):
    seen(f"{RUNS}{travels[number].pk}/change/", f"run-{number}-{travels[number].status}")


@pytest.mark.parametrize("action", ["retry", "cancel", "resolve"])
def test_a_page_asks_before_anything_is_done(browser, seen, travels, action):
    browser.open(f"{RUNS}{travels[0].pk}/change/")
    browser.one(f"button[value={action}]").click()
    browser.until("input[name=decided]")
    seen(None, f"ask-{action}")


def test_events(browser, seen, event):
    pks = [event(status).pk for status in ("pending", "sent", "dead")]
    seen(EVENTS, "events")
    seen(f"{EVENTS}{pks[2]}/change/", "event-dead")
    browser.one("button[value=retry]").click()
    browser.until("input[name=decided]")
    seen(None, "ask-retry-event")


def test_a_retry_is_clicked_through_to_its_outcome(browser, seen, travels):
    browser.open(f"{RUNS}?status=failed")
    browser.one("input[name=_selected_action]").click()
    browser.one("select[name=action] option[value=retry]").click()
    browser.one("button[name=index]").click()
    browser.until("textarea[name=reason]").send_keys("The hotel has rooms again.")
    browser.one(".submit-row input[type=submit]").click()
    said = browser.until(".messagelist li").text
    assert "Its compensation is tried again" in said
    assert browser.driver.current_url.endswith("?status=failed")
    seen(f"{RUNS}{travels[0].pk}/change/", "run-retried")
    assert "The hotel has rooms again." in browser.one(".sagaz-text").text


def test_a_signal_is_clicked_through_to_a_run_that_waits(browser, seen, make, wait, signal):
    run = make("waiting", saga_name="travel", steps=[("check-traveller", "do", "done", {}),
               ("book-flight", "do", "waiting", {}), ("check-traveller", "undo", "waiting", {})])  # fmt: skip
    wait("book-flight", "approval", key="pi_1", until=datetime(2036, 3, 1, tzinfo=UTC))
    wait("check-traveller", "", phase="undo")
    early = signal(key="pi_2").pk
    texts = seen(f"{RUNS}{run.pk}/change/", "run-waiting")
    assert any("waiting" in text["text"] for text in texts if text["class"] == "sagaz-state")
    browser.one("button[value=signal]").click()
    name = browser.until("input[name=name]")
    assert name.get_attribute("value") == "approval"
    browser.one("textarea[name=payload]").clear()
    browser.one("textarea[name=payload]").send_keys("[")
    browser.one("textarea[name=reason]").send_keys("By phone.")
    browser.one(".submit-row input[type=submit]").click()
    assert "This is no JSON" in browser.until(".errorlist").text
    seen(None, "ask-signal")
    browser.one("textarea[name=payload]").clear()
    browser.one("textarea[name=payload]").send_keys('{"approved": true}')
    browser.one(".submit-row input[type=submit]").click()
    assert "Sent." in browser.until(".messagelist li").text
    seen(None, "run-signalled")
    assert "By phone." in browser.one(".sagaz-text").text
    seen(SIGNALS, "signals")
    seen(f"{SIGNALS}{early}/change/", "signal-early")
