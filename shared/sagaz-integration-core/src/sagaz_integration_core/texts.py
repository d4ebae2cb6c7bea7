"""Error texts as they are kept: bounded, and storable everywhere."""

from __future__ import annotations

__all__ = ["error_text"]

_MAX_CHARACTERS = 2_000


def error_text(error: BaseException) -> str:
    """Return an exception's type and message, without what PostgreSQL's text cannot hold."""
    text = f"{type(error).__name__}: {error}".replace("\x00", "\ufffd")
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= _MAX_CHARACTERS else text[: _MAX_CHARACTERS - 1] + "…"
