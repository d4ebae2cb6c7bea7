"""Whatever a client sends: never a fault of the server's, and nothing of it that moves a terminal."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sagaz_durable.http.messages import HttpRequest
from sagaz_integration_core.contract.listings import RunFilter

CONTROLS = st.sampled_from(["\x1b[2J", "\r\nX: y", "\x00", "\u202e", "\u2028", "\ud800", '"', "\x7f", "\x85", ","])
TEXTS = st.one_of(st.text(max_size=30), CONTROLS, st.builds(str.__add__, CONTROLS, st.text(max_size=8)))
VALUES = st.one_of(
    TEXTS,
    st.sampled_from(["*", '"1"', 'W/"1"', '"' * 5_000, "," * 5_000, " " * 5_000, "wait=" * 2_000, "9" * 5_000]),
    st.from_regex(r'(respond-async|wait ?= ?"?[0-9]{0,12}"?|;a=b|, ?){0,4}', fullmatch=True),
)
NAMES = st.sampled_from([
    "If-Match", "If-None-Match", "Prefer", "Accept", "Content-Type", "Origin", "Sec-Fetch-Site", "X-Correlation-ID",
    "Host",
])  # fmt: skip
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=4).map(tuple)
MEMBERS = st.sampled_from(["reason", "settled", "payload", "signal_id", "x", "\x1b"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
BODIES = st.one_of(
    st.binary(max_size=40),
    st.dictionaries(MEMBERS, JSON, max_size=3).map(lambda value: json.dumps(value).encode()),
    st.sampled_from([b'{"payload":' + b"[" * 70, b"[" * 50_000, b'"' * 50_000, b'"\\' * 25_000, b"\xff\xfe"]),
)
QUERIES = st.lists(
    st.tuples(st.sampled_from(["saga", "status", "owner", "limit", "cursor", "correlation_id", "x"]), TEXTS), max_size=3
).map(lambda pairs: "&".join(f"{name}={value}" for name, value in pairs))

ROUTES = {
    "list": lambda api, request, text: api.list_runs(request),
    "show": lambda api, request, text: api.show_run(request, text),
    "draw": lambda api, request, text: api.draw_run(request, text),
    "cancel": lambda api, request, text: api.decide(request, text, "cancel"),
    "resolve": lambda api, request, text: api.decide(request, text, "resolve"),
    "signal": lambda api, request, text: api.send_signal(request, text, "paid"),
    "signal's name": lambda api, request, text: api.send_signal(request, "", text),
    "accepted": lambda api, request, text: api.accepted(request, "order", "o-1", "/sagas/o-1"),
}


@pytest.mark.parametrize("route", ROUTES)
@settings(max_examples=80, suppress_health_check=list(HealthCheck), deadline=None)
@given(headers=HEADERS, body=BODIES, query=QUERIES, text=TEXTS, own=st.booleans())
async def test_nothing_that_a_client_sends_is_the_servers_fault(shop, route, headers, body, query, text, own):
    shop.rules["longest_wait"] = 0
    if route in ("cancel", "resolve", "signal", "show", "draw") and own:
        [*runs] = await shop.runtime.store.find(RunFilter(statuses=("waiting",)))
        text = runs[0].saga_id if runs else await shop.started("waiting", waits=True)
    request = HttpRequest("POST", "/sagas", query, headers, body, "mia")
    answer = await ROUTES[route](shop.api, request, text)
    assert 200 <= answer.status < 500
    sent = answer.body.decode() + "".join(f"{name}: {value}" for name, value in answer.headers.items())
    assert sent.replace("\n", "").isprintable()
