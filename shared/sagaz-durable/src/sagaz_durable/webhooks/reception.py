"""A webhook as it is received: verified first, then read, then named."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime
from typing import Any

from sagaz_durable.webhooks.bodies import check_size, parse_event
from sagaz_durable.webhooks.delivery import Source
from sagaz_durable.webhooks.errors import EventMalformed
from sagaz_durable.webhooks.headers import MOST_ID, Headers, optional_header
from sagaz_integration_core.contract.record import record

__all__ = ["Received", "receive"]


@record
class Received:
    """An event that its source has sent.

    Attributes:
        delivery_id: The same each time that it is sent, 1 to 200 printable characters; None if none is known.
        event_type: At most 200 printable characters; None if it is not known.
        event: A JSON object, or an array.
    """

    delivery_id: str | None
    event_type: str | None
    event: dict[str, Any] | list[Any] = field(repr=False)


def receive(source: Source, headers: Headers, body: bytes, now: datetime, *, most: int) -> Received:
    """Return the event of a request.

    Args:
        body: As it came, and perhaps one byte more than is taken.
        now: Aware of its time zone.
        most: How many bytes the body may have.

    Raises:
        SignatureRefused: It is not from this source, or not from now.
        EventRefused: Its body cannot be used.
    """
    check_size(body, most)
    delivery = source.verify(headers, body, now)
    event = parse_event(body, optional_header(headers, "Content-Type"), most=most)
    delivery_id = delivery.delivery_id or _delivery_id(_member(event, source.delivery_member))
    return Received(delivery_id, delivery.event_type or _text(_member(event, source.event_member)), event)


def _delivery_id(value: Any) -> str | None:
    text = _text(value)
    if value is not None and text is None:
        raise EventMalformed(f"the event's id is no text of 1 to {MOST_ID} printable characters")
    return text


def _member(event: dict[str, Any] | list[Any], name: str | None) -> Any:
    return event.get(name) if name is not None and isinstance(event, dict) else None


def _text(value: Any) -> str | None:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    return text if isinstance(text, str) and 0 < len(text) <= MOST_ID and text.isprintable() else None
