"""Random ids, of which every request and every run may take one."""

from __future__ import annotations

import os

__all__ = ["random_uuid"]


def random_uuid() -> str:
    """Return a random UUID (version 4 of RFC 9562), as ``str(uuid4())`` does; here without an object in between."""
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) % 4]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
