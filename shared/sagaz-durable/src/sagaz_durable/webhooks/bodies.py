"""The body of a webhook: bounded before it is read, and read as JSON that everybody reads in the same way."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from sagaz_durable.serialization.json_body import MOST_NESTED, nesting
from sagaz_durable.webhooks.errors import EventMalformed, EventNotJson, EventTooLarge

__all__ = ["check_size", "parse_event"]

_JSON = re.compile(r"application/(?:json|[a-z0-9!#$&^_.-]{1,100}\+json)")
_PARAMETER = re.compile(r'charset="?utf-?8"?')


def check_size(body: bytes, most: int) -> None:
    """Refuse a body of too many bytes.

    Raises:
        EventTooLarge: It has more than ``most``.
    """
    if len(body) > most:
        raise EventTooLarge(f"the body has more than {most:,} bytes")


def parse_event(body: bytes, content_type: str | None, *, most: int) -> dict[str, Any] | list[Any]:
    """Return the event that a body is.

    Its numbers are finite, no member is there twice, and a string may hold NUL and lone surrogates, as JSON's may.

    Args:
        content_type: The header's value; None without one.
        most: How many bytes the body may have.

    Raises:
        EventTooLarge: It has more.
        EventNotJson: It is said to be something else than JSON in UTF-8.
        EventMalformed: It is no JSON object and no array, nests more than 64 levels deep, has a member twice, or a
            number that is none.
    """
    check_size(body, most)
    _check_media(content_type)
    if nesting(body) > MOST_NESTED:
        raise EventMalformed(f"the body nests more than {MOST_NESTED} levels deep")
    try:
        event = json.loads(
            body.decode(), object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_finite_float
        )
    except (ValueError, RecursionError) as error:
        # Not chained: the error holds the whole body.
        raise EventMalformed(_WHYS.get(type(error), "the body is no JSON in UTF-8 that can be read")) from None
    if not isinstance(event, dict | list):
        raise EventMalformed("the body is neither a JSON object nor an array")
    return event


def _check_media(content_type: str | None) -> None:
    media, *parameters = [part.strip().lower() for part in (content_type or "").split(";")]
    if _JSON.fullmatch(media) is None:
        raise EventNotJson("expected Content-Type: application/json; have the sender choose it")
    if any(parameter.startswith("charset") and _PARAMETER.fullmatch(parameter) is None for parameter in parameters):
        raise EventNotJson("expected Content-Type: application/json in UTF-8")


class _Duplicate(ValueError):
    """A member is there twice."""


class _NoNumber(ValueError):
    """A number is not finite."""


_WHYS: dict[type[Exception], str] = {
    _Duplicate: "the body has an object with a member twice, so that nobody can tell what it means",
    _NoNumber: "the body has a number that is not finite",
}


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _Duplicate
    return members


def _no_constant(name: str) -> float:
    raise _NoNumber


def _finite_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _NoNumber
    return number
