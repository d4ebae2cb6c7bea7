"""Addresses without their secrets, for error messages, logs and repr."""

from __future__ import annotations

import re

__all__ = ["redact"]

_USERINFO = re.compile(r"\A((?:\s*[A-Za-z][\w+.-]*://)?+[^:]*:).*@", re.DOTALL)
"""Up to the last ``@``: a password that was not percent-encoded may hold other ones, and ``/`` and ``?`` too."""

_SECRET_PARAMETER = re.compile(
    r"((?:^|[?&;\s])[\w.%-]*(?:pass|pwd|secret|token|credential|api_?key)[\w.%-]*\s*=\s*)('(?:[^'\\]|\\.)*'|[^&\s]*)",
    re.IGNORECASE,
)


def redact(url: object) -> str:
    """Return an address with ``***`` in place of its password and of password-like parameters; it never raises."""
    if not isinstance(url, str):
        return f"<{type(url).__name__}>"
    return _SECRET_PARAMETER.sub(r"\1***", _USERINFO.sub(r"\1***@", url))
