"""Webhooks that GitHub signs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from sagaz_durable.webhooks.delivery import Delivery
from sagaz_durable.webhooks.errors import SignatureRefused
from sagaz_durable.webhooks.headers import MOST_ID, Headers, needed_header
from sagaz_durable.webhooks.secret_keys import Secrets, checked_secrets
from sagaz_durable.webhooks.signatures import digests, is_among

__all__ = ["GitHub"]

_SIGNATURE, _DELIVERY, _EVENT = "X-Hub-Signature-256", "X-GitHub-Delivery", "X-GitHub-Event"


@dataclass(frozen=True)
class GitHub:
    """GitHub, which signs the body alone, with no time: what keeps a recorded one from being sent again is its id.

    Args:
        secrets: As they were typed into the webhook's settings, where ``application/json`` has to be chosen, too.

    Raises:
        SettingsError: A secret is none.
    """

    secrets: Secrets = field(repr=False)
    _keys: tuple[bytes, ...] = field(init=False, repr=False)

    delivery_member: ClassVar[str | None] = None
    event_member: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        secrets = checked_secrets("GitHub", self.secrets)
        object.__setattr__(self, "secrets", secrets)
        object.__setattr__(self, "_keys", tuple(secret.encode() for secret in secrets))

    def verify(self, headers: Headers, body: bytes, now: datetime) -> Delivery:
        """Return id and type of a webhook that is signed with one of the secrets; see `Source`.

        Raises:
            SignatureRefused: It is not.
        """
        sent = needed_header(headers, _SIGNATURE)
        delivery = Delivery(needed_header(headers, _DELIVERY, MOST_ID), needed_header(headers, _EVENT, MOST_ID))
        good = [f"sha256={digest.hex()}" for digest in digests(self._keys, body)]
        if not is_among([sent], good):
            raise SignatureRefused(f"{_SIGNATURE} is no signature by one of the secrets")
        return delivery
