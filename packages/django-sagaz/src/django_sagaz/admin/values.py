"""Anything that a context, a result or an error may hold, as text that cannot lie about what it is, and is not long."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from django.db.models import Case, Expression, TextField, When
from django.db.models.functions import Cast, Length
from django.utils.formats import date_format
from django.utils.timezone import is_aware, localtime
from django.utils.translation import gettext as _

from sagaz_integration_core.redaction import MASK

__all__ = ["LOADED", "json_size", "json_text", "shown_json", "time_text", "visible"]

LOADED = 4_000_000
"""How many characters of JSON are read for one page, at most."""

_STRING = 2_000
_WHOLE = 200_000
_DEPTH = 60
"""The codec stops at 30; a row that something else has written may go deeper."""

_INVISIBLE = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
"""What changes the look of other text, or cannot be seen: the order of writing, blanks of no width, controls."""


def visible(text: object) -> str:
    """Return text with an escape, as in JSON, for each character that hides, or turns others around."""
    return _INVISIBLE.sub(lambda match: f"\\u{ord(match[0]):04x}", str(text))


def time_text(moment: datetime | None, *, zone: bool = False) -> str:
    """Return a time to the second, in the reader's time zone, and maybe with its name."""
    if moment is None:
        return ""
    if is_aware(moment):
        return date_format(localtime(moment), "Y-m-d H:i:s T" if zone else "Y-m-d H:i:s")
    return date_format(moment, "Y-m-d H:i:s")


def json_size(field: str) -> Expression:
    """Return how many characters a `JSONField` has."""
    return Length(Cast(field, TextField()))


def json_text(field: str, at_most: int) -> Expression:
    """Return a `JSONField` as text, or NULL when it has more characters."""
    text = Cast(field, TextField())
    return Case(When(**{f"{field}_size__lte": at_most}, then=text), default=None, output_field=TextField())


def shown_json(text: str, is_secret: Callable[[str], bool]) -> str:
    """Return JSON with indentation, its secrets masked, and cut where it is long."""
    try:
        fragments = _fragments(json.loads(text), 0, is_secret)
        return "".join(_cut(fragments))
    except (ValueError, RecursionError):
        # The text itself is not shown: it may have secrets.
        return _("This is not JSON as sagaz writes it, or too deeply nested to be read.")


def _cut(fragments: Iterator[str]) -> Iterator[str]:
    room = _WHOLE
    for fragment in fragments:
        room -= len(fragment)
        if room < 0:
            yield "\n" + _("… The rest is too long to be shown here.")
            return
        yield fragment


def _fragments(value: Any, depth: int, is_secret: Callable[[str], bool]) -> Iterator[str]:
    if not isinstance(value, dict | list) or not value:
        yield _scalar(value)
        return
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    if depth >= _DEPTH:
        yield f"{opening}…{closing}"
        return
    yield opening
    for number, item in enumerate(value.items() if isinstance(value, dict) else value):
        yield f"{',' if number else ''}\n{'  ' * (depth + 1)}"
        if isinstance(value, dict):
            key, item = item
            yield f"{_scalar(key)}: "
            if is_secret(key):
                yield json.dumps(MASK)
                continue
        yield from _fragments(item, depth + 1, is_secret)
    yield f"\n{'  ' * depth}{closing}"


def _scalar(value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    text = visible(json.dumps(value[:_STRING], ensure_ascii=False))
    if len(value) <= _STRING:
        return text
    return text + " " + _("… (%(count)s characters in all)") % {"count": f"{len(value):,}"}
