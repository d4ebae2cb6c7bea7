"""The enums that a saga knows: what its rows may name, so that nothing of a row is imported or looked for elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from enum import Enum
from types import FunctionType
from typing import Any

__all__ = ["EnumClasses", "enums_of"]

EnumClasses = Mapping[str, type[Enum] | None]
"""Enums by their qualified names; None where two have the same one."""


def enums_of(saga_class: type[Any]) -> EnumClasses:
    """Return the enums to which the modules in which a saga is written give a name.

    Defined or imported where its class, a base of it, one of their methods or its declared context is, or inside of a
    class that is. What counts is the code that is deployed: the same after a restart, and no row has a say in it.
    """
    found: dict[str, type[Enum] | None] = {}
    for one in _all(saga_class):
        found[one.__qualname__] = one if found.get(one.__qualname__, one) is one else None
    return found


def _all(saga_class: type[Any]) -> Iterator[type[Enum]]:
    for name in dict.fromkeys(_modules(saga_class)):
        if name != "builtins" and name.partition(".")[0] != "sagaz" and name in sys.modules:
            for value in list(vars(sys.modules[name]).values()):
                yield from _in(value)


def _modules(saga_class: type[Any]) -> Iterator[str]:
    declared = getattr(saga_class, "context", None)
    for kind in (*saga_class.__mro__, *(declared.__mro__ if isinstance(declared, type) else ())):
        yield kind.__module__
        yield from (member.__module__ for member in list(vars(kind).values()) if isinstance(member, FunctionType))


def _in(value: Any) -> Iterator[type[Enum]]:
    # isinstance would ask the value for its __class__, by which a lazy object of a framework becomes another one.
    if not issubclass(type(value), type):
        return
    inner = [value] if issubclass(value, Enum) else list(vars(value).values())
    yield from (one for one in inner if issubclass(type(one), type) and issubclass(one, Enum))
