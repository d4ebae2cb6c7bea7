"""Requests with an ``Idempotency-Key``: what is a key, what stands for a request, and what of an answer is kept."""

from __future__ import annotations

import contextlib

import pytest
from http_shop import Order
from hypothesis import given
from hypothesis import strategies as st

from sagaz_durable.http.idempotency.keys import Repeatable, new_key, read_key
from sagaz_durable.http.idempotency.stored_answers import MOST_BYTES, is_kept, stored, unstored
from sagaz_durable.http.messages import HttpRequest, HttpResponse
from sagaz_durable.http.problems import Problem
from sagaz_durable.problem_types import KEY_MALFORMED, KEY_MISSING
from sagaz_durable.runtime.new_run import saga_id_of
from sagaz_durable.settings.settings import Settings
from sagaz_integration_core.errors import UsageError

ONCE = Repeatable("shop.create", Order)


def sent(*keys: str, method: str = "POST", path: str = "/orders", query: str = "", body: bytes = b"{}") -> HttpRequest:
    return HttpRequest(method, path, query, tuple(("idempotency-key", key) for key in keys), body)


def claimed(request: HttpRequest, key: str = "k", caller: object = "ann", endpoint: Repeatable = ONCE):
    return new_key(request, key, caller, endpoint, Settings(lease_seconds=7.0, renew_seconds=1.0))


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("abc", "abc"),
        ('"abc"', "abc"),
        (' "abc" ', "abc"),
        ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ("clkyoesmbgybucifusbbtdsbohtyuuwz", "clkyoesmbgybucifusbbtdsbohtyuuwz"),
        ("a+b/c==", "a+b/c=="),
        (r'"a \"b\" \\ c"', 'a "b" \\ c'),
        ("k" * 255, "k" * 255),
        ('"' + "k" * 255 + '"', "k" * 255),
    ],
)
def test_a_key_is_a_string_in_quotes_or_bare(header, key):
    assert read_key(sent(header), required=True) == key


@pytest.mark.parametrize(
    "headers",
    [
        [""], [" "], ['""'], ['"'], ['"abc'], ['abc"'], ["a b"], ["a,b"], ["a;b"], ["a\\b"], ["caf\xe9"],
        ['"caf\xe9"'], ["a\tb"], ["a\x00b"], ['"a\nb"'], ["k" * 256], ['"' + "k" * 256 + '"'], ["a", "a"],
        [r'"a\b"'],
    ],
)  # fmt: skip
def test_what_is_no_key_is_refused_without_being_repeated(headers):
    with pytest.raises(Problem) as refused:
        read_key(sent(*headers), required=False)
    assert refused.value.kind is KEY_MALFORMED
    assert "caf" not in str(refused.value.detail)


@given(st.lists(st.text(max_size=300), max_size=3))
def test_any_header_is_a_printable_key_or_refused(headers):
    with contextlib.suppress(Problem):
        key = read_key(sent(*headers), required=True)
        assert 0 < len(key) <= 255
        assert key.isascii()
        assert key.isprintable()


def test_a_request_without_a_key_is_refused_only_where_one_is_required():
    assert read_key(sent(), required=False) is None
    with pytest.raises(Problem) as refused:
        read_key(sent(), required=True)
    assert refused.value.kind is KEY_MISSING


def test_a_request_is_the_same_by_its_method_address_and_body():
    first = claimed(sent())
    assert claimed(sent()).id == first.id
    assert claimed(sent()).fingerprint == first.fingerprint
    for other in (sent(body=b"{} "), sent(query="a=1")):
        assert claimed(other).id == first.id
        assert claimed(other).fingerprint != first.fingerprint
    for other in (sent(path="/invoices"), sent(method="PUT")):
        assert claimed(other).id != first.id


def test_a_key_is_its_callers_alone_and_says_nothing_of_either():
    ids = {claimed(sent(), caller=caller).id for caller in ("ann", "bob", None, "None", "")}
    ids |= {claimed(sent(), key="ann").id, claimed(sent(), key="k2").id}
    assert len(ids) == 7
    assert {len(one) for one in ids} == {64}


def test_a_request_starts_the_same_run_each_time_and_is_executed_under_a_lease_of_its_own():
    first, again = claimed(sent()), claimed(sent())
    assert first.saga_id == again.saga_id == saga_id_of(Order, f"request:{first.id}")
    assert first.owner != again.owner
    assert (first.lease_seconds, first.keep_seconds) == (7.0, 86_400.0)
    joined = claimed(sent(), endpoint=Repeatable("shop.create", joins=True))
    assert (joined.owner, joined.saga_id) == (None, None)


def test_an_endpoint_that_could_be_executed_twice_is_refused_by_name():
    with pytest.raises(UsageError, match=r"shop\.create is to be idempotent, and neither starts a saga nor"):
        Repeatable("shop.create")
    with pytest.raises(UsageError, match=r"location='/runs' of shop\.create has no \{saga_id\}"):
        Repeatable("shop.create", Order, location="/runs")


def test_an_answer_is_kept_byte_by_byte_without_what_belongs_to_one_connection_or_visitor():
    headers = {
        "Content-Type": "application/octet-stream", "Location": "/orders/1", "Set-Cookie": "a=1", "Content-Length": "4",
        "Date": "now", "Connection": "X-Hop, close", "X-Hop": "1", "Transfer-Encoding": "chunked", "X-Shop": "\xfc",
    }  # fmt: skip
    body = bytes(range(256))
    text = stored(HttpResponse(201, headers, body))
    assert text is not None
    assert text.isascii()
    again = unstored(text)
    assert (again.status, again.body) == (201, body)
    assert again.headers == {
        "Content-Type": "application/octet-stream", "Location": "/orders/1", "X-Shop": "\xfc",
        "Idempotent-Replayed": "true",
    }  # fmt: skip


def test_an_answer_that_is_too_large_is_not_kept():
    assert stored(HttpResponse(200, {}, b"x" * MOST_BYTES)) is not None
    assert stored(HttpResponse(200, {}, b"x" * (MOST_BYTES + 1))) is None


def test_answers_that_say_come_again_are_not_kept():
    kept = {status for status in range(100, 600) if is_kept(status)}
    assert kept == set(range(200, 500)) - {408, 425, 429}
