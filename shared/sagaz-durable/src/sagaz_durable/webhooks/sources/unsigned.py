"""Webhooks that nobody has signed, of which the application has to say that it takes them all the same."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sagaz_durable.webhooks.delivery import Delivery
from sagaz_durable.webhooks.headers import MOST_ID, Headers, optional_header
from sagaz_durable.webhooks.places import check_places
from sagaz_durable.webhooks.shown import shown_source

__all__ = ["Unsigned"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Unsigned:
    """A sender that signs nothing: whoever knows the address can send what he likes.

    Args:
        delivery_header: Has the delivery id.
        delivery_member: The member of the event that has it, where no header does.
        event_header: Has the type of the event.
        event_member: The member of the event that has it, where no header does.

    Raises:
        SettingsError: A header's name is none, or both a header and a member are named.
    """

    delivery_header: str | None = None
    delivery_member: str | None = None
    event_header: str | None = None
    event_member: str | None = None

    def __post_init__(self) -> None:
        check_places("Unsigned", self)

    def __repr__(self) -> str:
        return shown_source(self)

    def verify(self, headers: Headers, body: bytes, now: datetime) -> Delivery:
        """Return what the headers say, whoever has sent it; see `Source`.

        Raises:
            SignatureRefused: One of them is no id or no type.
        """
        delivery_id = optional_header(headers, self.delivery_header, MOST_ID)
        return Delivery(delivery_id or None, optional_header(headers, self.event_header, MOST_ID) or None)
