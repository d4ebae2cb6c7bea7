"""Signatures that anybody can check and the sender alone can make: ``v1a`` of Standard Webhooks."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sagaz_integration_core.errors import SettingsError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

__all__ = ["PUBLIC_BYTES", "is_signed", "public_key"]

PUBLIC_BYTES = 32


def public_key(raw: bytes) -> Ed25519PublicKey:
    """Return a key of its 32 bytes.

    Raises:
        SettingsError: The package for it is not installed.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        raise SettingsError(
            "StandardWebhooks(secrets=…): a public key (whpk_…) needs the package cryptography, which is not "
            "installed: pip install cryptography, or your plugin with its extra [webhooks-v1a]."
        ) from None
    return Ed25519PublicKey.from_public_bytes(raw)


def is_signed(keys: Iterable[Ed25519PublicKey], sent: Iterable[str], message: bytes) -> bool:
    """Whether one of the signatures, each in base64, is one of the keys'."""
    signatures = [signature for one in sent if (signature := _decoded(one)) is not None]
    return any(_verifies(key, signature, message) for key in keys for signature in signatures)


def _decoded(text: str) -> bytes | None:
    try:
        signature = base64.b64decode(text)
    except ValueError:
        return None
    # Several texts stand for the same bytes, some with characters that are left out.
    return signature if base64.b64encode(signature).decode() == text else None


def _verifies(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True
