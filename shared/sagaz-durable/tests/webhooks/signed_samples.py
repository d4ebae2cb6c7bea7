"""One good webhook of each kind of source, signed here, with what it takes to sign another one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from sagaz_durable.webhooks.sources import Delivery, GitHub, Hmac, Source, StandardWebhooks, Stripe

SENT_AT = 1_614_265_330
NOW = datetime.fromtimestamp(SENT_AT, UTC)
BODY = b'{"id": "evt_1", "type": "order.paid", "amount": 42}'
JSON = {"Content-Type": "application/json"}

SECRET = "It's a Secret to Everybody"
OTHER = "Not a Secret to Somebody.."
STANDARD = f"whsec_{base64.b64encode(SECRET.encode()).decode()}"
STANDARD_OTHER = f"whsec_{base64.b64encode(OTHER.encode()).decode()}"
STRIPE, STRIPE_OTHER = "whsec_0123456789abcdef", "whsec_0123456789abcdee"
PUBLIC = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
PUBLIC_OTHER = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
SEED = base64.b64decode("6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc=")


def digest(key: str | bytes, message: bytes, name: str = "sha256") -> bytes:
    return hmac.new(key.encode() if isinstance(key, str) else key, message, getattr(hashlib, name)).digest()


def sign_standard(body: bytes, sent_at: str, key: str) -> dict[str, str]:
    raw = base64.b64decode(key.removeprefix("whsec_"))
    signature = base64.b64encode(digest(raw, b"msg_1." + sent_at.encode() + b"." + body)).decode()
    return {"webhook-id": "msg_1", "webhook-timestamp": sent_at, "webhook-signature": f"v1,{signature}"}


def sign_public(body: bytes, sent_at: str, key: str) -> dict[str, str]:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.from_private_bytes(SEED)
    signature = base64.b64encode(private.sign(b"msg_1." + sent_at.encode() + b"." + body)).decode()
    return {"webhook-id": "msg_1", "webhook-timestamp": sent_at, "webhook-signature": f"v1a,{signature}"}


def sign_stripe(body: bytes, sent_at: str, key: str) -> dict[str, str]:
    return {"Stripe-Signature": f"t={sent_at},v1={digest(key, sent_at.encode() + b'.' + body).hex()}"}


def sign_github(body: bytes, sent_at: str, key: str) -> dict[str, str]:
    signature = f"sha256={digest(key, body).hex()}"
    return {"X-Hub-Signature-256": signature, "X-GitHub-Delivery": "72d3162e-cc78", "X-GitHub-Event": "issues"}


def sign_slack(body: bytes, sent_at: str, key: str) -> dict[str, str]:
    signature = f"v0={digest(key, b'v0:' + sent_at.encode() + b':' + body).hex()}"
    return {"X-Slack-Signature": signature, "X-Slack-Request-Timestamp": sent_at}


def sign_shopify(body: bytes, sent_at: str, key: str) -> dict[str, str]:
    signature = base64.b64encode(digest(key, body)).decode()
    return {"X-Shopify-Hmac-Sha256": signature, "X-Shopify-Event-Id": "98880550", "X-Shopify-Topic": "orders/paid"}


def sign_all(body: bytes, sent_at: str, key: str) -> dict[str, str]:
    signature = digest(key, f"{sent_at}|d-1|".encode() + body, "sha512").hex()
    return {"X-Signature": signature, "X-Time": sent_at, "X-Delivery": "d-1"}


def slack(secrets: object) -> Hmac:
    return Hmac(
        secrets, header="X-Slack-Signature", prefix="v0=", timestamp_header="X-Slack-Request-Timestamp",
        signed="v0:{timestamp}:{body}", delivery_member="id", event_member="type",
    )  # fmt: skip


def shopify(secrets: object) -> Hmac:
    return Hmac(
        secrets, header="X-Shopify-Hmac-Sha256", encoding="base64", delivery_header="X-Shopify-Event-Id",
        event_header="X-Shopify-Topic",
    )  # fmt: skip


def all_signed(secrets: object) -> Hmac:
    return Hmac(
        secrets, header="X-Signature", digest="sha512", timestamp_header="X-Time", delivery_header="X-Delivery",
        signed="{timestamp}|{delivery_id}|{body}",
    )  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """A kind of source, and how its sender signs.

    Attributes:
        signature: The header that has it.
        signed: The headers whose every bit is signed, or is part of a signature.
        delivery: What the headers of a good webhook say.
    """

    name: str
    make: Callable[[object], Source]
    secret: str
    other: str
    sign: Callable[[bytes, str, str], dict[str, str]]
    signature: str
    signed: tuple[str, ...]
    delivery: Delivery

    @property
    def is_caseless(self) -> bool:
        """Whether the signature may be written in capitals."""
        return self.name in ("slack", "all")

    @property
    def source(self) -> Source:
        return self.make(self.secret)

    def headers(self, body: bytes = BODY, sent_at: int | str = SENT_AT, key: str | None = None) -> Mapping[str, str]:
        return self.sign(body, str(sent_at), key or self.secret)


_STANDARD = ("webhook-id", "webhook-timestamp", "webhook-signature")

SAMPLES = [
    Sample(
        "standard", StandardWebhooks, STANDARD, STANDARD_OTHER, sign_standard, "webhook-signature", _STANDARD,
        Delivery("msg_1", None),
    ),
    Sample(
        "public", StandardWebhooks, PUBLIC, PUBLIC_OTHER, sign_public, "webhook-signature", _STANDARD,
        Delivery("msg_1", None),
    ),
    Sample(
        "stripe", Stripe, STRIPE, STRIPE_OTHER, sign_stripe, "Stripe-Signature", ("Stripe-Signature",),
        Delivery(None, None),
    ),
    Sample(
        "github", GitHub, SECRET, OTHER, sign_github, "X-Hub-Signature-256", ("X-Hub-Signature-256",),
        Delivery("72d3162e-cc78", "issues"),
    ),
    Sample(
        "slack", slack, SECRET, OTHER, sign_slack, "X-Slack-Signature",
        ("X-Slack-Signature", "X-Slack-Request-Timestamp"), Delivery(None, None),
    ),
    Sample(
        "shopify", shopify, SECRET, OTHER, sign_shopify, "X-Shopify-Hmac-Sha256", ("X-Shopify-Hmac-Sha256",),
        Delivery("98880550", "orders/paid"),
    ),
    Sample(
        "all", all_signed, SECRET, OTHER, sign_all, "X-Signature", ("X-Signature", "X-Time", "X-Delivery"),
        Delivery("d-1", None),
    ),
]  # fmt: skip

TIMED = [sample for sample in SAMPLES if sample.name not in ("github", "shopify")]


def _params(samples):
    marks = {PUBLIC: [with_public_keys]}
    return [pytest.param(sample, id=sample.name, marks=marks.get(sample.secret, [])) for sample in samples]


with_public_keys = pytest.mark.skipif(
    importlib.util.find_spec("cryptography") is None,
    reason="CRYPTOGRAPHY IS NOT INSTALLED: nothing tries the public keys of webhooks",
)
each = pytest.mark.parametrize("sample", _params(SAMPLES))
timed = pytest.mark.parametrize("sample", _params(TIMED))
