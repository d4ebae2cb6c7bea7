"""What becomes of events: runs that start, runs that go on, and what is kept for people."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from webhook_shop import SECRET

from sagaz_durable.engine.registry import SagaRegistry
from sagaz_durable.intake.handlers import Handler, NotUsable
from sagaz_durable.sagas import Sagas
from sagaz_durable.webhooks.resuming import MARK, Resuming
from sagaz_integration_core.contract.webhooks import SENT_OTHERWISE, STARTED_OTHERWISE, TOLD_OTHERWISE
from sagaz_integration_core.errors import StoreUnavailable, UnstorableValue, WriteRefused

ORDERED = {"id": "evt_1", "type": "ordered", "order": "o1"}
PAID = {"id": "evt_2", "type": "paid", "payment": "o1", "amount": 42}


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    """Return Stripe's header for a body."""
    now = int(time.time())
    digest = hmac.new(secret.encode(), f"{now}.".encode() + body, hashlib.sha256).hexdigest()
    return {"Stripe-Signature": f"t={now},v1={digest}"}


async def test_an_event_starts_the_saga_whose_trigger_wants_it(shop):
    assert await shop.deliver(ORDERED) == 200
    event = await shop.event()
    assert (event.source, event.delivery_id, event.event_type, event.handler, event.outcome) == (
        "shop", "evt_1", "ordered", "order.on_order", "started",
    )  # fmt: skip
    assert json.loads(event.body) == ORDERED
    assert (await shop.until(event.saga_id, "waiting"))["order"] == "o1"


async def test_an_event_resumes_the_run_that_waits_under_its_key(shop):
    await shop.deliver(ORDERED)
    saga_id = (await shop.event()).saga_id
    await shop.until(saga_id, "waiting")
    assert await shop.deliver(PAID) == 200
    assert (await shop.until(saga_id, "completed"))["paid"] == 42
    [event] = await shop.events(outcome="resumed")
    assert (event.handler, event.signal, event.key, event.saga_id) == ("order.on_paid", "paid", "o1", None)


async def test_an_event_before_anybody_waits_for_it_is_taken_later(shop):
    assert await shop.deliver(PAID) == 200
    assert (await shop.event()).outcome == "early"
    await shop.deliver(ORDERED)
    [event] = await shop.events(outcome="started")
    assert (await shop.until(event.saga_id, "completed"))["paid"] == 42


async def test_an_event_may_name_the_run_that_it_resumes(shop):
    await shop.deliver(ORDERED)
    saga_id = (await shop.event()).saga_id
    await shop.until(saga_id, "waiting")
    await shop.deliver({"id": "evt_9", "type": "refunded", "saga": saga_id})
    [event] = await shop.events(outcome="resumed")
    assert (event.saga_id, event.key) == (saga_id, None)
    assert (await shop.until(saga_id, "completed"))["paid"] == 0


@pytest.mark.parametrize("redelivered", [ORDERED, {**ORDERED, "attempt": 2}, {**ORDERED, "id": "evt_7"}])
async def test_a_repeated_event_or_key_starts_no_second_run(shop, redelivered):
    await shop.deliver(ORDERED)
    saga_id = (await shop.event()).saga_id
    await shop.deliver(PAID)
    await shop.until(saga_id, "completed")
    await shop.store.prune(datetime.now(UTC) + timedelta(days=1), ("completed",), 10)
    assert await shop.deliver(redelivered) == 200
    assert {event.saga_id for event in await shop.events(outcome="started")} == {saga_id}
    assert await shop.store.load(saga_id) is None


async def test_a_trigger_without_a_key_starts_one_run_for_each_event_and_trigger(shop):
    for delivery in ("evt_1", "evt_1", "evt_2"):
        assert await shop.deliver({"id": delivery, "type": "mailed", "order": "o1"}) == 200
    events = await shop.events()
    assert sorted(event.handler for event in events) == ["mail.on_mailed_too"] * 2 + ["mail.on_order"] * 2
    assert len({event.saga_id for event in events}) == 4
    [later, _] = [event.saga_id for event in events if event.handler == "mail.on_mailed_too"]
    assert (await shop.until(later, "completed"))["order"] == "o1", "what one trigger changes, another does not see"


async def test_an_event_without_an_id_is_known_by_its_body(shop):
    for _ in range(2):
        assert await shop.deliver({"type": "mailed", "order": "o1"}) == 200
    await shop.deliver({"type": "mailed", "order": "o2"})
    assert len(await shop.events()) == 4
    assert all(event.delivery_id.startswith("sha256:") for event in await shop.events())


@pytest.mark.parametrize(
    ("changed", "outcome"),
    [
        ({**ORDERED, "order": "o2"}, TOLD_OTHERWISE),
        ({**ORDERED, "type": "paid", "payment": "o1", "amount": 1}, TOLD_OTHERWISE),
    ],
)
async def test_the_same_event_with_another_meaning_is_quarantined(shop, caplog, changed, outcome):
    await shop.deliver(ORDERED)
    assert await shop.deliver(changed) == 200
    [event] = await shop.events(outcome="quarantined")
    assert event.reason == outcome
    assert len(await shop.events()) == 2
    assert f"quarantined as {event.id}" in caplog.text


