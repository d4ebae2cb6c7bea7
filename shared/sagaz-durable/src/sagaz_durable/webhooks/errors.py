"""Why a webhook is not taken."""

from __future__ import annotations

from sagaz_integration_core.errors import InvalidInput, SignatureRefused

__all__ = ["EventMalformed", "EventNotJson", "EventRefused", "EventTooLarge", "SignatureRefused"]


class EventRefused(InvalidInput):
    """A webhook's body cannot be used; the message repeats nothing of it, so that it may be the answer."""


class EventTooLarge(EventRefused):
    """The body has more bytes than are taken; 413 is the answer."""


class EventNotJson(EventRefused):
    """The body is said to be something else than JSON in UTF-8; 415 is the answer."""


class EventMalformed(EventRefused):
    """The body is no JSON, nests too deeply, or says what readers understand differently; 422 is the answer."""
