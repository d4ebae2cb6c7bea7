"""Signing what an application hands out and takes back: what a signer does, and the one with keys of its own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any, Protocol

__all__ = ["KeySigner", "Signer"]


class Signer(Protocol):
    """Signs values for one purpose, so that what was signed for another one is none of them."""

    def sign(self, values: Sequence[Any]) -> str:
        """Return a token of ASCII characters that fit into an address; whoever has it can read the values."""
        ...

    def unsign(self, token: str) -> Any:
        """Return what was signed, perhaps with an earlier key; None if it is not this signer's. The token is ASCII."""
        ...


class KeySigner:
    """Signs with HMAC-SHA256.

    Args:
        keys: The first one signs, and each of them verifies.
        purpose: What is signed for another purpose with the same keys is not taken.
    """

    def __init__(self, keys: Sequence[str], purpose: str) -> None:
        self._keys = [_digest(key.encode(errors="surrogatepass"), purpose) for key in keys]

    def sign(self, values: Sequence[Any]) -> str:
        """Return the values and their signature, each in the alphabet of addresses."""
        # Not in ASCII, in which names of other scripts would become too long for an address.
        text = _encoded(json.dumps(values, separators=(",", ":"), ensure_ascii=False).encode())
        return f"{text}.{_encoded(_digest(self._keys[0], text))}"

    def unsign(self, token: str) -> Any:
        """Return what was signed, or None."""
        text, _, signature = token.rpartition(".")
        # As text: several texts stand for the same bytes.
        good = [hmac.compare_digest(_encoded(_digest(key, text)), signature) for key in self._keys]
        return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))) if any(good) else None


def _digest(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), hashlib.sha256)


def _encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
