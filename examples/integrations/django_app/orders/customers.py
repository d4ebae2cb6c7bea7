"""Who orders, and who approves. A real shop has an identity provider; here a bearer token stands for a person."""

from __future__ import annotations

import hmac
import json
import os

TOKENS: dict[str, str] = json.loads(
    os.environ.get("SHOP_TOKENS", '{"ada-token": "ada", "bob-token": "bob", "mia-token": "mia"}')
)
"""The customers by their tokens."""

MANAGERS = frozenset(os.environ.get("SHOP_MANAGERS", "mia").split(","))
"""Those who may approve orders."""


def customer_of(authorization: str | None) -> str | None:
    """Return the customer whom a request's ``Authorization`` header names, if it does."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    given = token.strip().encode(errors="replace")
    found = [name for known, name in TOKENS.items() if hmac.compare_digest(known.encode(), given)]
    return found[0] if found else None
