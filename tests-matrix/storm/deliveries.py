"""Deliveries of signed events: what was answered to each of them, as the sender knows."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from typing import Any

import httpx

from storm.plan import Signal
from storm.webhooks import KEY, KILLS, SOURCE

__all__ = ["UNSENT", "Delivery", "deliver"]

UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""With these, nothing was sent."""


@dataclass
class Delivery:
    """One delivery of an event, which may have arrived.

    Attributes:
        status: Of its answer; None if there was none.
        is_broken: Whether the server has closed the connection instead.
    """

    began: float
    ended: float
    status: int | None
    is_broken: bool = False

    @property
    def is_answered(self) -> bool:
        """Whether the sender was told that the event was received."""
        return self.status is not None and 200 <= self.status < 300


def deliver(server: httpx.Client, signal: Signal, saga_id: str | None, nth: int) -> Delivery | None:
    """Deliver an event once; None if it cannot have arrived.

    Args:
        saga_id: Of the run that it is for; without, it is for whatever waits under the signal's key.
        nth: The how many-eth delivery this is: bodies differ between deliveries of one event.
    """
    body = json.dumps(_event(signal, saga_id) | {"delivery": nth}).encode()
    began, status, is_broken = time.monotonic(), None, False
    try:
        status = server.post(f"/webhooks/{SOURCE}", content=body, headers=_headers(signal, body)).status_code
    except UNSENT:
        return None
    except httpx.TransportError as error:
        is_broken = not isinstance(error, httpx.TimeoutException)
    return Delivery(began, time.monotonic(), status, is_broken)


def _event(signal: Signal, saga_id: str | None) -> dict[str, Any]:
    address = {"order": signal.key} if saga_id is None else {"run": saga_id}
    return {"id": signal.signal_id, "pause": signal.pause, **address}


def _headers(signal: Signal, body: bytes) -> dict[str, str]:
    now = str(int(time.time()))
    signature = hmac.new(KEY, f"{signal.signal_id}.{now}.".encode() + body, hashlib.sha256).digest()
    headers = {
        "Content-Type": "application/json",
        "webhook-id": signal.signal_id,
        "webhook-timestamp": now,
        "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
    }
    return headers | ({KILLS: signal.signal_id} if signal.kills else {})
