"""Webhooks of the storm as its applications take them: from one source, which signs, as Standard Webhooks has it."""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from sagaz_durable.webhooks.sources import StandardWebhooks

__all__ = ["KEY", "KILLS", "LEDGER", "SOURCE", "SOURCES", "die_before_the_answer", "unanswered"]

LEDGER = Path(os.environ.get("STORM_LEDGER", "ledger"))

SOURCE = "shop"
KEY = b"what the storm's shop signs with"
SOURCES = {SOURCE: StandardWebhooks(f"whsec_{base64.b64encode(KEY).decode()}")}

KILLS = "X-Storm-Kills"
"""The header of an event that kills the server which has recorded it first."""

_PREFIX = "unanswered-"


def die_before_the_answer(headers: Mapping[str, str], status: int) -> None:
    """Kill this process if it has just recorded an event that asks for it, and none has died of that one before."""
    delivery_id = headers.get(KILLS)
    if delivery_id is None or status != 200:
        return
    try:
        marker = os.open(LEDGER.with_name(_PREFIX + delivery_id), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return
    os.write(marker, json.dumps([os.getpid(), time.monotonic()]).encode())
    os.kill(os.getpid(), signal.SIGKILL)


def unanswered(folder: Path) -> dict[str, tuple[int, float]]:
    """Return which events have killed a server between their recording and the answer: its pid, and when."""
    found = {marker.name.removeprefix(_PREFIX): marker.read_text() for marker in folder.glob(f"{_PREFIX}*")}
    # One without a text was killed by somebody else before it came to it.
    return {delivery_id: tuple(json.loads(text)) for delivery_id, text in found.items() if text}
