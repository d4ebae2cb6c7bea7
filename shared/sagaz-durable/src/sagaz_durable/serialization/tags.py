"""Values that JSON has not, as JSON: ``{"$sagaz.decimal": "12.50"}``, an object of one member that names the type.

A dict that looks like such an object itself gets one more ``$`` in front of its key, and loses it when it is read.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sagaz_durable.serialization import time_texts
from sagaz_durable.tag_keys import BYTES, MARK
from sagaz_integration_core.contract.record import record

__all__ = ["MAX_BYTES", "TAGS", "TAGS_BY_KEY", "Tag"]

MAX_BYTES = 65_536
"""The most bytes that one value of type bytes may have."""


@record
class Tag:
    """How the values of one type are written.

    Attributes:
        write: Raises a ValueError that says why a value is not kept.
        read: Raises a ValueError, an ArithmeticError or a LookupError for what was not written by this.
        meaning: Returns the same text for all texts of equal values.
    """

    key: str
    write: Callable[[Any], str]
    read: Callable[[str], Any]
    meaning: Callable[[str], str] = str


def _decimal_text(number: Decimal) -> str:
    if not number.is_finite():
        raise ValueError("NaN and infinities are no amounts, and NaN is not even equal to itself; pass None")
    return str(number)


def _decimal_meaning(text: str) -> str:
    sign, digits, exponent = Decimal(text).as_tuple()
    all_digits = "".join(map(str, digits))
    kept = all_digits.rstrip("0")
    if not kept or not isinstance(exponent, int):
        return "0"
    return f"{'-' if sign else ''}{kept}E{exponent + len(all_digits) - len(kept)}"


def _bytes_text(value: bytes) -> str:
    if len(value) > MAX_BYTES:
        raise ValueError(f"it has {len(value):,} bytes, and {MAX_BYTES:,} are kept; keep it elsewhere and pass its id")
    return base64.b64encode(value).decode()


def _read_bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


TAGS: dict[type, Tag] = {
    Decimal: Tag(f"{MARK}decimal", _decimal_text, Decimal, _decimal_meaning),
    UUID: Tag(f"{MARK}uuid", str, UUID),
    datetime: Tag(f"{MARK}datetime", time_texts.datetime_text, time_texts.read_datetime, time_texts.datetime_meaning),
    date: Tag(f"{MARK}date", date.isoformat, date.fromisoformat),
    time: Tag(f"{MARK}time", time_texts.time_text, time_texts.read_time, time_texts.time_meaning),
    timedelta: Tag(f"{MARK}timedelta", time_texts.duration_text, time_texts.read_duration),
    bytes: Tag(BYTES, _bytes_text, _read_bytes),
}

TAGS_BY_KEY = {tag.key: tag for tag in TAGS.values()}
