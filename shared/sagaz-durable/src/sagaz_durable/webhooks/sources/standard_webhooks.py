"""Webhooks that are signed as standardwebhooks.com has it, version 1.0.0."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from sagaz_durable.webhooks.delivery import Delivery
from sagaz_durable.webhooks.errors import SignatureRefused
from sagaz_durable.webhooks.headers import MOST_ID, Headers, needed_header
from sagaz_durable.webhooks.secret_keys import Secrets, checked_secrets, refused_secret
from sagaz_durable.webhooks.signatures import bounded, digests, is_among
from sagaz_durable.webhooks.sources.ed25519 import PUBLIC_BYTES, is_signed, public_key
from sagaz_durable.webhooks.timestamps import TOLERANCE, check_fresh, check_tolerance

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

__all__ = ["StandardWebhooks"]

_NAME = "StandardWebhooks"
_ID, _TIMESTAMP, _SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
_SHARED, _PUBLIC, _PRIVATE = "whsec_", "whpk_", "whsk_"
_LEAST_KEY = 24


@dataclass(frozen=True)
class StandardWebhooks:
    """A sender that signs as Standard Webhooks has it: id, time and body.

    Args:
        secrets: As the sender shows them: ``whsec_…``, or ``whpk_…`` for a public key (``v1a``), which needs the extra
            ``webhooks-v1a``; several while one is being replaced.
        tolerance: Seconds by which the time may differ from ours, earlier and later.

    Raises:
        SettingsError: A secret is none.
    """

    secrets: Secrets = field(repr=False)
    tolerance: float = TOLERANCE
    _keys: tuple[bytes, ...] = field(init=False, repr=False)
    _public: tuple[Ed25519PublicKey, ...] = field(init=False, repr=False, compare=False)

    delivery_member: ClassVar[str | None] = None
    event_member: ClassVar[str | None] = "type"

    def __post_init__(self) -> None:
        check_tolerance(_NAME, self.tolerance)
        secrets = checked_secrets(_NAME, self.secrets)
        raw = [(secret, _raw_key(secret, place, len(secrets))) for place, secret in enumerate(secrets, 1)]
        object.__setattr__(self, "secrets", secrets)
        object.__setattr__(self, "_keys", tuple(key for secret, key in raw if not secret.startswith(_PUBLIC)))
        public = tuple(public_key(key) for secret, key in raw if secret.startswith(_PUBLIC))
        object.__setattr__(self, "_public", public)

    def verify(self, headers: Headers, body: bytes, now: datetime) -> Delivery:
        """Return the delivery id of a webhook that is signed with one of the secrets; see `Source`.

        Raises:
            SignatureRefused: It is not, or is not from about now.
        """
        delivery_id = needed_header(headers, _ID, MOST_ID)
        sent_at = needed_header(headers, _TIMESTAMP)
        sent = bounded(_SIGNATURE, needed_header(headers, _SIGNATURE).split(" "))
        check_fresh(_TIMESTAMP, sent_at, now, self.tolerance)
        signed = b".".join((delivery_id.encode(), sent_at.encode(), body))
        if not (self._is_shared(sent, signed) or is_signed(self._public, _of_version("v1a", sent), signed)):
            raise SignatureRefused(f"{_SIGNATURE} has no signature by one of the secrets")
        return Delivery(delivery_id, None)

    def _is_shared(self, sent: Sequence[str], signed: bytes) -> bool:
        good = [base64.b64encode(digest).decode() for digest in digests(self._keys, signed)]
        return is_among(_of_version("v1", sent), good)


def _of_version(version: str, sent: Sequence[str]) -> list[str]:
    return [one.removeprefix(f"{version},") for one in sent if one.startswith(f"{version},")]


def _raw_key(secret: str, place: int, of: int) -> bytes:
    if secret.startswith(_PRIVATE):
        raise refused_secret(_NAME, place, of, "is a private key, which is the sender's alone; expected whpk_….")
    text = secret.removeprefix(_PUBLIC).removeprefix(_SHARED)
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise refused_secret(
            _NAME, place, of, "is no base64; expected whsec_… or whpk_…, as the sender shows it."
        ) from None
    if secret.startswith(_PUBLIC) and len(key) != PUBLIC_BYTES:
        raise refused_secret(_NAME, place, of, f"is a public key of {len(key)} bytes; expected {PUBLIC_BYTES}.")
    if len(key) < _LEAST_KEY:
        raise refused_secret(_NAME, place, of, f"has {len(key)} bytes after whsec_; expected at least {_LEAST_KEY}.")
    return key
