"""Whether a value is JSON that every store gives back as it was."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from sagaz_durable.serialization.diagnostics import Refused

__all__ = ["MAX_DEPTH", "TOO_DEEP", "NotPlain", "TooLarge", "check_dict"]

MAX_DEPTH = 30
"""How deep dicts and lists may nest; MariaDB's JSON functions stop at 32."""

TOO_DEEP = f"dicts and lists nest deeper than {MAX_DEPTH} levels; flatten them, or pass a part as a JSON string"

_MAX_KEY = 16_383
"""MySQL's JSON keeps keys of at most 65,535 bytes, and a character has up to four."""

_MAX_INT = 2**63


class TooLarge(Exception):
    """The budget is spent."""


class NotPlain(Exception):
    """There is something else than JSON's own types."""


# The checks return what is left of a budget of bytes, quotes and commas included, with one for each character. Without
# it, a list that holds another one ten times, which holds another one ten times, and so on, would be walked (and
# written) for ever, and an empty string that is held a million times would cost nothing.


def check_dict(value: dict[str, Any], depth: int, budget: int) -> int:
    """Return what is left of a budget of bytes.

    Raises:
        NotPlain: It holds a value of another type.
        Refused: Some store would bend a value.
        TooLarge: Nothing is left.
    """
    if depth > MAX_DEPTH:
        raise Refused(TOO_DEEP)
    key = None
    try:
        for key, item in value.items():
            if type(key) is not str or "\0" in key or not key.isascii() or len(key) > _MAX_KEY:
                _check_key(key)
            budget = _CHECKS.get(type(item), _odd)(item, depth + 1, budget - len(key) - 4)
            if budget < 0:
                raise TooLarge
    except Refused as refused:
        refused.climb(value, key)
        raise
    return budget - 2


def _check_list(value: list[Any], depth: int, budget: int) -> int:
    if depth > MAX_DEPTH:
        raise Refused(TOO_DEEP)
    position = 0
    try:
        for item in value:
            budget = _CHECKS.get(type(item), _odd)(item, depth + 1, budget - 1)
            if budget < 0:
                raise TooLarge
            position += 1
    except Refused as refused:
        refused.climb(value, position)
        raise
    return budget - 2


def _check_str(value: str, depth: int, budget: int) -> int:
    if "\0" in value:
        raise Refused("strings with NUL characters are refused by PostgreSQL; remove them")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Refused("a lone surrogate is no character; decode the text with errors='replace'") from None
    return budget - len(value) - 2


def _check_int(value: int, depth: int, budget: int) -> int:
    if not -_MAX_INT <= value < _MAX_INT:
        raise Refused("whole numbers beyond 64 bits are not kept by every store; pass str(...)")
    return budget - 1


def _check_float(value: float, depth: int, budget: int) -> int:
    if not -1e16 < value < 1e16:
        if math.isfinite(value):
            raise Refused("a float of 1e16 or more comes back from PostgreSQL as an int; pass int(...) or str(...)")
        raise Refused("NaN and infinities are not JSON; pass None or a string")
    if value == 0.0 and math.copysign(1.0, value) < 0.0:
        raise Refused("negative zero comes back from PostgreSQL without its sign; pass 0.0")
    return budget - 3


def _accept(value: object, depth: int, budget: int) -> int:
    return budget - 4


def _odd(value: object, depth: int, budget: int) -> int:
    raise NotPlain


def _check_key(key: object) -> None:
    if type(key) is not str:
        raise Refused(f"a key is of type {type(key).__name__}, JSON's are strings; pass str(...)")
    if len(key) > _MAX_KEY:
        raise Refused(f"a key has {len(key):,} characters, and {_MAX_KEY:,} are kept by every store; shorten it")
    _check_str(key, 0, 0)


_CHECKS: dict[type, Callable[[Any, int, int], int]] = {
    dict: check_dict,
    list: _check_list,
    str: _check_str,
    int: _check_int,
    float: _check_float,
    bool: _accept,
    type(None): _accept,
}
