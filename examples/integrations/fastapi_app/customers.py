"""Who orders, and who decides. A real shop has sessions or an identity provider; here a bearer token is a person."""

from __future__ import annotations

import hmac
import json
import os

TOKENS: dict[str, str] = json.loads(
    os.environ.get("SHOP_TOKENS", '{"ada-token": "ada", "bob-token": "bob", "mia-token": "mia"}')
)
"""Who is who, by their tokens."""

MANAGERS = frozenset(os.environ.get("SHOP_MANAGERS", "mia").split(","))
"""Those who see all orders and decide about them."""


def customer_of(authorization: str | None) -> str | None:
    """Return the customer whom a request's ``Authorization`` header names, if it does."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    given = token.strip().encode(errors="replace")
    found = [name for known, name in TOKENS.items() if hmac.compare_digest(known.encode(), given)]
    return found[0] if found else None


def may(who: str, verb: str, owner: str | None) -> bool:
    """Whether somebody may do this with a run: customers see their own, managers see and decide about all of them."""
    return who in MANAGERS or (verb in ("list", "read") and owner == who)
