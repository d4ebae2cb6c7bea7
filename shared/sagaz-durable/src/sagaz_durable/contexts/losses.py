"""What of a value would be lost, or become another one, by being recorded and made anew by its type at each call."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import repeat
from typing import Any

from sagaz_durable.contexts.misfit import Location, Misfit, Misfits
from sagaz_durable.contexts.models import Model, as_values
from sagaz_durable.serialization.model_fields import is_model_class, is_pydantic, names_of
from sagaz_durable.serialization.tagging import same

__all__ = ["lost", "stray_names", "unsettled"]

_ABSENT = object()

_Found = tuple[Location, str]


def unsettled(model: Model, values: Mapping[str, Any], built: Mapping[str, Any], names: Collection[str]) -> Misfits:
    """Return which of its values a type makes others of each time: what steps see would not be what is recorded.

    Args:
        values: Of what the type has made an instance.
        built: What that has.
        names: Those that are looked at.
    """
    if all(_first_change(values.get(name, _ABSENT), built[name], ()) is None for name in names if name in built):
        return ()
    what = model.kind.__qualname__
    why = (
        "A validator, a converter or __post_init__ is called again at each step, with all fields, and has to leave "
        "alone what it once returned"
    )
    try:
        again = as_values(model.build(built))
    except Misfit as misfit:
        return tuple(
            (place, f"{what} does not take what it has made itself: {told}. {why}") for place, told in misfit.found
        )
    changed = [_first_change(built[name], again.get(name), (name,)) for name in names if name in built]
    return tuple((place, f"{what} makes another value of what it has made itself. {why}") for place in changed if place)


def _first_change(one: Any, other: Any, place: Location) -> Location | None:
    if one is other:
        return None
    if type(one) is not type(other):
        return place
    if type(one) is dict:
        if one.keys() != other.keys():
            return place
        found = (_first_change(item, other[key], (*place, key)) for key, item in one.items())
    elif type(one) is list:
        if len(one) != len(other):
            return place
        found = (_first_change(*pair, (*place, at)) for at, pair in enumerate(zip(one, other, strict=True)))
    else:
        # What is not even equal to itself is refused where it is written.
        return None if same(one, other) or one != one else place
    return next((change for change in found if change is not None), None)


def lost(given: Any, built: Any, kinds: Collection[type[Any]]) -> Misfits:
    """Return what of a value is not in what its type has made of it.

    Args:
        given: Models within it as they are.
        kinds: The models that the types name; any other is one of which the values count.
    """
    return tuple(_lost(given, built, kinds, (), set()))


def _lost(given: Any, built: Any, kinds: Collection[type[Any]], place: Location, seen: set[int]) -> Iterator[_Found]:
    is_model = is_model_class(type(given))
    if not (is_model or isinstance(given, dict) or type(given) is list) or id(given) in seen:
        return
    seen.add(id(given))
    if is_model:
        yield from _lost_of_model(given, built, kinds, place)
    pairs: Iterable[tuple[Any, tuple[Any, Any]]]
    if type(given) is list:
        pairs = enumerate(zip(given, built if type(built) is list else repeat(_ABSENT), strict=False))
    else:
        yield from _overridden(given, built, place)
        pairs = ((name, (item, _item(built, name))) for name, item in _items(given))
    for key, (item, now) in pairs:
        yield from _lost(item, now, kinds, (*place, key), seen)


def _items(given: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(given, dict):
        return iter(dict.items(given))
    return ((name, getattr(given, name)) for name in names_of(type(given)) or ())


def _item(built: Any, name: Any) -> Any:
    return built.get(name, _ABSENT) if isinstance(built, dict) else getattr(built, str(name), _ABSENT)


def _lost_of_model(given: Any, built: Any, kinds: Collection[type[Any]], place: Location) -> Iterator[_Found]:
    kind, other = type(given), type(built)
    for name in stray_names(given, built):
        yield (*place, name), f"{kind.__qualname__} has no such field"
    if kind is not other and kind in kinds and is_model_class(other):
        mark = f'kind: Literal["{kind.__name__.lower()}"] = "{kind.__name__.lower()}"'
        yield (
            place,
            f"a {kind.__qualname__} comes back as a {other.__qualname__}, which takes the same fields. Give each one "
            f"that tells them apart, as {mark}",
        )


def _overridden(given: Any, built: Any, place: Location) -> Iterator[_Found]:
    """Find what an instance is not made with, so that it has its default at each call.

    One that ``__post_init__`` computes of the others is computed again.
    """
    for name, default in _not_given(type(built)).items():
        item, now = dict(_items(given)).get(name, _ABSENT), as_values(getattr(built, name, _ABSENT))
        if item is _ABSENT or _first_change(as_values(item), now, ()) is None:
            continue
        if _first_change(default, now, ()) is None:
            yield (
                (*place, name),
                f"{type(built).__qualname__} has init=False for it, so that it has its default at each call. Take "
                "init=False away",
            )


def stray_names(given: Any, built: Any) -> list[str]:
    """Return what a model has been given besides its fields, as by ``model_copy(update={"a_typo": 1})``.

    Args:
        built: What its type has made of it: what that has too is the class's own.
    """
    kind = type(given)
    if not is_pydantic(kind) and kind is not type(built):
        return []
    fields = kind.model_fields if is_pydantic(kind) else names_of(kind) or ()
    own = getattr(built, "__dict__", {}) if kind is type(built) else {}
    return [
        name for name in getattr(given, "__dict__", ())
        if name not in fields and name not in own and not name.startswith("_") and not hasattr(kind, name)
    ]  # fmt: skip


def _not_given(kind: type[Any]) -> dict[str, Any]:
    """Return the fields that an instance is not made with, and that have a default, with its values."""
    if dataclasses.is_dataclass(kind):
        missing = dataclasses.MISSING
        fields = [field for field in dataclasses.fields(kind) if not field.init]
        made = {field.name: field.default_factory() for field in fields if field.default_factory is not missing}
        made |= {field.name: field.default for field in fields if field.default is not missing}
    else:
        attributes: Any = getattr(kind, "__attrs_attrs__", ())
        made = {
            one.name: one.default.factory() if hasattr(one.default, "factory") else one.default
            for one in attributes
            if not one.init and not getattr(one.default, "takes_self", False)
        }
    return {name: as_values(value) for name, value in made.items()}
