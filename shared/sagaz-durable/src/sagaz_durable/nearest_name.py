"""The likeliest of the names that someone may have meant, for error messages."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["closest", "nearest"]


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the name that is spelled most alike; None if none is."""
    # Only mistakes need it.
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, list(known), n=1)), None)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a sentence with the step that is spelled most alike, or with all of them."""
    names = sorted(known)
    if (close := closest(name, names)) is not None:
        return f" Did you mean {close!r}?"
    return f" Steps: {', '.join(names) or 'none'}."
