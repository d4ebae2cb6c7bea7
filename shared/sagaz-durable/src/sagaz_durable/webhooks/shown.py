"""What is shown of the values that a source is given: never one that may be a secret, given in the wrong place."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

from sagaz_durable.webhooks.secret_keys import LEAST_BYTES
from sagaz_integration_core.error_text import type_name, value_text

__all__ = ["HIDDEN", "shown_name", "shown_source", "shown_template", "shown_value"]

HIDDEN = "…"
"""What stands in place of what may be a secret."""

_MOST_NAME = 40
# Words of letters, perhaps with a number behind them, as Sha256: keys in hexadecimal or base64, and UUIDs, are mixed.
_NAME = re.compile(r"([A-Za-z]{1,15}[0-9]{0,3}|[0-9]{1,3})([-_.]([A-Za-z]{1,15}[0-9]{0,3}|[0-9]{1,3}))*")
_PLACE = re.compile(r"(\{[a-z_]{1,20}\})")


def shown_value(value: object) -> str:
    """Return a value's repr, if it is too short for a secret."""
    if isinstance(value, str | bytes):
        return value_text(value) if len(value) < LEAST_BYTES else HIDDEN
    return value_text(value) if value is None or isinstance(value, bool | int | float) else f"a {type_name(value)}"


def shown_name(name: str) -> str:
    """Return the name of a header or a member, if it is made of words as those are."""
    plain = len(name) < LEAST_BYTES or (len(name) <= _MOST_NAME and _NAME.fullmatch(name) is not None)
    return name if plain else HIDDEN


def shown_template(template: object) -> str:
    """Return the repr of what is signed, without what stands between its places and is as long as a secret."""
    if not isinstance(template, str):
        return shown_value(template)
    parts = [
        part if len(part) < LEAST_BYTES or _PLACE.fullmatch(part) else HIDDEN for part in _PLACE.split(template)[:20]
    ]
    return value_text("".join(parts), 80)


def shown_source(source: Any) -> str:
    """Return the repr of a source that is told where a sender puts things."""
    shown = [f"{one.name}={_shown(one.name, getattr(source, one.name))}" for one in fields(source) if one.repr]
    return f"{type(source).__name__}({', '.join(shown)})"


def _shown(field: str, value: Any) -> str:
    if field == "signed":
        return shown_template(value)
    if isinstance(value, str) and field.endswith(("header", "member")):
        name = shown_name(value)
        return name if name is HIDDEN else value_text(name)
    return shown_value(value)
