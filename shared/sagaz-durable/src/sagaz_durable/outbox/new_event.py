"""Events of the application's own: checked at the door, and part of its transaction."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from sagaz_durable._upstream.broker_messages import OWN_HEADERS, headers_json
from sagaz_durable.serialization import codec
from sagaz_durable.settings.wording import NEUTRAL, Wording
from sagaz_integration_core.context.correlation import current
from sagaz_integration_core.context.identifiers import random_uuid
from sagaz_integration_core.contract.events import NewEvent
from sagaz_integration_core.errors import InvalidInput, SettingsError

__all__ = ["new_event"]

_NAMESPACE = uuid.UUID("6b0f0a3e-63a5-5c0b-8f0d-6f1f6c2f9d55")
_MAX_KEY = 200
_MAX_TOPIC_BYTES = 255
"""AMQP's longest routing key; Kafka's topics end at 249 characters."""

_MAX_HEADER_BYTES = 16_384


def new_event(
    topic: str,
    payload: Any,
    *,
    publishes: bool,
    max_bytes: int,
    wording: Wording = NEUTRAL,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
    idempotency_key: str | None = None,
) -> NewEvent:
    """Check everything that a publication is given, and return the row to insert; nothing is written.

    Args:
        publishes: Whether there is a broker.
        max_bytes: The most that the payload may measure as JSON.
        wording: How the settings are spelled.

    Raises:
        SettingsError: There is no broker that it could go to.
        ContextValueError: Payload or headers hold what some store would bend; the message names the path.
        InvalidInput: Topic, key or headers are malformed.
    """
    if not publishes:
        raise SettingsError(
            f"Event {topic!r} has nowhere to go: no broker is configured. Set {wording.setting('broker_url')} to "
            "redis://…, amqp://… or kafka://…, or to memory:// for tests."
        )
    _check_text("topic", topic, _MAX_TOPIC_BYTES, "bytes")
    text = codec.encode_payload(payload, "the event's payload", max_bytes=max_bytes, wording=wording)
    if idempotency_key is None:
        event_id = random_uuid()
    else:
        _check_text("idempotency_key", idempotency_key, _MAX_KEY, "characters")
        event_id = str(uuid.uuid5(_NAMESPACE, f"{topic}\0{idempotency_key}"))
    if key is not None:
        _check_text("key", key, _MAX_KEY, "characters")
    return NewEvent(event_id, event_id if key is None else key, topic, text, _headers(headers or {}))


def _check_text(what: str, value: object, most: int, unit: str) -> None:
    if not isinstance(value, str):
        raise InvalidInput(f"{what} must be a string, not {type(value).__name__}.")
    size = len(value.encode(errors="replace")) if unit == "bytes" else len(value)
    if not 0 < size <= most or not value.isprintable():
        raise InvalidInput(f"{what} must have 1 to {most} printable {unit}, and this one has {size}.")


def _headers(given: Mapping[str, str]) -> str:
    for name, value in given.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidInput(
                f"headers must be strings by name, and {name!r} is a {type(value).__name__}; pass str(…)."
            )
        if name in OWN_HEADERS or name.startswith("__"):
            raise InvalidInput(f"headers: {name!r} is sagaz's own; give it another name.")
    request = current()
    correlation = {} if request is None else {"correlation_id": request.correlation_id}
    headers = {**correlation, **given}
    codec.encode_payload(headers, "the event's headers", max_bytes=_MAX_HEADER_BYTES, wording=None)
    return headers_json(headers, aggregate_type="application")
