"""What a client may send to the routes about sagas, as hypothesis makes it up, and what no answer to it may be."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from support.answers import Answer, Ask

__all__ = ["asks", "faults_of"]

_CONTROLS = st.sampled_from(
    ["\x1b[2J", "\r\nX: y", "\x00", "\x7f", "\x85", "\xff", "\xe2\x80\xae", '"', ",", "%00", "%0a"]
)
_TEXTS = st.one_of(
    st.text(st.characters(max_codepoint=255), max_size=30),
    _CONTROLS,
    st.builds(str.__add__, _CONTROLS, st.text(st.characters(max_codepoint=127), max_size=8)),
)
_VALUES = st.one_of(
    _TEXTS,
    st.sampled_from(["*", '"1"', 'W/"1"', '"' * 5_000, "," * 5_000, " " * 5_000, "wait=" * 2_000, "9" * 5_000]),
    st.from_regex(r'(respond-async|wait ?= ?"?[0-9]{0,12}"?|;a=b|, ?){0,4}', fullmatch=True),
    st.sampled_from(["application/json", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"]),
)
_NAMES = st.sampled_from([
    "If-Match", "If-None-Match", "Prefer", "Accept", "Content-Type", "Origin", "Sec-Fetch-Site", "X-Correlation-ID",
    "Cookie", "Range", "Transfer-Encoding",
])  # fmt: skip
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_MEMBERS = st.sampled_from(["reason", "settled", "payload", "signal_id", "x", "\x1b"])
_BODIES = st.one_of(
    st.binary(max_size=40),
    st.dictionaries(_MEMBERS, _JSON, max_size=3).map(lambda value: json.dumps(value).encode()),
    st.sampled_from([b'{"payload":' + b"[" * 70, b"[" * 50_000, b'"' * 50_000, b"\xff\xfe", b" " * 2_000_000]),
)
_QUERIES = st.lists(
    st.tuples(st.sampled_from(["saga", "status", "owner", "limit", "cursor", "correlation_id", "x"]), _TEXTS),
    max_size=3,
).map(lambda pairs: "&".join(f"{name}={value}" for name, value in pairs))
_ROUTES = st.sampled_from(
    ["GET ", "GET /graph", "GET /graph.svg", "GET /graph.mmd", "POST /cancel", "POST /retry", "POST /resolve",
     "POST /run-now", "POST /signal/paid", "POST /signal/", "PUT ", "HEAD /graph", "OPTIONS "]
)  # fmt: skip


def asks(user: dict[str, str], run: str) -> st.SearchStrategy[Ask]:
    """Return requests.

    Args:
        user: The headers by which somebody is signed in.
        run: The address of a run that is there; those of others, and the list's, are made of it.
    """
    runs = run.rpartition("/")[0]
    texts = _TEXTS.map(lambda text: text.replace("?", "").replace("/", ""))
    paths = st.one_of(st.just(run), texts.map(lambda text: f"{runs}/{text}"), st.just(runs))

    def ask(route: str, path: str, text: str, query: str, headers: dict[str, str], body: bytes) -> Ask:
        method, _, below = route.partition(" ")
        whole = path + below + (text if below.endswith("/") else "")
        return Ask(method, f"{whole}?{query}", b"" if method == "GET" else body, {**headers, **user})

    headers = st.dictionaries(_NAMES, _VALUES, max_size=4)
    return st.builds(ask, _ROUTES, paths, texts, _QUERIES, headers, _BODIES)


def faults_of(answer: Answer) -> list[str]:
    """Return what is wrong with an answer, whatever was asked: the server's fault, or what moves a terminal."""
    sent = answer.body.decode("utf-8", "replace") + "".join(f"{name}: {value}" for name, value in answer.headers)
    found = [] if 200 <= answer.status < 500 and answer.error is None else [f"{answer.status} {answer.error!r}"]
    return found if sent.replace("\n", "").isprintable() else [*found, f"control characters in {sent!r}"]
