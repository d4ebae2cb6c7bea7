"""Names in lines of a limited width; nothing is left out."""

from __future__ import annotations

import re
import unicodedata

from sagaz_integration_core.error_text import visible

__all__ = ["wrapped"]


def wrapped(name: str, width: int) -> tuple[str, ...]:
    """Return a name in lines of at most ``width`` columns of a font with one width, broken where words end."""
    lines = [""]
    for part in re.findall(r"[^\W_]+|[\W_]+?", visible(name)):
        if _columns(lines[-1] + part) > width and lines[-1] and _columns(part) <= width:
            lines.append("")
        for character in part:
            if _columns(lines[-1] + character) > width:
                lines.append("")
            lines[-1] += character
    return tuple(line.strip() for line in lines)


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
