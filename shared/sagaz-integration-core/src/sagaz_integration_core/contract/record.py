"""Records: dataclasses that nobody changes, without what it costs to have them refuse it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, TypeVar, dataclass_transform

__all__ = ["record"]

T = TypeVar("T")
_VALUE = ("{0}_() if {0} is MISSING else {0}", "{0}")
"""What a field becomes: one with a factory, and one without."""


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """Make a class a dataclass, which type checkers take for a frozen one.

    Each step makes several, and each import the classes. One that refuses assignments takes six times as long to make,
    and its class more than twice; so nobody checks that when the program runs, and all are compared and shown alike.
    Half of what is left is its `__init__`, which is made with the first record: most kinds are never made in a process.
    """
    made = dataclass(init=False, slots=True, eq=False, repr=False)(cls)
    for method in (_first_init(made), __eq__, __hash__, __repr__):
        if method.__name__ not in vars(cls):
            setattr(made, method.__name__, method)
    return made


def _first_init(cls: type[Any]) -> Callable[..., None]:
    def __init__(self: Any, *args: Any, **values: Any) -> None:
        cls.__init__ = _init_of(cls)
        cls.__init__(self, *args, **values)

    return __init__


def _init_of(cls: type[Any]) -> Any:
    """Return the `__init__` that dataclasses would make, of fields that are given in order."""
    parts = fields(cls)
    if hasattr(cls, "__post_init__") or any(one.kw_only or not one.init for one in parts):
        raise TypeError(f"Make {cls.__qualname__} a dataclass: a record's fields are given in order, and that is all.")
    optional = [one for one in parts if not one.default is one.default_factory is MISSING]
    head = "".join(f", {one.name}" + "=None" * (one in optional) for one in parts)
    body = "".join(f" self.{one.name} = {_VALUE[one.default_factory is MISSING].format(one.name)}\n" for one in parts)
    made: dict[str, Any] = {"MISSING": MISSING} | {f"{one.name}_": one.default_factory for one in parts}
    exec(f"def __init__(self{head}):\n{body or ' pass'}", made)  # noqa: S102 - Of fields' names alone, as dataclasses do.
    init = made["__init__"]
    init.__defaults__ = tuple(one.default for one in optional)
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    return init


def _values(self: Any) -> tuple[Any, ...]:
    return tuple(getattr(self, one.name) for one in fields(self) if one.compare)


def __eq__(self: Any, other: object) -> Any:
    return _values(self) == _values(other) if type(other) is type(self) else NotImplemented


def __hash__(self: Any) -> int:
    return hash(_values(self))


def __repr__(self: Any) -> str:
    shown = (f"{one.name}={getattr(self, one.name)!r}" for one in fields(self) if one.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"
