"""Why a value is refused and where it sits: paths such as ``items[2].price``, and how to turn a type into JSON."""

from __future__ import annotations

import json

from sagaz_integration_core.errors import ContextValueError

__all__ = ["Refused", "advice", "path_of"]

_HINTS = {
    "pydantic.main.BaseModel": "pass .dict()",
    "pydantic.v1.main.BaseModel": "pass .dict()",
    "pydantic.networks._BaseUrl": "pass str(...)",
    "pydantic.networks._BaseMultiHostUrl": "pass str(...)",
    "pydantic.types._SecretBase": "a context is shown to operators: keep the secret elsewhere and pass its id",
    "numpy.generic": "pass .item()",
    "numpy.ndarray": "pass .tolist()",
    "decimal.Decimal": "pass decimal.Decimal(...)",
    "fractions.Fraction": "pass str(...)",
    "datetime.datetime": "pass datetime.fromisoformat(....isoformat())",
    "datetime.date": "pass date.fromisoformat(....isoformat())",
    "datetime.time": "pass time.fromisoformat(....isoformat())",
    "datetime.timedelta": "pass timedelta(seconds=....total_seconds())",
    "uuid.UUID": "pass uuid.UUID(str(...))",
    "pathlib.PurePath": "pass str(...)",
    "builtins.bytes": "pass bytes(...)",
    "builtins.bytearray": "pass bytes(...)",
    "builtins.memoryview": "pass bytes(...)",
    "builtins.tuple": "pass list(...)",
    "builtins.set": "pass sorted(...)",
    "builtins.frozenset": "pass sorted(...)",
    "builtins.BaseException": "pass str(...)",
    "builtins.str": "pass str(...)",
    "builtins.int": "pass int(...)",
    "builtins.float": "pass float(...)",
    "builtins.dict": "pass dict(...)",
    "builtins.list": "pass list(...)",
}
"""Bases by their full name, so that none need be imported; the first that fits is taken. Of types that are kept as they
are it is what to do with a subclass."""


class Refused(Exception):
    """Carries a refusal from the offending value up to the root, collecting the way it went."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self._reason = reason
        self._trail: list[tuple[object, object]] = []

    def climb(self, container: dict[str, object] | list[object], key: object) -> None:
        """Note that the value sits in ``container`` under ``key``."""
        self._trail.append((container, key))

    def error(self, what: str) -> ContextValueError:
        """Return the error for the caller; ``what`` is what the value as a whole is called."""
        trail, reason = self._trail[::-1], self._reason
        seen: set[int] = set()
        for level, (container, _) in enumerate(trail):
            if id(container) in seen:
                trail, reason = trail[:level], f"this {type(container).__name__} is inside itself; JSON has no cycles"
                break
            seen.add(id(container))
        # A key that is no string has no place in a path; the reason tells of it.
        path = path_of(*(key for container, key in trail if type(key) is str or isinstance(container, list)))
        return ContextValueError(f"{path or what}: {reason}", path)


def path_of(*parts: object) -> str:
    """Return the path of keys and indexes, from the root on, as Python would nearly write it."""
    return "".join(_part(part) for part in parts).removeprefix(".")


def advice(value: object) -> str:
    """Tell how to turn a value into JSON, by its type alone: the value itself may be large, or secret."""
    bases = {f"{base.__module__}.{base.__qualname__}" for base in type(value).__mro__}
    hint = next((hint for name, hint in _HINTS.items() if name in bases), "")
    return hint or "pass its id, or what is needed of it as dict, list, str, int, float, bool or None"


def _part(key: object) -> str:
    if not isinstance(key, str):
        return f"[{key}]"
    short = key if len(key) <= 60 else f"{key[:60]}..."
    return f".{key}" if short is key and key.isidentifier() and key.isascii() else f"[{json.dumps(short)}]"
