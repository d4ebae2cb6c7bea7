"""A webhook's body is bounded before it is read, and is JSON that everybody reads in the same way."""

from __future__ import annotations

import json

import pytest
from signed_samples import BODY, JSON, NOW, SAMPLES, each

from sagaz_durable.redaction import masked_json, secret_keys
from sagaz_durable.webhooks.bodies import parse_event
from sagaz_durable.webhooks.errors import EventMalformed, EventNotJson, EventRefused, EventTooLarge, SignatureRefused
from sagaz_durable.webhooks.reception import receive
from sagaz_durable.webhooks.sources import Unsigned
from sagaz_integration_core.errors import InvalidInput

MOST = 10_000


def parse(body: bytes, content_type: str | None = "application/json") -> object:
    return parse_event(body, content_type, most=MOST)


def test_an_object_and_an_array_are_events():
    assert parse('{"a": [1, 2.5, null, true, "ä"]}'.encode()) == {"a": [1, 2.5, None, True, "ä"]}
    assert parse(b"[]") == []


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "APPLICATION/JSON",
        " application/json ; charset=utf-8",
        'application/json;charset="UTF-8"',
        "application/json; charset=utf8",
        "application/json; version=1",
        "application/cloudevents+json; charset=utf-8",
    ],
)
def test_json_in_utf8_is_taken_however_it_is_announced(content_type):
    assert parse(b"{}", content_type) == {}


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "text/json",
        "application/json, text/plain",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
        "application/json; charset",
        "application/json; charset=utf-8; charset=utf-7",
        f"application/{'a' * 5_000}+json",
    ],
)
def test_what_is_announced_as_anything_else_is_refused(content_type):
    with pytest.raises(EventNotJson, match=r"^expected Content-Type: application/json") as refused:
        parse(b"{}", content_type)
    assert len(str(refused.value)) < 100


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"{} {}",
        b'{"a": 1,}',
        b"{'a': 1}",
        b'"text"',
        b"42",
        b"null",
        b"true",
        b'\xef\xbb\xbf{"a": 1}',
        b'{"a": "\xff"}',
        '{"a": 1}'.encode("utf-16"),
        '{"a": 1}'.encode("utf-32-le"),
        b'{"a": "\x00"}',
        b'{"a": "line\nbreak"}',
        b'{"a": ' + b"9" * 5_000 + b"}",
    ],
)
def test_what_is_no_json_object_or_array_in_utf8_is_refused(body):
    with pytest.raises(EventMalformed, match=r"^the body "):
        parse(body)


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999"])
def test_a_number_that_is_not_finite_is_refused(number):
    with pytest.raises(EventMalformed, match="has a number that is not finite"):
        parse(b'{"amount": [' + number + b"]}")


@pytest.mark.parametrize("body", [b'{"a": 1, "a": 1}', b'{"a": 1, "\\u0061": 2}', b'{"x": [{"a": 1, "b": 2, "a": 3}]}'])
def test_a_member_that_is_there_twice_is_refused_at_any_depth(body):
    with pytest.raises(EventMalformed, match="a member twice"):
        parse(body)


def test_a_body_may_have_as_many_bytes_as_are_allowed_and_not_one_more():
    body = json.dumps({"text": "ä" * 100}, ensure_ascii=False).encode()
    assert parse_event(body, "application/json", most=len(body))
    with pytest.raises(EventTooLarge, match=f"^the body has more than {len(body) - 1} bytes$"):
        parse_event(body, "application/json", most=len(body) - 1)


def test_a_body_may_nest_64_levels_and_not_one_more():
    assert parse(b"[" * 64 + b"]" * 64)
    assert parse(b"[[]," + b"[" * 63 + b"]" * 64)
    assert parse(b'{"a":' * 63 + b"[]" + b"}" * 63)
    assert parse(json.dumps({"text": "[{" * 500}).encode())
    assert parse(json.dumps([[]] * 500).encode())
    for body in (b"[" * 65 + b"]" * 65, b'{"a":' * 64 + b"[]" + b"}" * 64, b"[" * MOST):
        with pytest.raises(EventMalformed, match="nests more than 64 levels deep"):
            parse(body)


