"""The one JSON form of contexts and results: what comes back from any store is what was put in, or it is refused."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from sagaz_durable.serialization.diagnostics import Refused, advice, path_of
from sagaz_durable.settings.wording import NEUTRAL, Wording
from sagaz_integration_core.error_text import type_name
from sagaz_integration_core.errors import ContextValueError

__all__ = [
    "MAX_DEPTH",
    "check_reserved",
    "copy_value",
    "decode",
    "encode",
    "encode_payload",
    "encode_result",
    "fingerprint",
]

MAX_DEPTH = 30
"""How deep dicts and lists may nest; MariaDB's JSON functions stop at 32."""

_MAX_KEY = 16_383
"""MySQL's JSON keeps keys of at most 65,535 bytes, and a character has up to four."""

_MAX_INT = 2**63
_EXPLOSION = 2
"""How many times too large a value may be, so that its very size is told."""

_TOO_DEEP = f"dicts and lists nest deeper than {MAX_DEPTH} levels; flatten them, or pass a part as a JSON string"
_OTHER_ID = "to choose a run's id pass saga_id= or idempotency_key= instead"
_CONTAINERS = frozenset((dict, list))

_ENCODER = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, sort_keys=True, separators=(",", ":")
)


def encode(value: Mapping[str, Any], *, max_bytes: int, wording: Wording | None = NEUTRAL) -> str:
    """Return a saga's context as canonical JSON text: sorted keys, no blanks.

    Args:
        value: Any mapping; below it only what JSON has, in exactly Python's own types.
        max_bytes: The largest text to accept, in bytes of UTF-8.
        wording: How the setting that says so is spelled; None if none does.

    Raises:
        ContextValueError: Some store would bend or refuse a value; it names the path, never the value.
    """
    return _encode(value, "the saga's context", max_bytes, wording)


def encode_result(value: Mapping[str, Any], *, max_bytes: int, wording: Wording | None = NEUTRAL) -> str:
    """Return a step's result as canonical JSON text; see `encode`."""
    return _encode(value, "the step's result", max_bytes, wording)


def encode_payload(value: Mapping[str, Any], what: str, *, max_bytes: int, wording: Wording | None = NEUTRAL) -> str:
    """Return a part of an event, which ``what`` names in errors, as canonical JSON text; see `encode`."""
    return _encode(value, what, max_bytes, wording)


def decode(text: str) -> dict[str, Any]:
    """Return what `encode` was given.

    Raises:
        ContextValueError: The text is no JSON object, so it was not written by `encode`.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        at = f" (at {error.pos})" if isinstance(error, json.JSONDecodeError) else ""
        raise ContextValueError(f"A stored context or result is not JSON{at}; expected an object") from None
    if not isinstance(value, dict):
        raise ContextValueError(f"A stored context or result is a JSON {type(value).__name__}; expected an object")
    return value


def fingerprint(text: str) -> str:
    """Return a digest of canonical text; equal contexts have equal digests, whatever the order of their keys."""
    return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()


def check_reserved(context: Mapping[str, Any]) -> None:
    """Refuse the keys that belong to the runtime.

    Raises:
        ContextValueError: The context has ``saga_id`` or a key that begins with two underscores.
    """
    for key in context:
        if key == "saga_id":
            raise ContextValueError(f"{key}: it is set by the runtime; {_OTHER_ID}", key)
        if isinstance(key, str) and key.startswith("__"):
            path = path_of(key)
            raise ContextValueError(f"{path}: keys that begin with two underscores are sagaz's own; rename it", path)


def copy_value(value: Any) -> Any:
    """Return a copy that shares no dict and no list with the value; everything else in it is taken as it is."""
    kind = type(value)
    if kind is dict:
        return {key: copy_value(item) if type(item) in _CONTAINERS else item for key, item in value.items()}
    if kind is list:
        return [copy_value(item) if type(item) in _CONTAINERS else item for item in value]
    return value


def _encode(value: Mapping[str, Any], what: str, max_bytes: int, wording: Wording | None) -> str:
    if not isinstance(value, Mapping):
        raise ContextValueError(f"{what}: expected a dict, not {type_name(value)}; {_as_dict(value)}")
    tree = value if type(value) is dict else dict(value)
    try:
        _check_dict(tree, 1, _EXPLOSION * max_bytes)
    except Refused as refused:
        raise refused.error(what) from None
    except _TooLarge:
        raise _too_large(what, f"more than {_EXPLOSION * max_bytes:,}", max_bytes, wording) from None
    text = _ENCODER.encode(tree)
    size = len(text) if text.isascii() else len(text.encode())
    if size > max_bytes:
        raise _too_large(what, f"{size:,}", max_bytes, wording)
    return text


def _as_dict(value: object) -> str:
    match value:
        case list() | tuple() | set() | frozenset():
            return 'give it a name: {"items": [...]}'
        case str() | bytes() | bytearray():
            return "decode JSON first, with json.loads(...)"
        case None:
            return "pass {} if there is nothing to pass"
        case bool() | int() | float():
            return 'give it a name: {"value": ...}'
    return advice(value)


def _too_large(what: str, size: str, max_bytes: int, wording: Wording | None) -> ContextValueError:
    setting = "" if wording is None else f" ({wording.setting('max_context_bytes')})"
    return ContextValueError(
        f"{what}: it has {size} bytes as JSON, and {max_bytes:,} are allowed{setting}; "
        "keep large data elsewhere and pass its id"
    )


# The checks return what is left of a budget of bytes, quotes and commas included, with one for each character. Without
# it, a list that holds another one ten times, which holds another one ten times, and so on, would be walked (and
# written) for ever, and an empty string that is held a million times would cost nothing.


class _TooLarge(Exception):
    """The budget is spent."""


def _check_dict(value: dict[str, Any], depth: int, budget: int) -> int:
    if depth > MAX_DEPTH:
        raise Refused(_TOO_DEEP)
    key = None
    try:
        for key, item in value.items():
            if type(key) is not str or "\0" in key or not key.isascii() or len(key) > _MAX_KEY:
                _check_key(key)
            budget = _CHECKS.get(type(item), _refuse)(item, depth + 1, budget - len(key) - 4)
            if budget < 0:
                raise _TooLarge
    except Refused as refused:
        refused.climb(value, key)
        raise
    return budget - 2


def _check_list(value: list[Any], depth: int, budget: int) -> int:
    if depth > MAX_DEPTH:
        raise Refused(_TOO_DEEP)
    position = 0
    try:
        for item in value:
            budget = _CHECKS.get(type(item), _refuse)(item, depth + 1, budget - 1)
            if budget < 0:
                raise _TooLarge
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


def _refuse(value: object, depth: int, budget: int) -> int:
    raise Refused(f"{type(value).__name__} is not one of JSON's types; {advice(value)}")


def _check_key(key: object) -> None:
    if type(key) is not str:
        raise Refused(f"a key is of type {type(key).__name__}, JSON's are strings; pass str(...)")
    if len(key) > _MAX_KEY:
        raise Refused(f"a key has {len(key):,} characters, and {_MAX_KEY:,} are kept by every store; shorten it")
    _check_str(key, 0, 0)


_CHECKS: dict[type, Callable[[Any, int, int], int]] = {
    dict: _check_dict,
    list: _check_list,
    str: _check_str,
    int: _check_int,
    float: _check_float,
    bool: _accept,
    type(None): _accept,
}
