"""What the headers of a webhook say of it, and what a source of webhooks has to tell them apart."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from sagaz_durable.webhooks.headers import Headers
from sagaz_integration_core.contract.record import record

__all__ = ["Delivery", "Source"]


@record
class Delivery:
    """Which event a request brings.

    Attributes:
        delivery_id: The same each time that the event is sent, 1 to 200 printable characters; None if none is known.
        event_type: What has happened, at most 200 printable characters; None if it is not known.
    """

    delivery_id: str | None
    event_type: str | None


class Source(Protocol):
    """Who sends webhooks, and how they are told from forged ones."""

    @property
    def delivery_member(self) -> str | None:
        """The member of the event that has the delivery id; None if a header has it, or nothing."""
        ...

    @property
    def event_member(self) -> str | None:
        """The member of the event that has its type; None if a header has it, or nothing."""
        ...

    def verify(self, headers: Headers, body: bytes, now: datetime) -> Delivery:
        """Return what the headers say, if the body, as it came, is from this source.

        Args:
            headers: Of the request, in any case.
            now: Aware of its time zone.

        Raises:
            SignatureRefused: It is not, or was sent too long ago or in the future.
        """
        ...
