"""Addresses and contexts without their secrets, for error messages, logs, repr, commands and admin pages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from fnmatch import translate
from typing import Any

__all__ = ["MASK", "looks_secret", "masked", "masked_json", "redact", "secret_keys"]

MASK = "***"
"""What is shown in place of a secret."""

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


_SECRET_KEY = re.compile(
    r"pass(word|wd|phrase)?$|pwd|secret|token|credential|api_?key|private_?key|authori[sz]ation|cookie|cvv|cvc|iban|"
    r"card_?number|(^|_)pan$|(^|_)pin$|(^|_)ssn$",
    re.IGNORECASE,
)


def looks_secret(key: str) -> bool:
    """Whether a context's key names what should not be shown, as ``card_number`` or ``api_key`` do."""
    return _SECRET_KEY.search(key) is not None


def secret_keys(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Return the test for keys whose values are not shown: `looks_secret`, as a project's patterns change it.

    Args:
        patterns: Shell patterns for whole keys, case ignored; one behind a ``!`` is for keys that may be shown. The
            last one that matches decides.
    """
    rules = [(re.compile(translate(p.removeprefix("!")), re.IGNORECASE), p[:1] != "!") for p in reversed(patterns)]

    def is_secret(key: str) -> bool:
        for pattern, secret in rules:
            if pattern.match(key):
                return secret
        return looks_secret(key)

    return is_secret


def masked(value: Any, is_secret: Callable[[str], bool] = looks_secret) -> Any:
    """Return JSON-like data with `MASK` in place of the values whose keys are secret, at any depth."""
    if isinstance(value, dict):
        return {key: MASK if is_secret(key) else masked(inner, is_secret) for key, inner in value.items()}
    if isinstance(value, list):
        return [masked(inner, is_secret) for inner in value]
    return value


def masked_json(text: str, is_secret: Callable[[str], bool] = looks_secret) -> str:
    """Return JSON with `MASK` in place of the values whose keys are secret."""
    return json.dumps(masked(json.loads(text), is_secret), ensure_ascii=False)
