"""Events of the outbox in sagaz's own form, and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sagaz_integration_core.contract.events import EventStatus, NewEvent, OutboxRecord

if TYPE_CHECKING:
    from sagaz.core.outbox.types import OutboxEvent

__all__ = ["OWN_HEADERS", "from_event", "headers_json", "to_event"]

OWN_HEADERS = ("event_id", "saga_id", "event_type", "content_type")
"""What sagaz writes into every message's headers; it lets an event's own override them, by which consumers know it."""

_FIELDS = "__event__"
"""Where headers keep those of sagaz's fields that the outbox has no columns for; it is never published."""

_KEPT = {"aggregate_type": "saga", "aggregate_id": None, "routing_key": None, "partition_key": None}
_STATUS: dict[EventStatus, str] = {"pending": "PENDING", "sent": "SENT", "dead": "DEAD_LETTER"}


def to_event(record: OutboxRecord) -> OutboxEvent:
    """Return an event as sagaz's brokers and workers take it."""
    from sagaz.core.outbox.types import OutboxEvent, OutboxStatus

    headers = json.loads(record.headers)
    kept: dict[str, Any] = headers.pop(_FIELDS, {})
    return OutboxEvent(
        saga_id=record.saga_id,
        event_type=record.topic,
        payload=json.loads(record.payload),
        event_id=record.event_id,
        headers={key: value for key, value in headers.items() if key not in OWN_HEADERS},
        status=OutboxStatus[_STATUS[record.status]],
        created_at=record.created_at,
        sent_at=record.sent_at,
        retry_count=record.attempts,
        last_error=record.error,
        **kept,
    )


def from_event(event: OutboxEvent, payload: str) -> NewEvent:
    """Return what the outbox keeps of an event of sagaz's; its payload comes as checked JSON."""
    default = {**_KEPT, "aggregate_id": event.saga_id}
    kept = {name: value for name in _KEPT if (value := getattr(event, name)) != default[name]}
    headers = {**event.headers, _FIELDS: kept} if kept else dict(event.headers)
    return NewEvent(event.event_id, event.saga_id, event.event_type, payload, json.dumps(headers))


def headers_json(headers: dict[str, str], *, aggregate_type: str) -> str:
    """Return the headers of an event that is about something else than a saga."""
    return json.dumps({**headers, _FIELDS: {"aggregate_type": aggregate_type}})
