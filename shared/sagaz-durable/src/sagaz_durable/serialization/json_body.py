"""The JSON of a request's body, for frameworks that do not read it into models themselves, and how deeply it nests."""

from __future__ import annotations

import json
import re
from typing import Any

from sagaz_integration_core.errors import InvalidInput

__all__ = ["MOST_NESTED", "nesting", "read_json"]

MOST_NESTED = 64
"""How many brackets may stand open; what is recorded nests less."""

# Each text is left in one go, closed or not: a body of many quotes takes no longer than another one.
_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def read_json(body: bytes | str) -> dict[str, Any]:
    """Return the JSON object of a request's body.

    Raises:
        InvalidInput: It is no JSON, no object, not UTF-8, or nests so deeply that Python cannot read it.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        # Not chained: the error holds the whole body.
        raise InvalidInput('the body is no JSON that can be read; expected an object, as {"amount": 42}') from None
    if not isinstance(value, dict):
        raise InvalidInput(f'the body is a JSON {type(value).__name__}; expected an object, as {{"amount": 42}}')
    return value


def nesting(body: bytes) -> int:
    """Return how deeply a body nests at most, without reading it as JSON; 0 if that cannot be too deep."""
    if body.count(b"[") + body.count(b"{") <= MOST_NESTED:
        return 0
    deepest = depth = 0
    for byte in _without_texts(body):
        depth += 1 if byte in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _without_texts(body: bytes) -> bytes:
    brackets = _TEXT.sub(b"", body)
    return brackets.translate(None, _ALL_BUT_BRACKETS)
