"""The command for events: who waits, who was set aside, and their second chance."""

from __future__ import annotations

import json
import logging

import pytest

from sagaz_durable.cli.events import EventsRequest, answer
from sagaz_durable.problem_types import EVENT_NOT_SET_ASIDE
from sagaz_integration_core.contract.events import EventOutcome, NewEvent
from sagaz_integration_core.errors import SettingsError


def event(name, topic="orders", **payload):
    return NewEvent(name, f"key-{name}", topic, json.dumps(payload), "{}")


@pytest.fixture
async def store(runtime):
    """One event sent, one pending, two set aside."""
    store = runtime.store
    await store.insert_events([event("sent"), event("a", card_number="4111", n=1), event("b", topic="payments")])
    due = {found.event_id: found.id for found in await store.due_events(10, 30)}
    await store.settle_events(
        [
            EventOutcome(due["sent"], "sent"),
            EventOutcome(due["a"], "dead", "ValueError: too long", charged=True),
            EventOutcome(due["b"], "dead", "ValueError: too large", charged=True),
        ]
    )
    await store.insert_events([event("waits")])
    return store


async def listed(store, **request):
    said = await answer(store, EventsRequest(**request, output="json"))
    assert said.done
    return [row["event_id"] for row in json.loads(said.text)]


async def test_it_lists_what_waits_and_what_was_set_aside_the_oldest_first(store):
    assert await listed(store) == ["a", "b", "waits"]
    assert await listed(store, statuses=("dead",)) == ["a", "b"]
    assert await listed(store, statuses=("sent",)) == ["sent"]
    assert await listed(store, topic="payments") == ["b"]
    assert await listed(store, key="key-waits") == ["waits"]
    assert await listed(store, event_ids=["sent", "a"]) == ["sent", "a"]


async def test_people_read_why_and_how_many_more_there_are(store):
    text = (await answer(store, EventsRequest(limit=2))).text
    lines = text.splitlines()
    assert lines[0].endswith("dead     a  orders  of key-a  1 attempts: ValueError: too long")
    assert lines[2] == "… and 1 more; see --limit."
    assert (await answer(store, EventsRequest(topic="none"))).text == "No events."


async def test_payloads_are_shown_when_asked_for_with_secrets_masked(store):
    shown = await answer(store, EventsRequest(event_ids=["a"], payload=True))
    assert '"card_number": "***"' in shown.text
    assert "4111" not in shown.text
    (row,) = json.loads((await answer(store, EventsRequest(event_ids=["a"], payload=True, output="json"))).text)
    assert row["payload"] == {"card_number": "***", "n": 1}
    (row,) = json.loads((await answer(store, EventsRequest(event_ids=["a"], output="json"))).text)
    assert "payload" not in row
    assert "headers" not in row


@pytest.mark.parametrize("output", ["text", "json"])
async def test_the_setting_says_which_other_values_of_payloads_and_headers_are_masked(runtime, output):
    payload = {"customer": [{"customer_name": "Ann", "card_number": "4111"}], "token_count": 3}
    await runtime.store.insert_events([NewEvent("a", "key", "orders", json.dumps(payload), '{"passport": "C01X"}')])
    request = EventsRequest(payload=True, output=output)
    said = await answer(runtime.store, request, redact_keys=("customer_*", "passport", "!token_count"))
    assert '"token_count": 3' in said.text
    assert said.text.count('"***"') == 3
    for secret in ("Ann", "4111", "C01X"):
        assert secret not in said.text
    assert "Ann" in (await answer(runtime.store, request)).text


async def test_the_named_ones_are_retried_and_the_others_refused(store, caplog):
    caplog.set_level(logging.INFO)
    said = await answer(store, EventsRequest(event_ids=["a", "waits", "none"], retry=True, by="ann", output="json"))
    told = {"retried": ["a"], "refused": ["waits", "none"], "dry_run": False, "type": EVENT_NOT_SET_ASIDE.address}
    assert json.loads(said.text) == told
    assert not said.done
    assert [found.event_id for found in await store.due_events(10, 30)] == ["waits", "a"]
    assert "Event a, which was set aside, is published again at the word of ann." in caplog.text


async def test_all_that_match_are_retried(store):
    said = await answer(store, EventsRequest(retry=True, every=True, topic="payments"))
    assert (said.text, said.done) == ("b  is due again", True)
    assert (await answer(store, EventsRequest(retry=True, every=True))).text == "a  is due again"
    assert (await answer(store, EventsRequest(retry=True, every=True))).text == "No events were set aside."


async def test_a_dry_run_does_nothing(store):
    said = await answer(store, EventsRequest(retry=True, every=True, dry_run=True))
    assert said.text == "a  would be published again\nb  would be published again"
    assert await listed(store, statuses=("dead",)) == ["a", "b"]


@pytest.mark.parametrize(
    ("request_", "match"),
    [
        (EventsRequest(retry=True), "one of the two"),
        (EventsRequest(["a"], retry=True, every=True), "one of the two"),
        (EventsRequest(["a"], retry=True, topic="t"), "leave them out, or say --all"),
        (EventsRequest(retry=True, every=True, statuses=("pending",)), "leave out --status"),
        (EventsRequest(retry=True, every=True, limit=50), "--limit is about events that are listed"),
        (EventsRequest(["a"], retry=True, payload=True), "--payload is about events that are listed"),
        (EventsRequest(every=True), "add --retry"),
        (EventsRequest(dry_run=True), "add --retry"),
    ],
)
async def test_what_contradicts_itself_is_refused(store, request_, match):
    with pytest.raises(SettingsError, match=match):
        await answer(store, request_)
