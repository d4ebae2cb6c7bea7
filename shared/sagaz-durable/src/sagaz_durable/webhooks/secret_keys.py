"""The secrets that a source shares with its sender: several while one is replaced, and none that could be guessed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from sagaz_integration_core.error_text import type_name
from sagaz_integration_core.errors import SettingsError

__all__ = ["LEAST_BYTES", "Secrets", "checked_secrets", "refused_secret"]

Secrets: TypeAlias = str | Sequence[str]
"""One secret, or all that are valid at present."""

LEAST_BYTES = 16


def checked_secrets(source: str, given: object) -> tuple[str, ...]:
    """Return secrets as a tuple.

    Args:
        source: The class that has them, for messages.

    Raises:
        SettingsError: There is none, one is no text, has white space around it, or fewer than 16 bytes; it shows none.
    """
    secrets = (given,) if given is None or isinstance(given, str) else given
    if not isinstance(secrets, list | tuple):
        raise SettingsError(f"{source}(secrets=…): expected a string or a list of them, not {type_name(given)}.")
    if not secrets:
        raise SettingsError(f"{source}(secrets=…): there is none; give the one that the sender shows.")
    return tuple(_checked(source, secret, place, len(secrets)) for place, secret in enumerate(secrets, 1))


def refused_secret(source: str, place: int, of: int, why: str) -> SettingsError:
    """Return the error for one of several secrets, which it does not show."""
    which = "the secret" if of == 1 else f"secret {place} of {of}"
    return SettingsError(f"{source}(secrets=…): {which} {why}")


def _checked(source: str, secret: object, place: int, of: int) -> str:
    if not isinstance(secret, str):
        why = (
            "is None; is the environment variable set?" if secret is None else f"is no string, but {type_name(secret)}."
        )
        raise refused_secret(source, place, of, why)
    if secret != secret.strip():
        raise refused_secret(source, place, of, "has white space around it; strip it where it is read.")
    try:
        size = len(secret.encode())
    except UnicodeEncodeError:
        # Not chained: the error holds the secret.
        raise refused_secret(source, place, of, "is no text in UTF-8.") from None
    if size < LEAST_BYTES:
        raise refused_secret(
            source, place, of, f"has {size} bytes; expected at least {LEAST_BYTES}: have the sender make a new one."
        )
    return secret