async def test_another_event_of_a_known_key_with_another_context_is_quarantined(shop):
    await shop.deliver({**ORDERED, "id": "evt_8"})
    first = await shop.event()
    order_class = shop.runtime.registry.get("order").saga_class
    original = order_class.on_order
    try:
        order_class.on_order = lambda self, event: {"order": event["order"], "more": 1}
        order_class.on_order._trigger_metadata = original._trigger_metadata
        assert await shop.deliver(ORDERED) == 200
    finally:
        order_class.on_order = original
    [event] = await shop.events(outcome="quarantined")
    assert (event.reason, event.saga_id) == (STARTED_OTHERWISE, first.saga_id)


async def test_a_signal_that_contradicts_an_earlier_one_is_quarantined(shop):
    await Sagas(shop.runtime).send_signal("paid", {"amount": 1}, key="o1", signal_id="evt_2")
    assert await shop.deliver(PAID) == 200
    assert (await shop.event()).reason == SENT_OTHERWISE


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({**ORDERED, "type": "broken"}, "order.on_order raised ValueError: no such product"),
        ({"id": "evt_1"}, "order.on_order raised KeyError: 'type'"),
        ({**ORDERED, "type": "no dict"}, "order.on_order returned [1]; expected a dict or a model, or None"),
        ({"id": "1", "type": "ordered", "order": None}, "order.on_order: the event has no idempotency key"),
        ({"id": "1", "type": "paid", "amount": 1}, "order.on_paid: the event has no key in its member 'payment'"),
        ({"id": "1", "type": "refunded"}, "order.on_refund: saga_id raised KeyError: 'saga'"),
        ({**ORDERED, "type": "strange"}, "order.on_order: "),
        ([1], "order.on_order raised TypeError"),
    ],
)
async def test_an_event_that_a_saga_cannot_use_is_acknowledged_and_quarantined(shop, event, reason):
    assert await shop.deliver(event) == 200
    quarantined = await shop.events(outcome="quarantined")
    assert [event.reason for event in quarantined if event.reason.startswith(reason)]
    assert {event.saga_id for event in quarantined} == {None}


@pytest.mark.parametrize("address", [["a"], {"a": 1}, {}, True, False, 1.0, 1.5])
@pytest.mark.parametrize(
    ("event", "what"),
    [
        ({"type": "ordered", "order": ...}, "order.on_order: the event's idempotency key"),
        ({"type": "paid", "payment": ..., "amount": 1}, "order.on_paid: the event's key"),
        ({"type": "refunded", "saga": ...}, "order.on_refund: the event's saga_id"),
    ],
)
async def test_only_texts_and_whole_numbers_are_addresses(shop, event, what, address):
    given = {key: address if value is ... else value for key, value in event.items()}
    assert await shop.deliver({"id": "1", **given}) == 200
    expected = f"{what} is a {type(address).__name__}; expected a text or a whole number"
    assert ((await shop.event()).outcome, (await shop.event()).reason) == ("quarantined", expected)


async def test_a_whole_number_is_the_same_key_as_its_text(shop):
    for delivery, order in (("1", 0), ("2", "0")):
        await shop.deliver({"id": delivery, "type": "paid", "payment": order, "amount": 1})
    assert [event.key for event in await shop.events()] == ["0", "0"]


async def test_a_key_of_too_many_digits_is_quarantined(shop):
    registration = shop.runtime.registry.get("order")
    handler = Handler(registration, "on_paid", Resuming("shop", "paid", None, lambda event: 10**5_000))
    with pytest.raises(NotUsable, match=r"order\.on_paid: the event's saga_id is a number of too many digits"):
        handler.address("saga_id", handler.declared.saga_id, {})


async def test_an_event_that_no_saga_wants_is_kept(shop):
    assert await shop.deliver({"id": "evt_1", "type": "weather"}) == 200
    event = await shop.event()
    assert (event.outcome, event.handler, event.saga_id, event.signal) == ("ignored", "", None, None)


async def test_an_event_that_came_before_its_saga_starts_it_when_it_is_delivered_again(shop, monkeypatch):
    registry = shop.runtime.registry
    monkeypatch.setattr(shop.runtime, "registry", SagaRegistry())
    assert await shop.deliver(ORDERED) == 200
    monkeypatch.setattr(shop.runtime, "registry", registry)
    assert await shop.deliver(ORDERED) == 200
    assert sorted(event.outcome for event in await shop.events()) == ["ignored", "started"]


class Strange(BaseException):
    """What no handler of Exception sees."""


@pytest.fixture
def on_paid(shop, monkeypatch):
    """Have another function map the event of a payment."""

    def replaced(function):
        order = shop.runtime.registry.get("order").saga_class
        setattr(function, MARK, getattr(order.on_paid, MARK))
        monkeypatch.setattr(order, "on_paid", function)

    return replaced


