"""What hostile, or merely broken, clients send to an order application; none of it is the server's fault."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import httpx

from sagaz_durable.serialization import codec
from sagaz_integration_core.errors import ContextValueError

__all__ = ["ADA", "BOB", "deviations", "faults", "hostile_requests"]

ADA = {"Authorization": "Bearer ada-token"}
BOB = {"Authorization": "Bearer bob-token"}

_GOOD = b'{"order_id": "H1", "amount": 5}'

_BODIES: Sequence[bytes] = (
    b"", b"{", b"null", b"3", b'"x"', b"[]", b"[1]", b"\xff\xfe", b"\x00", b'{"order_id": "H1"}', b"NaN", b"[NaN]",
    b'{"order_id": "H1", "amount": 100000000000000000000}', b'{"order_id": "H1", "amount": NaN}',
    b'{"order_id": "H1", "amount": 1e400}', b'{"order_id": "H1", "amount": true}', b'{"order_id": "H1", "amount": "5"}',
    b'{"order_id": "H1", "amount": -1}', b'{"order_id": "H1", "amount": ' + b"9" * 5_000 + b"}",
    b'{"order_id": "\\u0000", "amount": 5}', b'{"order_id": "\\ud800", "amount": 5}',
    b'{"order_id": "a\\nb", "amount": 5}',
    b'{"order_id": {"a": 1}, "amount": 5}', b'{"order_id": "' + b"x" * 100_000 + b'", "amount": 5}',
    b'{"a":' * 100_000, b'{"a":' * 500 + b"1" + b"}" * 500, b"[" * 100_000, b'["\\ud800"]',
)  # fmt: skip

_KEYS: Sequence[bytes] = (b"", b"x" * 10_000, b"a\tb", b"\xff", b"\xc3\xa4", b"\x80\x9b", b"a\xadb")

_IDS: Sequence[str] = (
    "none", "%00", "a%00b", "%ff", "%F0%28%8C%28", "%0d%0aSet-Cookie:%20x", "x" * 3_000, "%E2%80%AE", "%1b%5b2J",
    "..%2f..",    "%ED%A0%80", "'%20OR%201=1--",
)  # fmt: skip


@dataclass(frozen=True)
class Hostile:
    """One request, which a 4xx is the right answer to."""

    method: str
    path: str
    content: bytes = b""
    headers: dict[bytes | str, bytes | str] = field(default_factory=dict)

    @property
    def is_an_object(self) -> bool:
        """Whether its body is a JSON object that a saga may be given: some application may know such orders."""
        try:
            codec.encode(json.loads(self.content), max_bytes=1_048_576)
        except (ValueError, RecursionError, ContextValueError):
            return False
        return True

    @property
    def texts(self) -> dict[str, str]:
        """Its headers as WSGI has them."""
        return {_text(name): _text(value) for name, value in self.headers.items()}


def _text(value: bytes | str) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def hostile_requests(paths: Sequence[str], order: bytes = b'{"order_id": "../etc", "amount": 5}') -> Iterator[Hostile]:
    """Return what is sent to the addresses at which orders are placed, and to those of their states.

    Args:
        order: What is sent under keys that may be malformed; by default, what the examples refuse under all others too.
    """
    kind: dict[bytes | str, bytes | str] = {"Content-Type": "application/json", **ADA}
    for path in paths:
        for number, body in enumerate(_BODIES):
            yield Hostile("POST", path, body, {**kind, "Idempotency-Key": f"hostile-{number}"})
        for key in _KEYS:
            # Some are keys like any other.
            yield Hostile("POST", path, order, {**kind, b"Idempotency-Key": key})
        yield Hostile("POST", path, _GOOD, kind)
        for who in ("", "Bearer", "Bearer nobody", "Basic YWRhOg==", "bearer \xe4".encode("latin-1")):
            yield Hostile("POST", path, _GOOD, {**kind, "Authorization": who, "Idempotency-Key": "k"})
    for saga_id in _IDS:
        yield Hostile("GET", f"/sagas/{saga_id}", headers={**ADA})
        yield Hostile("POST", f"/sagas/{saga_id}/signal/approval", b"{}", kind)


def faults(send: Callable[[Hostile], int], path: str, order: str = _GOOD.decode()) -> list[str]:
    """Send what is wrong for every application that takes a JSON object, and tell of answers that are wrong, too."""
    found = []
    for one in hostile_requests([path], order.encode()):
        if one.is_an_object and str(one.headers.get("Idempotency-Key")).startswith("hostile"):
            # Whether it is an order is the application's to say.
            continue
        status = send(one)
        if status >= 500 or (status < 400 and not one.is_an_object):
            found.append(f"{one.method} {one.path} {one.content[:60]!r} {one.headers}: {status}")
    return found


def deviations(url: str, paths: Sequence[str]) -> list[str]:
    """Send all of it, and tell of every answer that is no 4xx, or that shows what it should not."""
    found = []
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        for one in hostile_requests(paths):
            try:
                answer = client.request(one.method, one.path, content=one.content, headers=one.headers)
            except httpx.RemoteProtocolError:
                # The server has closed the connection on what is no HTTP.
                continue
            if not 400 <= answer.status_code < 500 or "Traceback" in answer.text:
                found.append(f"{one.method} {one.path} {one.content[:60]!r} {one.headers}: {answer.status_code}")
        found += _squatting(client, paths)
    return found


def _squatting(client: httpx.Client, paths: Sequence[str]) -> list[str]:
    """Place the same key for two customers, and look at each other's orders."""
    found = []
    for path in paths:
        body = json.dumps({"order_id": "Squat", "amount": 5}).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": f"squat{path}"}
        ids = []
        for who in (ADA, ADA, BOB):
            answer = client.post(path, content=body, headers={**headers, **who})
            ids.append(answer.json().get("saga_id"))
        if not (ids[0] and ids[0] == ids[1] != ids[2]):
            found.append(f"{path}: the same key of two customers gave {ids}")
        other = client.get(f"/sagas/{ids[0]}", headers=BOB)
        nobody = client.get(f"/sagas/{ids[0]}")
        if (other.status_code, nobody.status_code) != (404, 401):
            found.append(f"{path}: others see a customer's order: {other.status_code}, {nobody.status_code}")
    return found
