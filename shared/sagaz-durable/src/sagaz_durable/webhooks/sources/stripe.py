"""Webhooks that Stripe signs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from sagaz_durable.webhooks.delivery import Delivery
from sagaz_durable.webhooks.errors import SignatureRefused
from sagaz_durable.webhooks.headers import Headers, needed_header
from sagaz_durable.webhooks.secret_keys import Secrets, checked_secrets, refused_secret
from sagaz_durable.webhooks.signatures import bounded, digests, is_among
from sagaz_durable.webhooks.timestamps import TOLERANCE, check_fresh, check_tolerance

__all__ = ["Stripe"]

_HEADER = "Stripe-Signature"
_PREFIX = "whsec_"


@dataclass(frozen=True)
class Stripe:
    """Stripe, which signs time and body; id and type are members of its events.

    Args:
        secrets: Of the endpoint, ``whsec_…``, as the dashboard or ``stripe listen`` shows them; no API key.
        tolerance: Seconds by which the time may differ from ours, earlier and later.

    Raises:
        SettingsError: A secret is none.
    """

    secrets: Secrets = field(repr=False)
    tolerance: float = TOLERANCE
    _keys: tuple[bytes, ...] = field(init=False, repr=False)

    delivery_member: ClassVar[str | None] = "id"
    event_member: ClassVar[str | None] = "type"

    def __post_init__(self) -> None:
        check_tolerance("Stripe", self.tolerance)
        secrets = checked_secrets("Stripe", self.secrets)
        for place, secret in enumerate(secrets, 1):
            if "," in secret:
                raise refused_secret("Stripe", place, len(secrets), 'has a comma; are they several? .split(",") them.')
            if not (secret.startswith(_PREFIX) and secret.isascii()):
                raise refused_secret("Stripe", place, len(secrets), f"is none of an endpoint; expected {_PREFIX}….")
        object.__setattr__(self, "secrets", secrets)
        # Its prefix is part of the key.
        object.__setattr__(self, "_keys", tuple(secret.encode() for secret in secrets))

    def verify(self, headers: Headers, body: bytes, now: datetime) -> Delivery:
        """Return what the headers of a webhook say that is signed with one of the secrets: nothing; see `Source`.

        Raises:
            SignatureRefused: It is not, or is not from about now.
        """
        parts = [part.partition("=") for part in needed_header(headers, _HEADER).split(",")]
        times = [value for name, _, value in parts if name == "t"]
        sent = bounded(_HEADER, [value for name, _, value in parts if name == "v1"])
        if len(times) != 1:
            raise SignatureRefused(f"{_HEADER} has {len(times)} times")
        check_fresh(_HEADER, times[0], now, self.tolerance)
        good = [digest.hex() for digest in digests(self._keys, b".".join((times[0].encode(), body)))]
        if not is_among(sent, good):
            raise SignatureRefused(f"{_HEADER} has no signature by one of the secrets")
        return Delivery(None, None)
