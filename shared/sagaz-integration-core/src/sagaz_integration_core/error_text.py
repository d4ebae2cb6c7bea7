"""Text of what others made: it never raises, stays short, and shows what could forge a line or move a cursor."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any
from unicodedata import category

__all__ = [
    "error_text",
    "json_text",
    "message_of",
    "message_text",
    "storable",
    "type_name",
    "value_text",
    "visible",
    "visible_lines",
]

_MAX_CHARACTERS = 2_000
_MAX_NAME = 200

_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
"""Unicode's controls (C0, C1), formats (bidi, byte order marks, tags), surrogates, line and paragraph separators."""

_JOINERS = "\u200c\u200d"
"""Persian words and families of emoji are written with these two formats, and they move nothing."""

_type_name = type.__dict__["__name__"].__get__
"""A metaclass may give its classes a ``__name__`` of its own, even one that raises; this one is the interpreter's."""


def error_text(error: BaseException) -> str:
    """Return an exception's type and message, visible and at most 2,000 characters long.

    It never raises, whatever ``__str__``, ``__repr__``, ``__class__`` or the type's name do, except for the
    KeyboardInterrupt that stops the main thread.
    """
    name, message = type_name(error), message_text(error)
    return _cut(f"{name}: {message}" if message else name, _MAX_CHARACTERS)


def message_text(error: BaseException) -> str:
    """Return an exception's message alone; see `error_text`."""
    return _made(str, error)


def value_text(value: object, most: int = _MAX_CHARACTERS) -> str:
    """Return what `repr` says of a value, visible and at most ``most`` characters long; like `error_text`."""
    kind = type(value)
    if (kind is str or kind is bytes) and len(value) > most:  # type: ignore[arg-type]  # pyright: ignore
        value = value[:most]  # type: ignore[index]  # pyright: ignore
    return _made(repr, value, most)


def type_name(value: object) -> str:
    """Return the name of a value's class, visible and at most 200 characters long; it never raises."""
    return visible(_type_name(type(value)), _MAX_NAME)


def message_of(text: str) -> str:
    """Return the message alone from what `error_text` made."""
    return text.partition(": ")[2]


def storable(text: str) -> str:
    """Return a text that every store keeps as it is: visible, and cut where it becomes too long."""
    return visible(text, _MAX_CHARACTERS)


def visible(text: str, most: int | None = None) -> str:
    r"""Return a text with what does not print as escapes (``\n``, ``\x1b``, ``\u202e``), so that it is one line.

    Args:
        text: Any text; the joiners of Persian words and of emoji stay as they are, and so does a backslash.
        most: How many characters to keep at most; what is cut off is shown as ``…``.
    """
    # One more than is kept, so that a cut is seen; an exact str, because a subclass may do anything.
    text = str.__getitem__(text, slice(None if most is None else most + 1))
    if not text.isprintable():
        text = "".join(_shown(character) for character in text)
    return text if most is None else _cut(text, most)


def visible_lines(text: str) -> str:
    """Return a text of several lines of our own, each of them made visible."""
    return "\n".join(map(visible, text.split("\n")))


def json_text(value: Any, *, indent: int | None = None, default: Callable[[Any], Any] | None = None) -> str:
    r"""Return JSON that is read as it is written: what does not print is escaped (``\u202e``), the rest is not."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=default)
    return text if text.isprintable() else "".join(map(_shown_in_json, text))


def _made(make: Callable[[Any], str], value: object, most: int = _MAX_CHARACTERS) -> str:
    try:
        return visible(make(value), most)
    except BaseException as error:
        # Ctrl-C arrives in the main thread, whatever runs there; everything else comes out of the value's own code.
        # isinstance would ask the error for its __class__.
        if issubclass(type(error), KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            raise
        return f"<{make.__name__}() raised {type_name(error)}>"


def _shown(character: str) -> str:
    if category(character) not in _HIDDEN or character in _JOINERS:
        return character
    return character.encode("unicode_escape").decode("ascii")


def _shown_in_json(character: str) -> str:
    if character == "\n" or _shown(character) == character:
        return character
    # json escapes all but printable ASCII, and DEL.
    return json.dumps(character)[1:-1] if character != "\x7f" else r"\u007f"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
