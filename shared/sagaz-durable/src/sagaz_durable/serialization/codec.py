"""The one JSON form of contexts and results: what comes back from any store is what was put in, or it is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from sagaz_durable.serialization.diagnostics import Refused, advice, path_of
from sagaz_durable.serialization.json_checks import NotPlain, TooLarge, check_dict
from sagaz_durable.serialization.model_fields import fields_of
from sagaz_durable.serialization.tagging import meaning, plain, tagged, untagged
from sagaz_durable.settings.wording import NEUTRAL, Wording
from sagaz_durable.tag_keys import MARK
from sagaz_integration_core.error_text import type_name
from sagaz_integration_core.errors import ContextValueError

__all__ = [
    "as_dict",
    "check_reserved",
    "copy_value",
    "decode",
    "decode_plain",
    "encode",
    "encode_payload",
    "encode_result",
    "fingerprint",
]

_EXPLOSION = 2
"""How many times too large a value may be, so that its very size is told."""

_OTHER_ID = "to choose a run's id pass saga_id= or idempotency_key= instead"
_CONTAINERS = frozenset((dict, list))

_ENCODER = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, sort_keys=True, separators=(",", ":")
)


_DECODER = json.JSONDecoder()


def _writer() -> Callable[[Any], str]:
    """Return what writes canonical JSON: the encoder's own C function, which it would make anew for each text."""
    try:
        write = json.encoder.c_make_encoder(  # type: ignore[attr-defined]
            None, _ENCODER.default, json.encoder.encode_basestring, None, ":", ",", True, False, False
        )
    except (AttributeError, TypeError):  # Another implementation of Python, or a later version.
        return _ENCODER.encode
    return lambda tree: "".join(write(tree, 0))


_canonical = _writer()


def encode(
    value: Any, *, max_bytes: int, wording: Wording | None = NEUTRAL, saga_class: type[Any] | None = None
) -> str:
    """Return a saga's context as canonical JSON text: sorted keys, no blanks.

    Args:
        value: Any mapping, or a Pydantic model, a dataclass or an attrs instance; below it such models, what JSON has,
            in exactly Python's own types, and the types of `tags`.
        max_bytes: The largest text to accept, in bytes of UTF-8.
        wording: How the setting that says so is spelled; None if none does.
        saga_class: Of which members of enums may be in it, see `enum_classes`; None if of none.

    Raises:
        ContextValueError: Some store would bend or refuse a value; it names the path, never the value.
    """
    return _encode(value, "the saga's context", max_bytes, wording, saga_class)


def encode_result(
    value: Any, *, max_bytes: int, wording: Wording | None = NEUTRAL, saga_class: type[Any] | None = None
) -> str:
    """Return a step's result as canonical JSON text; see `encode`."""
    return _encode(value, "the step's result", max_bytes, wording, saga_class)


def encode_payload(value: Any, what: str, *, max_bytes: int, wording: Wording | None = NEUTRAL) -> str:
    """Return a signal's or an event's payload, which ``what`` names in errors, as canonical JSON; see `encode`."""
    return _encode(value, what, max_bytes, wording, None)


def decode(text: str, saga_class: type[Any] | None = None) -> dict[str, Any]:
    """Return what `encode` was given, models as dicts.

    Args:
        saga_class: Of which enums may be in it; with None, members come back as their values.

    Raises:
        ContextValueError: The text was not written by `encode`, or this deployment lacks an enum or a time zone of it.
    """
    tree = _object(text)
    return _as_object(untagged(tree, saga_class)) if MARK in text else tree


def decode_plain(text: str) -> dict[str, Any]:
    """Return JSON for readers that do not ask for types: values that JSON has not are texts.

    Raises:
        ContextValueError: The text was not written by `encode`.
    """
    tree = _object(text)
    return _as_object(plain(tree)) if MARK in text else tree


def _object(text: str) -> dict[str, Any]:
    try:
        # As `encode` writes it, without blanks around it, in a third of the time that looking for them takes.
        value, end = _DECODER.raw_decode(text) if text.startswith("{") else (None, -1)
        if end != len(text):
            value = json.loads(text)
    # Not all columns of all databases hold nothing but text, and JSON goes deeper than Python's parser.
    except (ValueError, RecursionError, AttributeError, TypeError) as error:
        at = f" (at {error.pos})" if isinstance(error, json.JSONDecodeError) else ""
        raise ContextValueError(f"A stored context or result is not JSON{at}; expected an object") from None
    return _as_object(value)


def _as_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ContextValueError(f"A stored context or result is a JSON {type(value).__name__}; expected an object")
    return value


def fingerprint(name: str, text: str) -> str:
    """Return a digest of canonical text and of what it belongs to.

    Equal contexts have equal digests, whatever the order of their keys and the spelling of their values.
    """
    if MARK in text:
        text = _canonical(meaning(json.loads(text)))
    return hashlib.blake2b(f"{name}\0{text}".encode(), digest_size=32).hexdigest()


def as_dict(value: Any, what: str) -> dict[str, Any]:
    """Return a context or a result as a dict of its own; models within it stay as they are.

    Raises:
        ContextValueError: It is no mapping and no model.
    """
    if isinstance(value, Mapping):
        return dict(value)
    try:
        fields = fields_of(value)
    except Refused as refused:
        raise refused.error(what) from None
    if type(fields) is not dict:
        raise ContextValueError(f"{what}: expected a dict or a model, not {type_name(value)}; {_dict_instead(value)}")
    return fields


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


def _encode(value: Any, what: str, max_bytes: int, wording: Wording | None, saga_class: type[Any] | None) -> str:
    tree = value if type(value) is dict else as_dict(value, what)
    try:
        text = _text_of(tree, _EXPLOSION * max_bytes, saga_class)
    except Refused as refused:
        raise refused.error(what) from None
    except TooLarge:
        raise _too_large(what, f"more than {_EXPLOSION * max_bytes:,}", max_bytes, wording) from None
    size = len(text) if text.isascii() else len(text.encode())
    if size > max_bytes:
        raise _too_large(what, f"{size:,}", max_bytes, wording)
    return text


def _text_of(tree: dict[str, Any], budget: int, saga_class: type[Any] | None) -> str:
    try:
        check_dict(tree, 1, budget)
        if MARK not in (text := _canonical(tree)):
            return text
    except NotPlain:
        pass
    # Only contexts that have other types, or what looks like one, pay for them.
    tree = tagged(tree, budget, saga_class)
    check_dict(tree, 1, budget)
    return _canonical(tree)


def _dict_instead(value: object) -> str:
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
