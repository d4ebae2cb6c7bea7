"""The address of webhooks in Django projects: what is taken, in which transaction, and what Django's own checks say."""

from __future__ import annotations

import asyncio
import io
import json

import pytest
from asgiref.sync import async_to_sync
from django.db import connections
from django.test import AsyncClient, Client
from django.urls import include, path
from places import on, worked
from testproject.shop import sagas

from django_sagaz import SettingsError, close
from django_sagaz.checks import check_sagas
from django_sagaz.models import Run, Webhook
from django_sagaz.webhooks import Delivery, Stripe, Unsigned, webhook_urls

SHOP = {"shop": Unsigned(delivery_member="id", event_member="type")}
CSRF = "django.middleware.csrf.CsrfViewMiddleware"


async def _deliver(*given):
    async with asyncio.timeout(60):
        return await AsyncClient(enforce_csrf_checks=True).generic(*given)


@pytest.fixture(params=["sync", "async"])
def deliver(request, home, settings):
    """Include the address, and return what delivers an event to it."""
    asynchronous = request.param == "async"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, CSRF]
    settings.ROOT_URLCONF = (path("webhooks/", include(webhook_urls(SHOP, asynchronous=asynchronous))),)
    settings.SAGAZ = {**settings.SAGAZ, "MAX_WEBHOOK_BYTES": 4_096}

    def deliver(event, source="shop"):
        body = event if isinstance(event, bytes) else json.dumps({"db": home, **event}).encode()
        given = ("POST", f"/webhooks/{source}", body, "application/json")
        if asynchronous:
            return async_to_sync(_deliver)(*given)
        return Client(enforce_csrf_checks=True).generic(*given)

    yield deliver
    close()


@on()
def test_events_start_and_resume_a_run(deliver, home):
    answer = deliver({"id": "1", "type": "ordered", "order": "o1"})
    assert (answer.status_code, answer.json()) == (200, {"received": True})
    worked()
    assert deliver({"id": "2", "type": "paid", "order": "o1", "amount": 42}).status_code == 200
    worked()
    assert Run.objects.using(home).get().status == "completed"
    outcomes = Webhook.objects.using(home).order_by("received_at").values_list("handler", "outcome")
    assert list(outcomes) == [("webhook.on_order", "started"), ("webhook.on_paid", "resumed")]


@on()
def test_a_repeated_event_starts_no_second_run(deliver, home):
    for delivery in ("1", "1", "2"):
        assert deliver({"id": delivery, "type": "ordered", "order": "o1"}).status_code == 200
    assert Run.objects.using(home).count() == 1
    assert Webhook.objects.using(home).filter(outcome="started").count() == 2


@on("default", "pg")
def test_an_event_that_no_saga_wants_is_kept(deliver, home):
    assert deliver({"id": "1", "type": "weather"}).status_code == 200
    assert Webhook.objects.using(home).get().outcome == "ignored"


@on("default", "pg")
def test_what_a_triggers_own_statement_breaks_is_quarantined_with_atomic_requests_too(deliver, home, monkeypatch):
    monkeypatch.setitem(connections.settings[home], "ATOMIC_REQUESTS", True)
    monkeypatch.setitem(connections[home].settings_dict, "ATOMIC_REQUESTS", True)
    assert deliver({"id": "1", "type": "ordered"}).status_code == 200
    assert Webhook.objects.using(home).get().reason == "webhook.on_order raised KeyError: 'order'"


@on("default")
def test_a_trigger_that_raises_stop_iteration_is_answered_and_quarantined(deliver, home, monkeypatch):
    class Nothing:
        @property
        def objects(self):
            return next(iter(()))

    monkeypatch.setattr(sagas, "Order", Nothing())
    assert deliver({"id": "1", "type": "ordered", "order": "o1"}).status_code == 200
    event = Webhook.objects.using(home).get()
    assert event.outcome == "quarantined"
    assert "StopIteration" in event.reason


@on("default")
def test_problems_are_documents(deliver, home):
    answer = deliver({}, "nobody")
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")
    assert deliver(b"{").status_code == 422
    assert deliver(b" " * 5_000).status_code == 413


@on("default")
def test_a_body_beyond_the_projects_own_limit_is_a_problem(deliver, home, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    answer = deliver({"id": "1", "type": "weather"})
    assert (answer.status_code, answer.json()["type"].rpartition("#")[2]) == (413, "body-too-large")


class Broken(io.BytesIO):
    def read(self, size=-1):
        raise ValueError("invalid chunk size")


@on("default")
@pytest.mark.parametrize(
    ("body", "terminated", "answered"),
    [
        (io.BytesIO(b'{"id": "1", "type": "weather"}'), True, 200),
        (io.BytesIO(b" " * 5_000), True, 413),
        (Broken(), True, 400),
        (io.BytesIO(b"{}"), False, 411),
    ],
)
def test_bodies_in_chunks_are_read_where_the_server_tells_their_end(home, settings, body, terminated, answered):
    settings.ROOT_URLCONF = (path("webhooks/", include(webhook_urls(SHOP))),)
    settings.SAGAZ = {**settings.SAGAZ, "MAX_WEBHOOK_BYTES": 4_096}
    body.seek(0)
    served = {"wsgi.input": body, "wsgi.input_terminated": terminated, "HTTP_TRANSFER_ENCODING": "chunked"}
    served |= {"CONTENT_LENGTH": "", "CONTENT_TYPE": "application/json"}
    answer = Client().generic("POST", "/webhooks/shop", b"", "application/json", **served)
    assert answer.status_code == answered
    assert Webhook.objects.using(home).count() == (answered == 200)
    close()


class Own:
    """A sender of another kind."""

    delivery_member = event_member = None

    def verify(self, headers, body, now):
        return Delivery(dict(headers)["X-Id"], None)


@on("default")
def test_a_sender_may_be_of_the_projects_own_kind(home, settings):
    settings.ROOT_URLCONF = (path("webhooks/", include(webhook_urls({"own": Own()}))),)
    assert Client().post("/webhooks/own", "{}", "application/json", headers={"X-Id": "1"}).status_code == 200
    assert Webhook.objects.using(home).get().delivery_id == "1"
    close()


@on("default")
def test_only_posts_are_taken(home, settings):
    settings.ROOT_URLCONF = (path("webhooks/", include(webhook_urls(SHOP))),)
    assert Client().get("/webhooks/shop").status_code == 405
    close()


@on("default")
def test_a_forged_webhook_is_refused(home, settings):
    stripe = {"stripe": Stripe(["whsec_0123456789abcdef0123456789"])}
    settings.ROOT_URLCONF = (path("webhooks/", include(webhook_urls(stripe))),)
    answer = Client().post("/webhooks/stripe", "{}", "application/json", headers={"Stripe-Signature": "t=1,v1=0"})
    assert answer.status_code == 400
    close()


@on("default")
def test_the_check_names_a_saga_whose_webhooks_nobody_takes(home, settings):
    settings.ROOT_URLCONF = (path("hooks/", include(webhook_urls({"bank": Unsigned()}))),)
    [error] = check_sagas(None)
    assert error.id == "sagaz.E006"
    assert "webhook.on_paid is resumed by webhooks of 'shop'" in error.msg
    settings.ROOT_URLCONF = (path("hooks/", include(webhook_urls(SHOP))),)
    assert check_sagas(None) == []
    settings.ROOT_URLCONF = ()
    assert check_sagas(None) == []


@pytest.mark.parametrize("sources", [{}, {"shop": "secret"}])
def test_sources_that_are_none_are_refused(sources):
    with pytest.raises(SettingsError, match="expected"):
        webhook_urls(sources)
