"""Headers of a webhook, which anybody may have written: bounded, plain ASCII, and each of them sent once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from sagaz_durable.webhooks.errors import SignatureRefused
from sagaz_durable.webhooks.secret_keys import LEAST_BYTES
from sagaz_durable.webhooks.shown import HIDDEN, shown_name
from sagaz_integration_core.error_text import value_text
from sagaz_integration_core.errors import SettingsError

__all__ = ["MOST_ID", "Headers", "check_header", "needed_header", "optional_header"]

Headers: TypeAlias = Mapping[str, str] | Sequence[tuple[str, str]]
"""Names in any case, with their values; pairs, where a name may come several times."""

MOST_ID = 200
"""How many characters an id may have, as the stores keep them."""

_MOST = 4_096

_NAME = re.compile(r"[A-Za-z0-9-]{1,100}")
_TOKEN = re.compile(rf"[\w!#$%&'*+.^`|~-]{{1,{LEAST_BYTES - 1}}}", re.ASCII)


def check_header(source: str, argument: str, name: object) -> None:
    """Refuse what is no header's name; servers that know CGI turn an underscore into a hyphen.

    Raises:
        SettingsError: It is not made of letters, digits and hyphens.
    """
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        shown = value_text(name) if _is_harmless(name) else HIDDEN
        raise SettingsError(f"{source}({argument}={shown}): expected a header's name, as X-Signature.")


def _is_harmless(name: object) -> bool:
    """Whether it cannot be a secret: what is as long as one may be one, and so may what no header could be called."""
    return name is None or name == "" or (isinstance(name, str) and _TOKEN.fullmatch(name) is not None)


def needed_header(headers: Headers, name: str, most: int = _MOST) -> str:
    """Return a header's value.

    Raises:
        SignatureRefused: It is missing or empty, or see `optional_header`.
    """
    value = optional_header(headers, name, most)
    if not value:
        raise SignatureRefused(f"{shown_name(name)} is missing")
    return value


def optional_header(headers: Headers, name: str | None, most: int = _MOST) -> str | None:
    """Return a header's value; None if it was not sent, or no name is given.

    Raises:
        SignatureRefused: It was sent several times, is longer than ``most``, or is not printable ASCII.
    """
    if name is None:
        return None
    wanted = name.lower()
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    values = [value for given, value in pairs if given.lower() == wanted]
    if not values:
        return None
    # Which of two is meant, every proxy decides in its own way.
    if len(values) > 1:
        raise SignatureRefused(f"{shown_name(name)} was sent {len(values)} times")
    if len(values[0]) > most:
        raise SignatureRefused(f"{shown_name(name)} has more than {most} characters")
    value = values[0].strip(" \t")
    if not (value.isascii() and value.isprintable()):
        raise SignatureRefused(f"{shown_name(name)} has other characters than printable ASCII")
    return value
