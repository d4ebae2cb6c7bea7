"""Where a sender puts the id of a delivery and the type of its event, for sources that can be told so."""

from __future__ import annotations

from typing import Protocol

from sagaz_durable.webhooks.headers import check_header
from sagaz_durable.webhooks.shown import shown_value
from sagaz_integration_core.errors import SettingsError

__all__ = ["Places", "check_places"]


class Places(Protocol):
    """A source that is told where they are; see `sagaz_durable.webhooks.sources.plain_hmac.Hmac`."""

    @property
    def delivery_header(self) -> str | None:
        """Has the delivery id."""
        ...

    @property
    def delivery_member(self) -> str | None:
        """The member of the event that has it."""
        ...

    @property
    def event_header(self) -> str | None:
        """Has the type of the event."""
        ...

    @property
    def event_member(self) -> str | None:
        """The member of the event that has it."""
        ...


def check_places(source: str, places: Places) -> None:
    """Refuse places that are none, or two for one thing.

    Raises:
        SettingsError: They are.
    """
    _check_place(source, "delivery", places.delivery_header, places.delivery_member)
    _check_place(source, "event", places.event_header, places.event_member)


def _check_place(source: str, what: str, header: object, member: object) -> None:
    if header is not None:
        check_header(source, f"{what}_header", header)
        if member is not None:
            raise SettingsError(f"{source}: {what}_header and {what}_member are both given; expected one of them.")
    elif member is not None and not (isinstance(member, str) and member):
        raise SettingsError(f"{source}({what}_member={shown_value(member)}): expected the name of a member.")