@pytest.mark.parametrize(
    "body", [b'"' * 1_000_000, b'"\\' * 500_000, b"[" * 1_000_000, b'{"":' * 250_000, b"[]" * 500_000]
)
def test_no_body_takes_for_ever_to_refuse(body):
    with pytest.raises(EventMalformed):
        parse_event(body, "application/json", most=len(body))


@pytest.mark.parametrize(
    "body",
    [b'{"password": "hunter2",}', b"hunter2", b'{"hunter2": 1, "hunter2": 2}', b'{"hunter2": NaN}', b'"hunter2"'],
)
def test_a_refusal_repeats_nothing_of_the_body_and_is_the_clients_fault(body):
    with pytest.raises(EventRefused) as refused:
        parse(body)
    assert isinstance(refused.value, InvalidInput)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_what_is_shown_of_an_event_is_masked_as_contexts_are():
    event = {"type": "order.paid", "data": {"card_number": "4111", "iban": "DE00", "customer_note": "hi", "amount": 4}}
    parse(json.dumps(event).encode())
    shown = json.loads(masked_json(json.dumps(event), secret_keys(["customer_*"])))
    assert shown["data"] == {"card_number": "***", "iban": "***", "customer_note": "***", "amount": 4}


@each
def test_an_event_is_named_by_its_headers_or_by_itself(sample):
    received = receive(sample.source, {**sample.headers(), **JSON}, BODY, NOW, most=MOST)
    named = {"standard": ("msg_1", "order.paid"), "public": ("msg_1", "order.paid"), "stripe": ("evt_1", "order.paid"),
             "github": ("72d3162e-cc78", "issues"), "slack": ("evt_1", "order.paid"),
             "shopify": ("98880550", "orders/paid"), "all": ("d-1", None)}  # fmt: skip
    assert (received.delivery_id, received.event_type) == named[sample.name]
    assert received.event == json.loads(BODY)
    assert "42" not in repr(received)


@each
def test_a_forged_webhook_is_refused_before_anything_is_read_of_it(sample):
    with pytest.raises(SignatureRefused):
        receive(sample.source, sample.headers(), b"no JSON, and of no type", NOW, most=MOST)


@each
def test_a_body_that_is_too_large_is_refused_before_it_is_hashed(sample):
    with pytest.raises(EventTooLarge):
        receive(sample.source, {**sample.headers(b"another body"), **JSON}, BODY, NOW, most=len(BODY) - 1)


def test_a_signed_body_that_is_no_event_is_refused_as_such():
    sample = SAMPLES[0]
    with pytest.raises(EventMalformed):
        receive(sample.source, {**sample.headers(b"{"), **JSON}, b"{", NOW, most=MOST)
    with pytest.raises(EventNotJson):
        receive(sample.source, sample.headers(), BODY, NOW, most=MOST)


@pytest.mark.parametrize(
    ("event", "delivery_id", "event_type"),
    [
        ({"id": "e", "type": "t"}, "e", "t"),
        ({"id": 7, "type": 8}, "7", "8"),
        ({"id": 2**200, "type": None}, str(2**200), None),
        ({}, None, None),
        ({"id": None, "type": {"a": 1}}, None, None),
        ({"id": "ä" * 200, "type": "t" * 201}, "ä" * 200, None),
        ([{"id": "e"}], None, None),
    ],
)
def test_ids_and_types_are_texts_or_whole_numbers(event, delivery_id, event_type):
    source = Unsigned(delivery_member="id", event_member="type")
    received = receive(source, JSON, json.dumps(event).encode(), NOW, most=MOST)
    assert (received.delivery_id, received.event_type) == (delivery_id, event_type)


@pytest.mark.parametrize("delivery_id", ["", "i" * 201, "a\nb", "\u202e", "\x00", "\ud800", {}, [], True, 1.5, 10**200])
def test_an_id_that_cannot_be_kept_is_refused_instead_of_being_left_out(delivery_id):
    body = json.dumps({"id": delivery_id}).encode()
    with pytest.raises(EventMalformed, match=r"^the event's id is no text of 1 to 200 printable characters$"):
        receive(Unsigned(delivery_member="id"), JSON, body, NOW, most=MOST)
