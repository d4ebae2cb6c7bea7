"""Whatever anybody sends, a webhook is refused as such: nothing else comes out, and nothing of it is repeated."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from signed_samples import BODY, JSON, NOW, SAMPLES, SECRET, SENT_AT, digest, each, with_public_keys

from sagaz_durable.webhooks.errors import EventRefused, SignatureRefused
from sagaz_durable.webhooks.reception import receive
from sagaz_durable.webhooks.sources import Delivery, GitHub, Hmac, StandardWebhooks, Unsigned

hostile = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

VALUES = st.one_of(
    st.text(max_size=200),
    st.text("0123456789abcdef=,. tv1wh_sec", max_size=200),
    st.sampled_from(["t=1,v1=", f"t={SENT_AT}", "v1,", "v1,====", "v1", ",", "sha256=", "sha256=é", "\udcff", "\x00"]),
    st.integers().map(str),
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def refusal(call: Callable[..., object], *arguments: object, **named: object) -> str:
    """Return what is said of a webhook that is refused; empty if it is taken. Anything else fails the test."""
    try:
        call(*arguments, **named)
    except (SignatureRefused, EventRefused) as refused:
        return str(refused)
    return ""


@each
@hostile
@given(data=st.data())
def test_no_header_makes_anything_but_a_refusal(sample, data):
    headers = dict(sample.headers())
    for name in data.draw(st.lists(st.sampled_from(sorted(headers)), min_size=1, unique=True)):
        headers[name] = data.draw(VALUES)
    said = refusal(sample.source.verify, headers, BODY, NOW)
    assert said.isprintable()
    assert len(said) < 200
    # GitHub's id and type are not signed, and neither are Shopify's.
    assert said or sample.name in ("github", "shopify") or headers == sample.headers()


@each
@hostile
@given(body=st.binary(max_size=300))
def test_no_body_of_a_stranger_makes_anything_but_a_refusal(sample, body):
    with pytest.raises(SignatureRefused):
        receive(sample.source, {**sample.headers(), **JSON}, body + b"!", NOW, most=1_000)


@hostile
@given(body=st.binary(max_size=300) | JSON_VALUES.map(repr).map(lambda text: text.encode(errors="surrogatepass")))
@pytest.mark.parametrize("make", [lambda: Unsigned(delivery_member="id", event_member="type"), Unsigned])
def test_no_body_that_is_taken_unsigned_makes_anything_but_a_refusal(make, body):
    assert refusal(receive, make(), JSON, body, NOW, most=1_000).isprintable()


@each
@pytest.mark.parametrize("value", ["x" * 4_097, "é", "\x00", "a\r\nb", "v1,\udcff", "\u0661", "v1,a\tb"])
def test_a_header_that_no_sender_writes_is_refused_for_what_it_is(sample, value):
    with pytest.raises(SignatureRefused, match=f"^{sample.signature} has (more than 4096 characters|other characters)"):
        sample.source.verify({**sample.headers(), sample.signature: value}, BODY, NOW)


@pytest.mark.parametrize("size", [21, 1_000])
@with_public_keys
def test_more_signatures_than_anybody_sends_are_not_even_compared(size):
    for sample in SAMPLES[:3]:
        headers = dict(sample.headers())
        first, mark = ("", " ") if sample.make is StandardWebhooks else (f"t={SENT_AT},", ",")
        one = headers[sample.signature].removeprefix(first)
        many = mark.join([one] + ["v1,x" if sample.make is StandardWebhooks else "v1=x"] * (size - 1))
        expected = r"has \d+ signatures, and 20 are allowed" if len(many) < 4_000 else "has more than 4096 characters"
        with pytest.raises(SignatureRefused, match=expected):
            sample.source.verify({**headers, sample.signature: first + many}, BODY, NOW)


@with_public_keys
def test_a_good_signature_may_be_the_twentieth():
    for sample in SAMPLES[:2]:
        headers = dict(sample.headers())
        headers[sample.signature] = " ".join([*["v1,x"] * 19, headers[sample.signature]])
        assert sample.source.verify(headers, BODY, NOW) == sample.delivery


@pytest.mark.parametrize("name", ["webhook-id", "X-GitHub-Delivery", "X-GitHub-Event"])
def test_an_id_that_no_store_could_keep_is_refused(name):
    sample = SAMPLES[3] if name.startswith("X-") else SAMPLES[0]
    for value in ("i" * 201, "a\x00", "ä"):
        with pytest.raises(SignatureRefused, match=f"^{name} has "):
            sample.source.verify({**sample.headers(), name: value}, BODY, NOW)
    with pytest.raises(SignatureRefused, match=f"^{name} is missing$"):
        sample.source.verify({**sample.headers(), name: ""}, BODY, NOW)


def test_an_id_may_have_as_many_characters_as_a_store_keeps():
    headers = {**SAMPLES[3].headers(), "X-GitHub-Delivery": "i" * 200, "X-GitHub-Event": "e" * 200}
    assert SAMPLES[3].source.verify(headers, BODY, NOW) == Delivery("i" * 200, "e" * 200)


def test_a_type_that_is_empty_is_none():
    source = Hmac(SECRET, header="X-Signature", event_header="X-Event")
    headers = {"X-Signature": digest(SECRET, BODY).hex(), "X-Event": ""}
    assert source.verify(headers, BODY, NOW) == Delivery(None, None)
    assert (
        Unsigned(delivery_header="X-Id", event_header="X-Event").verify({"X-Event": ""}, BODY, NOW).event_type is None
    )
    assert Unsigned(delivery_header="X-Id").verify({"X-Id": ""}, BODY, NOW).delivery_id is None


def test_thousands_of_headers_are_no_more_than_a_refusal():
    headers = [("X-Hub-Signature-256", "sha256=" + "0" * 64)] * 10_000
    with pytest.raises(SignatureRefused, match="was sent 10000 times"):
        GitHub(SECRET).verify(headers, BODY, NOW)


@with_public_keys
def test_a_refusal_repeats_nothing_that_was_sent():
    for sample in SAMPLES:
        for name in sample.headers():
            for value in ("<script>", "hunter2", "hunter2" * 1_000, "hunter2\n"):
                headers = {**sample.headers(), name: value}
                said = refusal(sample.source.verify, headers, BODY, NOW)
                assert "hunter2" not in said
                assert "script" not in said
