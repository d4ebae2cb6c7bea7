"""Handing an event of the outbox to a sagaz broker, in the form that sagaz's own worker gives it."""

from __future__ import annotations

import json
from typing import Any

from sagaz_integration_core.protocols import OutboxRecord

__all__ = ["publish"]

_OWN_HEADERS = ("event_id", "saga_id", "event_type")


async def publish(broker: Any, record: OutboxRecord) -> None:
    """Publish one event; raises whatever the broker raises."""
    from sagaz.core.outbox.types import OutboxEvent

    headers = json.loads(record.headers)
    event = OutboxEvent(
        saga_id=record.saga_id,
        event_type=record.topic,
        payload=json.loads(record.payload),
        event_id=record.event_id,
        # sagaz lets an event's headers override its own, by which consumers drop repeats.
        headers={key: value for key, value in headers.items() if key not in _OWN_HEADERS},
        created_at=record.created_at,
    )
    await broker.publish_event(event)
