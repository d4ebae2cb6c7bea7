"""Values checked by annotations: what `typing` says of the fields of dataclasses, attrs classes and typed dicts."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from typing import Any

from sagaz_durable.contexts.misfit import Location, Misfit
from sagaz_durable.serialization.tags import TAGS
from sagaz_integration_core.error_text import type_name

__all__ = ["Reader", "Unkept", "reader_of"]

Reader = Callable[[Any, Location], Any]
"""Returns a value as its annotation has it; raises a `Misfit`."""

ModelReader = Callable[[type[Any]], Reader | None]

_PLAIN = (str, int, bool, *TAGS)
_WRAPPERS = tuple(
    getattr(typing, name) for name in ("Required", "NotRequired", "ReadOnly", "Final") if hasattr(typing, name)
)


class Unkept(Exception):
    """Values of an annotation are not kept; says which."""


def reader_of(annotation: Any, model: ModelReader) -> Reader:
    """Return what reads values of an annotation.

    Args:
        model: Returns what reads a model by its class; None if it is none.

    Raises:
        Unkept: No such value is kept in a context.
    """
    if annotation in (Any, object) or isinstance(annotation, typing.TypeVar):
        return lambda value, place: value
    if annotation is None or annotation is types.NoneType:
        return _exactly(types.NoneType, "None")
    if isinstance(annotation, typing.NewType):
        return reader_of(annotation.__supertype__, model)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated or origin in _WRAPPERS:
        return reader_of(arguments[0], model)
    if origin in (typing.Union, types.UnionType):
        return _any_of(arguments, model)
    if origin is typing.Literal:
        return _one_of(arguments)
    if (container := _container(origin or annotation, arguments, model)) is not None:
        return container
    if isinstance(annotation, type):
        return _of_class(annotation, model)
    raise Unkept(f"{annotation!r} is not kept in contexts")


def _of_class(kind: type[Any], model: ModelReader) -> Reader:
    if kind is float:
        return _float
    if kind in _PLAIN or issubclass(kind, Enum):
        return _exactly(kind, kind.__qualname__)
    if (found := model(kind)) is not None:
        return found
    raise Unkept(f"{kind.__qualname__} is not kept in contexts")


def _container(kind: Any, arguments: tuple[Any, ...], model: ModelReader) -> Reader | None:
    if kind in (list, Sequence):
        return _list_of(reader_of(arguments[0] if arguments else Any, model))
    if kind in (dict, Mapping):
        if arguments and arguments[0] not in (str, Any):
            raise Unkept(f"a dict with keys of type {arguments[0]!r} is not kept in contexts; use str")
        return _dict_of(reader_of(arguments[1] if arguments else Any, model))
    return None


def _exactly(kind: type[Any], name: str) -> Reader:
    def read(value: Any, place: Location) -> Any:
        if type(value) is not kind:
            raise _unlike(name, value, place)
        return value

    return read


def _float(value: Any, place: Location) -> float:
    # As type checkers have it: an int will do.
    if type(value) not in (int, float):
        raise _unlike("float", value, place)
    return float(value)


def _one_of(choices: tuple[Any, ...]) -> Reader:
    def read(value: Any, place: Location) -> Any:
        if not any(type(value) is type(one) and value == one for one in choices):
            raise Misfit(((place, f"expected one of {', '.join(map(repr, choices))}"),))
        return value

    return read


def _any_of(kinds: tuple[Any, ...], model: ModelReader) -> Reader:
    readers = [reader_of(kind, model) for kind in kinds]
    if len(others := [one for one in kinds if one is not types.NoneType]) == 1:
        # What is wrong inside of it is told.
        only = readers[kinds.index(others[0])]
        return lambda value, place: None if value is None else only(value, place)

    def read(value: Any, place: Location) -> Any:
        if type(value) in kinds:
            # Of `float | int` an int stays one.
            return value
        for reader in readers:
            try:
                return reader(value, place)
            except Misfit:
                continue
        raise _unlike(" or ".join(getattr(kind, "__qualname__", str(kind)) for kind in kinds), value, place)

    return read


def _list_of(reader: Reader) -> Reader:
    def read(value: Any, place: Location) -> list[Any]:
        if type(value) is not list:
            raise _unlike("list", value, place)
        return _all([((*place, position), item) for position, item in enumerate(value)], reader)

    return read


def _dict_of(reader: Reader) -> Reader:
    def read(value: Any, place: Location) -> dict[str, Any]:
        if type(value) is not dict:
            raise _unlike("dict", value, place)
        items = _all([((*place, key), item) for key, item in value.items()], reader)
        return dict(zip(value, items, strict=True))

    return read


def _all(items: list[tuple[Location, Any]], reader: Reader) -> list[Any]:
    values: list[Any] = []
    wrong: list[tuple[Location, str]] = []
    for place, item in items:
        try:
            values.append(reader(item, place))
        except Misfit as misfit:
            wrong += misfit.found
    if wrong:
        raise Misfit(tuple(wrong))
    return values


def _unlike(expected: str, value: Any, place: Location) -> Misfit:
    hint = ""
    if expected == Decimal.__qualname__ and type(value) in (int, float, str):
        hint = "; pass Decimal(...) of a str"
    return Misfit(((place, f"expected {expected}, got {type_name(value)}{hint}"),))
