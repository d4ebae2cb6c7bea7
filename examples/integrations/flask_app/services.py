"""The services that an order needs: stock, a card, a parcel. Fakes that keep a ledger instead of doing anything.

Each call appends a line to the ledger, a file outside of sagaz's database, so that it can be read afterwards what
really was done, and how often. Like a payment provider, a service that has seen a call's idempotency key before
does nothing and gives its former answer; the ledger then says "repeated".
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

LEDGER = Path(os.environ.get("SHOP_LEDGER", "ledger.jsonl"))

CARD_LIMIT = 10_000
"""The fake provider declines larger amounts."""

PAYMENTS_SECRET = os.environ.get("SHOP_PAYMENTS_SECRET", "whsec_YS1zZWNyZXQtb2YtdGhlLWV4YW1wbGUtc2hvcA==")
"""What the payment provider signs its webhooks with; this one is ``a-secret-of-the-example-shop``."""

_HOLD = os.environ.get("SHOP_HOLD")


class PaymentDeclinedError(Exception):
    """The card's limit is lower than the amount."""


def call(service: str, order_id: str, key: str) -> dict[str, Any]:
    """Have a service do something for an order, once per idempotency key."""
    outcome = "repeated" if any(line["key"] == key for line in ledger()) else "done"
    _append(service, order_id, key, outcome)
    _answer(service, order_id)
    return {"reference": f"{service}-{order_id}"}


def charge(order_id: str, key: str, amount: int) -> dict[str, Any]:
    """Charge a card, or decline."""
    if amount > CARD_LIMIT:
        _append("charge", order_id, key, "declined")
        raise PaymentDeclinedError(f"The card's limit is {CARD_LIMIT}, and the order costs {amount}.")
    return call("charge", order_id, key)


def ledger() -> list[dict[str, Any]]:
    """Return what was called so far, oldest first."""
    if not LEDGER.exists():
        return []
    return [json.loads(line) for line in LEDGER.read_text().splitlines()]


def _append(service: str, order_id: str, key: str, outcome: str) -> None:
    line = {"service": service, "order": order_id, "key": key, "outcome": outcome, "pid": os.getpid()}
    with LEDGER.open("a") as file:
        file.write(json.dumps(line) + "\n")


def _answer(service: str, order_id: str) -> None:
    """Answer, unless there is a file that tells to keep the caller waiting: ``$SHOP_HOLD/charge-A1``."""
    while _is_held(f"{service}-{order_id}"):
        time.sleep(0.02)


def _is_held(name: str) -> bool:
    return _HOLD is not None and Path(_HOLD, name).exists()
