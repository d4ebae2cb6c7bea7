"""Records: dataclasses that nobody changes, without what it costs to have them refuse it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from typing import Any, TypeVar, cast, dataclass_transform

__all__ = ["record"]

T = TypeVar("T")
_VALUE = ("{0}_() if {0} is MISSING else {0}", "{0}")
"""What a field becomes: one with a factory, and one without."""
_NO_FIELDS = ("ClassVar", "InitVar", "KW_ONLY")
"""What dataclasses know annotations of that are no field of a record."""


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """Make a class a dataclass, which type checkers take for a frozen one.

    Each step makes several, and each import the classes. One that refuses assignments takes six times as long to make,
    and its class more than twice; so nobody checks that when the program runs, and all are compared and shown alike.
    What is left for a class is its slots: what dataclasses know of its fields is asked for, and its `__init__` made,
    with the first record. Most kinds are never made in a process.
    """
    names = tuple(cls.__annotations__)
    written = {name: value for name, value in vars(cls).items() if name not in ("__dict__", "__weakref__")}
    body = {name: value for name, value in written.items() if name not in names}
    for method in (__eq__, __hash__, __repr__, __replace__):
        body.setdefault(method.__name__, method)
    body |= {"__slots__": names, "__match_args__": names, "__qualname__": cls.__qualname__}
    made: Any = type(cls.__name__, cls.__bases__, body)
    made.__dataclass_fields__ = _Fields(made, written)
    if "__init__" not in written:
        made.__init__ = _first_init(made, written)
    return cast("type[T]", made)


class _Fields:
    """The fields of a record when they are asked for: those of a dataclass that is written like it.

    Args:
        made: The record.
        written: What its class was written with, the fields' defaults included.
    """

    def __init__(self, made: Any, written: Mapping[str, Any]) -> None:
        self._made, self._written = made, written

    def __get__(self, _: object, __: type[Any]) -> Any:
        # A class for each that asks, of several threads too: dataclasses take the defaults out of it.
        like: Any = dataclass(init=False, eq=False, repr=False)(type(self._made.__name__, (), dict(self._written)))
        self._made.__dataclass_fields__ = like.__dataclass_fields__
        return like.__dataclass_fields__


def _first_init(cls: Any, written: Mapping[str, Any]) -> Callable[..., None]:
    def __init__(self: Any, *args: Any, **values: Any) -> None:
        cls.__init__ = _init_of(cls, written)
        cls.__init__(self, *args, **values)

    return __init__


def _init_of(cls: type[Any], written: Mapping[str, Any]) -> Any:
    """Return the `__init__` that dataclasses would make, of fields that are given in order."""
    parts = {name: _as_field(written.get(name, MISSING)) for name in cls.__annotations__}
    unknown = any(name in str(kind) for name in _NO_FIELDS for kind in cls.__annotations__.values())
    if unknown or hasattr(cls, "__post_init__") or any(one.kw_only is True or not one.init for one in parts.values()):
        raise TypeError(f"Make {cls.__qualname__} a dataclass: a record's fields are given in order, and that is all.")
    optional = {name: one for name, one in parts.items() if not one.default is one.default_factory is MISSING}
    head = "".join(f", {name}" + "=None" * (name in optional) for name in parts)
    body = "".join(
        f" self.{name} = {_VALUE[one.default_factory is MISSING].format(name)}\n" for name, one in parts.items()
    )
    made: dict[str, Any] = {"MISSING": MISSING} | {f"{name}_": one.default_factory for name, one in parts.items()}
    exec(f"def __init__(self{head}):\n{body or ' pass'}", made)  # noqa: S102 - Of fields' names alone, as dataclasses do.
    init = made["__init__"]
    init.__defaults__ = tuple(one.default for one in optional.values())
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    return init


def _as_field(default: Any) -> Any:
    return default if isinstance(default, Field) else field(default=default)


def _values(self: Any) -> tuple[Any, ...]:
    return tuple(getattr(self, one.name) for one in fields(self) if one.compare)


def __eq__(self: Any, other: object) -> Any:
    return _values(self) == _values(other) if type(other) is type(self) else NotImplemented


def __hash__(self: Any) -> int:
    return hash(_values(self))


def __repr__(self: Any) -> str:
    shown = (f"{one.name}={getattr(self, one.name)!r}" for one in fields(self) if one.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def __replace__(self: Any, /, **changes: Any) -> Any:
    return replace(self, **changes)
