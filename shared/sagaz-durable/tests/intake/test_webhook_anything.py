"""Whatever is delivered, signed or not, the sender is told that it was taken, or what is wrong with it: never a 5xx."""

from __future__ import annotations

import hashlib
import hmac
import json
import time

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from webhook_shop import SECRET

ANSWERS = {200, 400, 404, 413, 415, 422}

anything = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

# Lone surrogates are no text, and JSON has them.
TEXTS = st.text(st.characters(exclude_categories=()), max_size=5)


def values(numbers):
    return st.recursive(
        st.none() | st.booleans() | numbers | TEXTS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
        max_leaves=6,
    )


FINITE = values(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
TYPES = st.sampled_from(["ordered", "paid", "refunded", "mailed", "broken", "strange", "no dict"])
MEMBERS = dict.fromkeys(("order", "payment", "amount", "saga"), FINITE)
EVENTS = st.fixed_dictionaries({"type": TYPES | FINITE}, optional=MEMBERS)
BODIES = st.binary(max_size=200) | (EVENTS | values(st.floats())).map(lambda value: json.dumps(value).encode())
HEADERS = st.dictionaries(
    st.sampled_from(["content-type", "Stripe-Signature", "X-Correlation-ID", "webhook-id"]),
    st.text(max_size=100) | st.sampled_from(["application/json", "text/plain", "t=1,v1=00", "a\r\nb: c"]),
    max_size=3,
)


@anything
@given(body=BODIES, headers=HEADERS, source=st.sampled_from(["shop", "stripe"]) | st.text(max_size=20))
async def test_no_body_and_no_header_is_the_servers_fault(shop, body, headers, source):
    assert await shop.deliver(body, source, headers) in ANSWERS


@anything
@given(event=EVENTS)
async def test_nothing_that_a_sender_signs_is_the_servers_fault(shop, event):
    body, now = json.dumps(event).encode(), int(time.time())
    digest = hmac.new(SECRET.encode(), f"{now}.".encode() + body, hashlib.sha256).hexdigest()
    assert await shop.deliver(body, "stripe", {"Stripe-Signature": f"t={now},v1={digest}"}) == 200


@anything
@given(event=EVENTS)
@example(event={"type": "ordered", "order": "\ud800"})
@example(event={"type": "ordered\ud800"})
@example(event={"type": "mailed", "order": "\x00"})
@example(event={"type": "paid", "payment": "o-1", "amount": 10**400})
@example(event={"type": "refunded", "saga": {"\udfff": []}})
async def test_an_event_that_sagas_want_is_recorded_whatever_is_in_it(shop, event):
    assert await shop.deliver(event) == 200
    assert await shop.deliver(event) == 200


async def test_of_what_a_sender_repeats_without_end_no_more_is_kept(shop):
    for _ in range(50):
        assert await shop.deliver({"id": "e", "type": "ordered", "order": "x" * 3_000}) == 200
    assert len(await shop.events()) == 1
