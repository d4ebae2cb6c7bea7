"""How a part of a JSON tree is known that stands for a value which JSON has not, as ``{"$sagaz.decimal": "12.50"}``."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["BYTES", "ENUM", "MARK", "escaped", "looks_like_tag", "tag_key_of"]

MARK = "$sagaz."
"""With what the key of such an object begins, which is its only one."""

ENUM = f"{MARK}enum"
"""The key of a member of an enum: ``{"$sagaz.enum": ["Currency", "EUR"]}``, its class and its value."""

BYTES = f"{MARK}bytes"
"""The key of bytes: ``{"$sagaz.bytes": "AAE="}``, in base64."""

_LOOKS = re.compile(r"\$+sagaz\.")


def looks_like_tag(key: object) -> bool:
    """Whether a dict with this key alone must not be written as it is, or was not."""
    return type(key) is str and key[:1] == "$" and _LOOKS.match(key) is not None


def escaped(key: str) -> bool:
    """Whether such a key is that of a dict which was written with one more ``$``."""
    return key.startswith("$$")


def tag_key_of(tree: Any) -> str | None:
    """Return the key by which a part of a JSON tree is a tagged value; None if it is not."""
    if isinstance(tree, dict) and len(tree) == 1:
        [key] = tree
        if looks_like_tag(key) and not escaped(key):
            return str(key)
    return None
