"""Webhooks of whoever signs with HMAC in a way of his own."""

from __future__ import annotations

import base64
import re
from dataclasses import KW_ONLY, dataclass, field, fields
from datetime import datetime
from typing import Literal, get_args

from sagaz_durable.webhooks.delivery import Delivery
from sagaz_durable.webhooks.errors import SignatureRefused
from sagaz_durable.webhooks.headers import MOST_ID, Headers, check_header, needed_header, optional_header
from sagaz_durable.webhooks.places import check_places
from sagaz_durable.webhooks.secret_keys import Secrets, checked_secrets
from sagaz_durable.webhooks.shown import shown_name, shown_source, shown_template, shown_value
from sagaz_durable.webhooks.signatures import digests, is_among
from sagaz_durable.webhooks.timestamps import TOLERANCE, check_fresh, check_tolerance
from sagaz_integration_core.errors import SettingsError

__all__ = ["Digest", "Encoding", "Hmac"]

Digest = Literal["sha256", "sha384", "sha512"]
Encoding = Literal["hex", "base64"]

_PART = re.compile(r"(\{[^{}]*\})")


@dataclass(frozen=True, repr=False)
class Hmac:
    """A sender that signs with HMAC, in whatever way its documentation says.

    Args:
        secrets: As text; its UTF-8 is the key.
        header: Has the signature.
        prefix: What stands before it, as ``sha256=``.
        delivery_header: Has the delivery id, which each webhook then must have.
        delivery_member: The member of the event that has it, where no header does.
        event_header: Has the type of the event.
        event_member: The member of the event that has it, where no header does.
        timestamp_header: Has the time, in whole seconds since 1970.
        signed: What is signed: ``{body}`` once, ``{timestamp}`` if there is one, ``{delivery_id}``, and what stands
            between them. What is not signed, whoever has recorded one webhook can change: without a time, it can be
            sent again for ever.
        tolerance: Seconds by which the time may differ from ours, earlier and later.

    Raises:
        SettingsError: A secret is none, or something contradicts another thing.
    """

    secrets: Secrets = field(repr=False)
    _: KW_ONLY
    header: str
    digest: Digest = "sha256"
    encoding: Encoding = "hex"
    prefix: str = ""
    delivery_header: str | None = None
    delivery_member: str | None = None
    event_header: str | None = None
    event_member: str | None = None
    timestamp_header: str | None = None
    signed: str = "{body}"
    tolerance: float = TOLERANCE
    _keys: tuple[bytes, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_tolerance("Hmac", self.tolerance)
        _check_choice("digest", self.digest, get_args(Digest))
        _check_choice("encoding", self.encoding, get_args(Encoding))
        check_places("Hmac", self)
        check_header("Hmac", "header", self.header)
        if self.timestamp_header is not None:
            check_header("Hmac", "timestamp_header", self.timestamp_header)
        _check_signed(self)
        secrets = checked_secrets("Hmac", self.secrets)
        _check_apart(self, secrets)
        object.__setattr__(self, "secrets", secrets)
        object.__setattr__(self, "_keys", tuple(secret.encode() for secret in secrets))

    def __repr__(self) -> str:
        return shown_source(self)

    def verify(self, headers: Headers, body: bytes, now: datetime) -> Delivery:
        """Return what the headers of a webhook say that is signed with one of the secrets; see `Source`.

        Raises:
            SignatureRefused: It is not, or is not from about now.
        """
        sent = needed_header(headers, self.header)
        values = {"{body}": body}
        if self.timestamp_header is not None:
            sent_at = needed_header(headers, self.timestamp_header)
            check_fresh(shown_name(self.timestamp_header), sent_at, now, self.tolerance)
            values["{timestamp}"] = sent_at.encode()
        delivery_id = None
        if self.delivery_header is not None:
            delivery_id = needed_header(headers, self.delivery_header, MOST_ID)
            values["{delivery_id}"] = delivery_id.encode()
        message = b"".join(values[part] if part in values else part.encode() for part in _PART.split(self.signed))
        if not is_among([self._canonical(sent)], map(self._text, digests(self._keys, message, self.digest))):
            raise SignatureRefused(f"{shown_name(self.header)} is no signature by one of the secrets")
        return Delivery(delivery_id, optional_header(headers, self.event_header, MOST_ID) or None)

    def _text(self, digest: bytes) -> str:
        return self.prefix + (digest.hex() if self.encoding == "hex" else base64.b64encode(digest).decode())

    def _canonical(self, sent: str) -> str:
        # Some write hexadecimal digits in capitals.
        prefix, text = sent[: len(self.prefix)], sent[len(self.prefix) :]
        return prefix + (text.lower() if self.encoding == "hex" else text)


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SettingsError(f"Hmac({name}={shown_value(value)}): expected {' or '.join(choices)}.")


def _check_apart(source: Hmac, secrets: tuple[str, ...]) -> None:
    """Refuse a secret in another place than its own, where it would be shown."""
    for shown in filter(lambda one: one.repr, fields(source)):
        given = getattr(source, shown.name)
        if isinstance(given, str) and any(secret in given for secret in secrets):
            raise SettingsError(f"Hmac({shown.name}=…): that has one of the secrets; expected them in secrets= alone.")


def _check_signed(source: Hmac) -> None:
    parts, known = _PART.findall(source.signed), {"{body}": True, "{timestamp}": source.timestamp_header is not None}
    known["{delivery_id}"] = source.delivery_header is not None
    unknown = [part for part in parts if not known.get(part)]
    if unknown or parts.count("{body}") != 1:
        raise _refused_signed(
            source, "{body} once, {timestamp} with timestamp_header=…, and {delivery_id} with delivery_header=…"
        )
    if source.timestamp_header is not None and "{timestamp}" not in parts:
        raise _refused_signed(source, "{timestamp} in it, because a time that is not signed is whatever one likes")


def _refused_signed(source: Hmac, expected: str) -> SettingsError:
    return SettingsError(f"Hmac(signed={shown_template(source.signed)}): expected {expected}.")
