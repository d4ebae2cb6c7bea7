"""Error texts as they are kept: bounded, and storable everywhere."""

from __future__ import annotations

__all__ = ["error_text", "message_of", "message_text", "storable"]

_MAX_CHARACTERS = 2_000


def error_text(error: BaseException) -> str:
    """Return an exception's type and message, without what PostgreSQL's text cannot hold."""
    return storable(f"{type(error).__name__}: {error}")


def message_text(error: BaseException) -> str:
    """Return an exception's message alone, without what PostgreSQL's text cannot hold."""
    return storable(str(error))


def message_of(text: str) -> str:
    """Return the message alone from what `error_text` made."""
    return text.partition(": ")[2]


def storable(text: str) -> str:
    """Return a text without what PostgreSQL cannot hold, cut where it becomes too long."""
    text = text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= _MAX_CHARACTERS else text[: _MAX_CHARACTERS - 1] + "…"
