"""HMAC signatures: made with each secret, and compared with all that were sent in a time that tells nothing."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence

from sagaz_durable.webhooks.errors import SignatureRefused

__all__ = ["bounded", "digests", "is_among"]

_MOST_SIGNATURES = 20
"""A sender that is replacing its secret signs with two of them."""


def digests(keys: Iterable[bytes], signed: bytes, digest: str = "sha256") -> list[bytes]:
    """Return the signature of a message with each key."""
    return [hmac.digest(key, signed, digest) for key in keys]


def bounded(name: str, signatures: Sequence[str]) -> Sequence[str]:
    """Return the signatures of a header.

    Raises:
        SignatureRefused: There are more than 20.
    """
    if len(signatures) > _MOST_SIGNATURES:
        raise SignatureRefused(f"{name} has {len(signatures)} signatures, and {_MOST_SIGNATURES} are allowed")
    return signatures


def is_among(sent: Iterable[str], expected: Iterable[str]) -> bool:
    """Whether one of the signatures that were sent is expected; all are ASCII, and each is compared with each."""
    good = [one.encode() for one in expected]
    # All of them, whichever it is that fits.
    return sum(hmac.compare_digest(one.encode(), other) for one in sent for other in good) > 0