@pytest.mark.parametrize("raised", [asyncio.CancelledError, Strange])
@pytest.mark.parametrize("is_async", [True, False])
async def test_whatever_a_saga_raises_at_an_event_quarantines_it(shop, on_paid, raised, is_async):
    async def later(self, event):
        raise raised

    def now(self, event):
        raise raised

    on_paid(later if is_async else now)
    assert await shop.deliver(PAID) == 200
    [event] = await shop.events(outcome="quarantined")
    assert event.reason.startswith(f"order.on_paid raised {raised.__name__}")


async def test_a_request_that_is_cancelled_records_nothing_and_ends(shop, on_paid):
    reached = asyncio.Event()

    async def stays(self, event):
        reached.set()
        await asyncio.Event().wait()

    on_paid(stays)
    request = asyncio.create_task(shop.deliver(PAID))
    await reached.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert await shop.events() == []


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit])
async def test_the_end_of_the_process_is_nothing_that_an_event_means(shop, raised):
    def place(event):
        raise raised

    handler = Handler(shop.runtime.registry.get("order"), "on_paid", Resuming("shop", "paid", place, None))
    with pytest.raises(raised):
        handler.address("key", place, {})


async def test_a_plain_function_that_exits_in_a_thread_ends_no_server_and_is_told_as_what_it_raised(shop, on_paid):
    def exits(self, event):
        raise SystemExit(3)

    on_paid(exits)
    handler = Handler(shop.runtime.registry.get("order"), "on_paid", Resuming("shop", "paid", "key", None))
    with pytest.raises(NotUsable, match=r"order\.on_paid raised SystemExit"):
        await handler.meaning(PAID, lambda function: partial(asyncio.to_thread, function))


def test_without_an_event_loop_nobody_cancels_a_request(monkeypatch):
    def place(event):
        raise asyncio.CancelledError

    monkeypatch.setattr(Handler, "name", "order.on_paid")
    with pytest.raises(NotUsable, match=r"order\.on_paid: key raised CancelledError"):
        Handler(None, "on_paid", Resuming("shop", "paid", place, None)).address("key", place, {})


async def test_a_value_that_the_database_cannot_store_quarantines_the_event(shop, monkeypatch):
    receive = shop.store.receive_webhook

    async def cannot(events):
        if any(event.run is not None for event in events):
            raise UnstorableValue("no emoji here")
        return await receive(events)

    monkeypatch.setattr(shop.store, "receive_webhook", cannot)
    assert await shop.deliver(ORDERED) == 200
    event = await shop.event()
    assert (event.outcome, event.reason) == ("quarantined", "order.on_order: UnstorableValue: no emoji here")


async def test_a_forged_event_is_refused_without_a_reason_and_told_in_the_log(shop, caplog):
    body = json.dumps(ORDERED).encode()
    assert await shop.deliver(body, "stripe", signed(body)) == 200
    assert await shop.deliver(body, "stripe", signed(body, "whsec_another")) == 400
    assert "A webhook of source 'stripe' was refused" in caplog.text
    assert len(await shop.events()) == 1


async def test_answers_tell_senders_what_to_do(shop, monkeypatch):
    assert await shop.deliver(ORDERED, "nobody") == 404
    assert await shop.deliver(b"{" + b" " * 5_000) == 413
    assert await shop.deliver(b"{}", headers={"content-type": "text/plain"}) == 415
    assert await shop.deliver(b"{") == 422

    async def unavailable(events):
        raise StoreUnavailable("it is away")

    monkeypatch.setattr(shop.store, "receive_webhook", unavailable)
    assert await shop.deliver(ORDERED) == 503
    assert await shop.events() == []


async def test_what_the_database_refuses_to_record_is_to_be_repeated_and_told_in_the_log(shop, monkeypatch, caplog):
    async def refuse(events):
        raise WriteRefused("a trigger says no")

    with monkeypatch.context() as patched:
        patched.setattr(shop.store, "receive_webhook", refuse)
        answer = await shop.answer(ORDERED)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert b"a trigger says no" not in answer.body
    [record] = [one for one in caplog.records if one.levelname == "ERROR"]
    assert record.getMessage().endswith("'shop' was not recorded, and its sender is to repeat it: a trigger says no")
    assert await shop.deliver(ORDERED) == 200


async def test_run_and_event_have_the_requests_correlation_id(shop):
    assert await shop.deliver(ORDERED, headers={"X-Correlation-ID": "c-1"}) == 200
    event = await shop.event()
    assert (event.correlation_id, (await shop.store.load(event.saga_id)).correlation_id) == ("c-1", "c-1")


async def test_texts_of_senders_are_kept_in_ascii(shop):
    assert await shop.deliver({"id": "évt", "type": "é", "order": "☃"}) == 200
    event = await shop.event()
    assert (event.delivery_id, event.event_type) == ("\\xe9vt", "\\xe9")
    assert event.body.isascii()
    assert len(await shop.events()) == 1
    await shop.deliver({"id": "é" * 100, "type": "x"})
    assert (await shop.events())[0].delivery_id.startswith("sha256:")
