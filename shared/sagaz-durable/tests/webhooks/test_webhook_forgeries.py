"""One bit of body, signature, time, id or secret makes another webhook of it, which is refused."""

from __future__ import annotations

import base64
from datetime import timedelta

import pytest
from signed_samples import (
    BODY,
    NOW,
    PUBLIC,
    SENT_AT,
    STANDARD,
    STRIPE,
    each,
    sign_standard,
    sign_stripe,
    timed,
    with_public_keys,
)

from sagaz_durable.webhooks.errors import SignatureRefused
from sagaz_durable.webhooks.sources import Delivery, StandardWebhooks, Stripe, Unsigned


def flips(value: bytes) -> list[bytes]:
    """Return everything that differs from a value in one bit."""
    return [
        value[:place] + bytes([value[place] ^ (1 << bit)]) + value[place + 1 :]
        for place in range(len(value))
        for bit in range(8)
    ]


@each
def test_a_webhook_of_its_source_is_taken(sample):
    assert sample.source.verify(sample.headers(), BODY, NOW) == sample.delivery


@each
def test_one_bit_of_the_body_is_enough_to_refuse_it(sample):
    for body in (*flips(BODY), BODY + b" ", BODY[:-1], b""):
        with pytest.raises(SignatureRefused):
            sample.source.verify(sample.headers(), body, NOW)


@each
def test_one_bit_of_any_signed_header_is_enough_to_refuse_it(sample):
    headers = sample.headers()
    for name in sample.signed:
        for value in flips(headers[name].encode()):
            given = value.decode("latin-1")
            if given.lower() == headers[name].lower():
                continue
            with pytest.raises(SignatureRefused):
                sample.source.verify({**headers, name: given}, BODY, NOW)


@each
def test_one_bit_of_the_secret_is_enough_to_refuse_it(sample):
    prefix, raw = sample.secret.partition("_")[::2] if sample.secret.startswith("wh") else ("", sample.secret)
    if sample.make is StandardWebhooks:
        for key in flips(base64.b64decode(raw))[:: 8 if prefix == "whpk" else 1]:
            with pytest.raises(SignatureRefused):
                StandardWebhooks(f"{prefix}_{base64.b64encode(key).decode()}").verify(sample.headers(), BODY, NOW)
        return
    for key in flips(raw.encode()):
        text = key.decode("latin-1")
        if text.isascii() and text == text.strip():
            with pytest.raises(SignatureRefused):
                sample.make(f"{prefix}_{text}" if prefix else text).verify(sample.headers(), BODY, NOW)


@each
def test_another_secret_of_the_same_length_signs_nothing(sample):
    with pytest.raises(SignatureRefused, match="by one of the secrets"):
        sample.make(sample.other).verify(sample.headers(), BODY, NOW)


@each
@pytest.mark.parametrize("place", [0, 1])
def test_while_a_secret_is_replaced_both_are_taken(sample, place):
    secrets = [sample.other]
    secrets.insert(place, sample.secret)
    assert sample.make(secrets).verify(sample.headers(), BODY, NOW) == sample.delivery


@each
def test_each_header_of_the_signature_is_needed(sample):
    for name in sample.signed:
        for headers in (
            {other: value for other, value in sample.headers().items() if other != name},
            {**sample.headers(), name: ""},
            {**sample.headers(), name: " "},
        ):
            with pytest.raises(SignatureRefused, match=f"^{name} is missing$"):
                sample.source.verify(headers, BODY, NOW)


@each
def test_headers_are_found_in_any_case_and_as_pairs(sample):
    for change in (str.upper, str.lower, str.title):
        pairs = [(change(name), value) for name, value in sample.headers().items()]
        assert sample.source.verify(pairs, BODY, NOW) == sample.delivery
        assert sample.source.verify(dict(pairs), BODY, NOW) == sample.delivery


@each
def test_a_header_that_is_sent_twice_is_refused_even_if_both_are_good(sample):
    for name in sample.signed:
        headers = sample.headers()
        with pytest.raises(SignatureRefused, match=f"^{name} was sent 2 times$"):
            sample.source.verify([*headers.items(), (name.swapcase(), headers[name])], BODY, NOW)


@timed
@pytest.mark.parametrize("seconds", [301, -301, 10**9, -(10**9)])
def test_what_was_signed_at_another_time_is_refused_in_both_directions(sample, seconds):
    way = "ago" if seconds > 0 else "in the future"
    with pytest.raises(SignatureRefused, match=f"is {abs(seconds)} seconds {way}, and 300 are allowed"):
        sample.source.verify(sample.headers(), BODY, NOW + timedelta(seconds=seconds))


@timed
@pytest.mark.parametrize("seconds", [300, -300, 0])
def test_clocks_may_differ_by_the_tolerance_in_both_directions(sample, seconds):
    assert sample.source.verify(sample.headers(), BODY, NOW + timedelta(seconds=seconds)) == sample.delivery


@timed
@pytest.mark.parametrize("sent_at", [f"{SENT_AT}.0", f"+{SENT_AT}", f"-{SENT_AT}", "1e9", "nan", "٠١٢", "9" * 13, "x"])
def test_a_time_that_is_not_whole_seconds_is_refused_whoever_signed_it(sample, sent_at):
    with pytest.raises(SignatureRefused):
        sample.source.verify(sample.headers(sent_at=sent_at), BODY, NOW)


def test_a_tolerance_of_ones_own_counts():
    for source in (StandardWebhooks(STANDARD, tolerance=10), Stripe(STRIPE, tolerance=10)):
        sign = sign_stripe if isinstance(source, Stripe) else sign_standard
        headers = sign(BODY, str(SENT_AT), source.secrets[0])
        source.verify(headers, BODY, NOW + timedelta(seconds=10))
        for seconds in (11, -11):
            with pytest.raises(SignatureRefused, match="and 10 are allowed"):
                source.verify(headers, BODY, NOW + timedelta(seconds=seconds))


@with_public_keys
def test_a_public_key_does_not_count_as_a_shared_secret():
    # Everybody knows it, and could sign with it.
    shared = PUBLIC.replace("whpk_", "whsec_")
    headers = sign_standard(BODY, str(SENT_AT), shared)
    StandardWebhooks(shared).verify(headers, BODY, NOW)
    with pytest.raises(SignatureRefused):
        StandardWebhooks(PUBLIC).verify(headers, BODY, NOW)


def test_what_is_declared_unsigned_is_taken_from_anybody():
    source = Unsigned(delivery_header="X-Delivery", event_header="X-Event")
    assert source.verify({"x-delivery": "d-1", "x-event": "paid"}, BODY, NOW) == Delivery("d-1", "paid")
    assert source.verify({}, BODY, NOW) == Delivery(None, None)
