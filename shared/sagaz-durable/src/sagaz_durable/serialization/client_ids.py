"""Ids, keys and names that come from clients: which of them can be recorded, and which can be looked for at all."""

from __future__ import annotations

from sagaz_integration_core.errors import InvalidInput

__all__ = ["check_identifier", "findable"]


def check_identifier(what: str, value: object, *, most: int = 200) -> None:
    """Refuse what cannot be an id or a key, without repeating it.

    Raises:
        InvalidInput: It is no string of 1 to ``most`` printable characters.
    """
    if not isinstance(value, str) or not 0 < len(value) <= most or not value.isprintable():
        given = f"{len(value)} characters" if isinstance(value, str) else type(value).__name__
        raise InvalidInput(f"{what} must be a string of 1 to {most} printable characters, got {given}.")


def findable(*values: object) -> bool:
    """Whether a database can look for all of these: strings without NUL and lone surrogates, or None for whatever."""
    return all(
        value is None or (isinstance(value, str) and "\0" not in value and _is_unicode(value)) for value in values
    )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
