"""`webhook_router` in FastAPI applications: what is taken, and what is refused when the application starts."""

import asyncio
import json
import threading

import pytest
from fastapi import APIRouter, FastAPI
from sagaz.core.triggers import trigger

from fastapi_sagaz import Saga, SettingsError, action, create_lifespan, current_step, sagas_of
from fastapi_sagaz.webhooks import Delivery, Stripe, Unsigned, resumes, webhook_router

SHOP = {"shop": Unsigned(delivery_member="id")}


class WebhookOrder(Saga):
    saga_name = "webhook-order"

    @trigger(source="shop", idempotency_key="order")
    def on_order(self, event):
        return {"order": event["order"]} if "order" in event else None

    @resumes("shop", signal="paid", key="payment")
    async def on_paid(self, event):
        return {} if "payment" in event else None

    @action("pay")
    async def pay(self, ctx):
        await current_step().signal("paid", key=ctx["order"])


def application(sources=SHOP, **options) -> FastAPI:
    lifespan = create_lifespan({"STORAGE_URL": "memory://"}, sagas=[WebhookOrder])
    app = FastAPI(lifespan=lifespan)
    app.include_router(webhook_router(sources, **options))
    return app


async def test_events_start_and_resume_a_run(serve):
    app = application()
    async with serve(app) as client, asyncio.timeout(20):
        answer = await client.post("/webhooks/shop", json={"id": "1", "order": "o1"})
        assert (answer.status_code, answer.json()) == (200, {"received": True})
        assert (await client.post("/webhooks/shop", json={"id": "2", "payment": "o1"})).status_code == 200
        while [run.status for run in (await sagas_of(app).list_runs()).runs] != ["completed"]:
            await asyncio.sleep(0.01)


async def test_problems_are_documents(serve):
    async with serve(application()) as client:
        answer = await client.post("/webhooks/nobody", json={})
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
        malformed = await client.post("/webhooks/shop", content=b"{", headers={"content-type": "application/json"})
        assert malformed.status_code == 422
        assert (await client.post("/webhooks/shop", content=b" " * 1_048_577)).status_code == 413
        assert (await client.get("/webhooks/shop")).status_code == 405


class Own:
    """A sender of another kind."""

    delivery_member = event_member = None

    def verify(self, headers, body, now):
        return Delivery(dict(headers)["x-id"], None)


async def test_a_sender_may_be_of_the_applications_own_kind(serve):
    async with serve(application({"shop": Own()})) as client:
        assert (await client.post("/webhooks/shop", json={}, headers={"X-Id": "1"})).status_code == 200


async def test_of_a_body_that_is_too_large_no_more_is_read_than_tells_that(serve):
    sent = []

    async def endless():
        while True:
            sent.append(1)
            assert len(sent) < 100, "it is read to its end"
            yield b" " * 100_000

    async with serve(application()) as client:
        assert (await client.post("/webhooks/shop", content=endless())).status_code == 413


async def test_a_forged_webhook_is_refused_without_a_reason(serve):
    async with serve(application({"shop": Stripe(["whsec_0123456789abcdef0123456789"])}, prefix="/hooks")) as client:
        answer = await client.post("/hooks/shop", json={}, headers={"Stripe-Signature": "t=1,v1=00"})
    assert answer.status_code == 400
    assert set(answer.json()) == {"type", "title", "status", "correlation_id"}


async def test_a_trigger_that_is_a_plain_function_is_called_in_a_thread(serve, monkeypatch):
    threads = set()
    declared = WebhookOrder.on_order._trigger_metadata

    def on_order(self, event):
        threads.add(threading.current_thread())

    on_order._trigger_metadata = declared
    monkeypatch.setattr(WebhookOrder, "on_order", on_order)
    async with serve(application()) as client:
        assert (await client.post("/webhooks/shop", json={"id": "1"})).status_code == 200
    assert threads
    assert threading.main_thread() not in threads


@pytest.mark.parametrize(
    "sources", [{}, None, {"a/b": Unsigned()}, {"shop": Unsigned}, {"shop": "secret"}, {1: Unsigned()}]
)
def test_sources_that_are_none_are_refused(sources):
    with pytest.raises(SettingsError, match="expected"):
        webhook_router(sources)


async def test_a_source_that_no_route_takes_is_refused_at_the_start(serve):
    with pytest.raises(SettingsError, match=r"webhook-order\.on_paid is resumed by webhooks of 'shop'.*those of bank"):
        async with serve(application({"bank": Unsigned()})):
            pass


async def test_included_routers_are_searched_for_sources(serve):
    inner = APIRouter(prefix="/inner")
    inner.include_router(webhook_router(SHOP, name="shop_webhooks"))
    app = application({"bank": Unsigned()})
    app.include_router(inner)
    async with serve(app):
        pass


def test_the_openapi_document_tells_of_the_route():
    operation = application().openapi()["paths"]["/webhooks/{source}"]["post"]
    assert operation["operationId"] == "sagaz_webhooks"
    assert set(operation["responses"]) == {"200", "400", "404", "413", "415", "422", "503"}
    assert "application/json" in json.dumps(operation["requestBody"])
