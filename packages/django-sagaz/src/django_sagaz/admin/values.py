"""Anything that a context, a result or an error may hold, as text that cannot lie about what it is, and is not long."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Case, Expression, TextField, When
from django.db.models.functions import Cast, Length
from django.utils.formats import date_format
from django.utils.timezone import is_aware, localtime
from django.utils.timezone import now as current_time
from django.utils.translation import gettext as _

from sagaz_durable.redaction import masked
from sagaz_durable.tag_keys import tag_key_of
from sagaz_integration_core.error_text import json_text as as_json
from sagaz_integration_core.error_text import visible as one_line

__all__ = ["LOADED", "json_size", "json_text", "present", "shown_json", "shown_value", "time_text", "visible"]

LOADED = 4_000_000
"""How many characters of JSON are read for one page, at most."""

_STRING = 2_000
_WHOLE = 200_000
_DEPTH = 60
"""The codec stops at 30; a row that something else has written may go deeper."""


def visible(text: object) -> str:
    """Return text with an escape for each character that hides, breaks the line, or turns others around."""
    return one_line(str(text))


def time_text(moment: datetime | None, *, zone: bool = False) -> str:
    """Return a time to the second, in the reader's time zone, and maybe with its name."""
    if moment is None:
        return ""
    if is_aware(moment):
        return date_format(localtime(moment), "Y-m-d H:i:s T" if zone else "Y-m-d H:i:s")
    return date_format(moment, "Y-m-d H:i:s")


def present(alias: str | None) -> datetime:
    """Return the time now as the ORM gives times of this database: without USE_TZ, only PostgreSQL's are local."""
    if settings.USE_TZ or connections[alias or DEFAULT_DB_ALIAS].vendor == "postgresql":
        return current_time()
    return datetime.now(UTC).replace(tzinfo=None)


def json_size(field: str) -> Expression:
    """Return how many characters a `JSONField` has."""
    return Length(Cast(field, TextField()))


def json_text(field: str, at_most: int) -> Expression:
    """Return a `JSONField` as text, or NULL when it has more characters."""
    text = Cast(field, TextField())
    return Case(When(**{f"{field}_size__lte": at_most}, then=text), default=None, output_field=TextField())


def shown_value(text: str | None, size: int | None, is_secret: Callable[[str], bool]) -> str:
    """Return a `JSONField` as it is shown, or why it is not; nothing if it is NULL."""
    if size is None:
        return ""
    if text is None:
        return _("%(count)s characters are too many to be shown here.") % {"count": f"{size:,}"}
    return shown_json(text, is_secret)


def shown_json(text: str, is_secret: Callable[[str], bool]) -> str:
    """Return JSON with indentation, its secrets masked, and cut where it is long."""
    try:
        fragments = _fragments(masked(json.loads(text), is_secret), 0)
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


def _fragments(value: Any, depth: int) -> Iterator[str]:
    if not isinstance(value, dict | list) or not value:
        yield _scalar(value)
        return
    if isinstance(value, dict) and (key := tag_key_of(value)) is not None and not isinstance(value[key], dict):
        # One value, on one line.
        yield f"{{{_scalar(key)}: {_tagged(value[key])}}}"
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
        yield from _fragments(item, depth + 1)
    yield f"\n{'  ' * depth}{closing}"


def _tagged(value: Any) -> str:
    return f"[{', '.join(map(_scalar, value))}]" if isinstance(value, list) else _scalar(value)


def _scalar(value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    text = as_json(value[:_STRING])
    if len(value) <= _STRING:
        return text
    return text + " " + _("… (%(count)s characters in all)") % {"count": f"{len(value):,}"}
