"""Workers forget webhooks whose time is over, and whatever is delivered is answered."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from webhook_shop import SOURCES, Mail, Order

from sagaz_durable import Saga, action
from sagaz_durable.http.messages import HttpRequest
from sagaz_durable.intake.api import WebhookApi
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.settings.settings import Settings
from sagaz_durable.workers.erasing import erase_outdated

ORDERED = {"id": "evt_1", "type": "ordered", "order": "o1"}


class Plain(Saga):
    saga_name = "plain"

    @action("go")
    async def go(self, ctx):
        return None


async def test_workers_forget_events_whose_time_is_over(shop):
    await shop.deliver(ORDERED)
    await shop.deliver({"id": "evt_2", "type": "weather"})
    await shop.deliver({"id": "evt_3", "type": "broken", "order": "o2"})
    environment = shop.runtime.runs.environment
    await erase_outdated(environment)
    assert len(await shop.events()) == 3
    environment.settings = replace(environment.settings, keep_ignored_webhooks_seconds=0)
    await erase_outdated(environment)
    assert sorted(event.outcome for event in await shop.events()) == ["quarantined", "started"]
    environment.settings = replace(environment.settings, keep_webhooks_seconds=0)
    await erase_outdated(environment)
    assert [event.outcome for event in await shop.events()] == ["quarantined"]


async def test_a_worker_whose_sagas_want_no_events_asks_nothing_about_them(shop, monkeypatch):
    async def unasked(*_):
        raise AssertionError("asked")

    monkeypatch.setattr(shop.store, "prune_webhooks", unasked)
    environment = shop.runtime.runs.environment
    registry = SagazRuntime(Settings(storage_url="memory://"), sagas=[Plain]).registry
    monkeypatch.setattr(environment, "registry", registry)
    await erase_outdated(environment)


_TEXT = st.text(max_size=30)
_NAMES = st.sampled_from(["stripe-signature", "x-correlation-id", "webhook-id"]) | _TEXT
_EVENTS = [
    '{"type": "ordered", "id": "a", "order": "\\ud800"}',
    '{"type": "ordered", "order": {"a": "\\u0000"}}',
    '{"id": {}, "type": []}',
    "[]",
    "{}",
    "1e999",
]
_BODIES = st.binary(max_size=100) | st.sampled_from(_EVENTS).map(str.encode)


@pytest.mark.parametrize("source", ["shop", "stripe", "nobody"])
def test_whatever_is_delivered_is_answered_with_no_error_of_the_server(source):
    async def answer(examples):
        runtime = SagazRuntime(Settings(storage_url="memory://"), sagas=[Order, Mail])
        await runtime.open()
        api = WebhookApi(runtime, SOURCES, lambda method: method)
        for headers, body in examples:
            asked = HttpRequest("POST", "/", "", (("Content-Type", "application/json"), *headers), body)
            assert (await api.receive(asked, source)).status in (200, 400, 404, 422)
        await runtime.close()

    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(st.lists(st.tuples(_NAMES, _TEXT), max_size=2), _BODIES), max_size=10))
    def check(examples):
        asyncio.run(answer(examples))

    check()
