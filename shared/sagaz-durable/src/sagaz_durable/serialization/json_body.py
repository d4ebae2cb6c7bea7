"""The JSON of a request's body, for frameworks that do not read it into models themselves."""

from __future__ import annotations

import json
from typing import Any

from sagaz_integration_core.errors import InvalidInput

__all__ = ["read_json"]


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
