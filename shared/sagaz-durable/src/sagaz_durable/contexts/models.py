"""Models as types of contexts: dataclasses, attrs classes and typed dicts, and Pydantic models beside them."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any, Protocol

from sagaz_durable.contexts.misfit import Location, Misfit
from sagaz_durable.contexts.pydantic_models import PydanticModel
from sagaz_durable.contexts.readers import Reader, Unkept, reader_of
from sagaz_durable.serialization.codec import copy_value
from sagaz_durable.serialization.diagnostics import Refused
from sagaz_durable.serialization.json_checks import TOO_DEEP
from sagaz_durable.serialization.model_fields import fields_of, is_model_class, names_of
from sagaz_integration_core.error_text import error_text
from sagaz_integration_core.errors import SagaDefinitionError

__all__ = ["Model", "as_values", "compile_nested", "hints_of", "model_of"]

_UNDER_WAY = object()


class Model(Protocol):
    """One type of contexts or results.

    Attributes:
        fields: The annotations of its fields by name.
        required: Those without a default.
        is_open: Whether it takes others, too.
    """

    kind: type[Any]
    fields: Mapping[str, Any]
    required: frozenset[str]
    is_open: bool

    def build(self, values: Mapping[str, Any]) -> Any:
        """Return an instance with these values, which are its own then.

        Raises:
            Misfit: They are not what it says.
        """
        ...

    def given(self, instance: Any, values: Mapping[str, Any]) -> frozenset[str]:
        """Return the fields that were not left to their defaults, of an instance that was made with these values."""
        ...


def as_values(value: Any) -> Any:
    """Return a value with dicts in place of models, at any depth, which shares no dict and no list with it.

    Raises:
        Refused: It is inside itself, nests too deeply to be walked, or a field of a model cannot be read.
    """
    try:
        return _values(value, {})
    except RecursionError:
        raise Refused(TOO_DEEP) from None


def _values(value: Any, seen: dict[int, Any]) -> Any:
    is_dict, is_list = isinstance(value, dict), type(value) is list
    if not is_dict and not is_list and not is_model_class(type(value)):
        return value
    # What is held many times is walked once.
    if id(value) not in seen:
        seen[id(value)] = _UNDER_WAY
        items = value if is_dict or is_list else fields_of(value)
        if isinstance(items, dict):
            seen[id(value)] = {key: _values(item, seen) for key, item in dict.items(items)}
        else:
            seen[id(value)] = [_values(item, seen) for item in items] if is_list else _values(items, seen)
    if seen[id(value)] is _UNDER_WAY:
        raise Refused(f"this {type(value).__name__} is inside itself; JSON has no cycles")
    return seen[id(value)]


def model_of(kind: type[Any]) -> Model | None:
    """Return a class as a type of contexts; None if it is no model.

    Raises:
        SagaDefinitionError: It has fields whose values are not kept, or cannot be checked.
    """
    key: Any = kind
    return _model(key)


@lru_cache(maxsize=1_000)
def _model(kind: Any) -> Model | None:
    if hasattr(kind, "model_validate") and is_model_class(kind):
        return PydanticModel(kind)
    if typing.is_typeddict(kind):
        hints = hints_of(kind.__qualname__, kind, extras=True)
        return _TypedDict(kind, hints, _required(kind, hints))
    if is_model_class(kind):
        return _Fields(kind, hints_of(kind.__qualname__, kind, extras=True))
    return None


def compile_nested(model: Model, seen: set[Any]) -> None:
    """Refuse at registration what would be refused when a value of it is first met.

    Args:
        seen: Gets the models within it.
    """
    for annotation in model.fields.values():
        for kind in _classes(annotation):
            if kind not in seen and (inner := model_of(kind)) is not None:
                seen.add(kind)
                compile_nested(inner, seen)


def _classes(annotation: Any) -> Iterable[type[Any]]:
    if isinstance(annotation, type) and not typing.get_args(annotation):
        yield annotation
    for one in typing.get_args(annotation):
        yield from _classes(one)


def _required(kind: Any, hints: Mapping[str, Any]) -> frozenset[str]:
    # Of annotations that are strings the class itself does not see what these two say.
    marks = {name: typing.get_origin(hint) for name, hint in hints.items()}
    required = {name for name in kind.__required_keys__ if marks[name] is not typing.NotRequired}
    return frozenset(required | {name for name, mark in marks.items() if mark is typing.Required})


def hints_of(what: str, annotated: Any, names: Mapping[str, Any] | None = None, *, extras: bool = False) -> Any:
    """Return the annotations of a class or a function by name, those that are strings resolved.

    Args:
        what: What it is called, for the error.
        names: What the strings may name besides what its module has.
        extras: Whether to keep ``Annotated``, ``Required`` and the like.

    Raises:
        SagaDefinitionError: A string names what is not there.
    """
    try:
        return typing.get_type_hints(annotated, localns=names, include_extras=extras)
    except Exception as error:
        raise SagaDefinitionError(
            f"The annotations of {what} cannot be resolved: {error_text(error)}. Import what they name at the top of "
            "its module."
        ) from error


class _Checked:
    """A model whose fields are checked by their annotations."""

    is_open: bool = False

    def __init__(self, kind: type[Any], fields: dict[str, Any], required: frozenset[str]) -> None:
        self.kind: type[Any] = kind
        self.fields: Mapping[str, Any] = fields
        self.required = required
        self._readers = {name: _reader(kind, name, annotation) for name, annotation in fields.items()}

    def read(self, values: Mapping[str, Any], place: Location = ()) -> dict[str, Any]:
        found: dict[str, Any] = {}
        wrong: list[tuple[Location, str]] = []
        for name in sorted(self.required.difference(values)):
            wrong.append(((*place, name), f"it is missing; {self.kind.__qualname__} has no default for it"))
        for name, value in values.items():
            if (reader := self._readers.get(name)) is None:
                wrong.append(((*place, name), f"{self.kind.__qualname__} has no such field"))
                continue
            try:
                found[name] = reader(value, (*place, name))
            except Misfit as misfit:
                wrong += misfit.found
        if wrong:
            raise Misfit(tuple(wrong))
        return found

    def given(self, instance: Any, values: Mapping[str, Any]) -> frozenset[str]:
        return frozenset(values)


class _TypedDict(_Checked):
    def build(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return self.read(copy_value(dict(values)))


class _Fields(_Checked):
    """A dataclass or an attrs class."""

    def __init__(self, kind: type[Any], hints: dict[str, Any]) -> None:
        parameters = _parameters(kind)
        self._parameters = {name: parameter for name, (parameter, _) in parameters.items()}
        _check_parameters(kind, self._parameters.values())
        required = frozenset(name for name, (_, is_required) in parameters.items() if is_required)
        super().__init__(kind, {name: hints[name] for name in names_of(kind) or ()}, required)

    def build(self, values: Mapping[str, Any]) -> Any:
        return self.made(self.read(copy_value(dict(values))), ())

    def made(self, values: dict[str, Any], place: Location) -> Any:
        given = {self._parameters[name]: value for name, value in values.items() if name in self._parameters}
        try:
            return self.kind(**given)
        except Exception as error:
            # Its own checks, as in __post_init__.
            raise Misfit(((place, error_text(error)),)) from error


def _parameters(kind: type[Any]) -> dict[str, tuple[str, bool]]:
    """Return by which parameter of its class each field is given, and whether it has to be."""
    if dataclasses.is_dataclass(kind):
        missing = dataclasses.MISSING
        return {
            field.name: (field.name, field.default is missing and field.default_factory is missing)
            for field in dataclasses.fields(kind)
            if field.init
        }
    attributes: Any = kind.__attrs_attrs__
    empty = inspect.Parameter.empty
    parameters = inspect.signature(kind).parameters
    return {one.name: (one.alias, parameters[one.alias].default is empty) for one in attributes if one.init}


def _check_parameters(kind: type[Any], fields: Collection[str]) -> None:
    """Refuse a class of which no instance can be made of its fields, as one with an ``InitVar``."""
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    for name, parameter in inspect.signature(kind).parameters.items():
        if name not in fields and parameter.default is inspect.Parameter.empty and parameter.kind not in variable:
            raise SagaDefinitionError(
                f"{kind.__qualname__} takes {name!r}, which is no field and has no default, so that no instance can be "
                "made of what is recorded. Give it a default, or make it a field."
            )


def _reader(owner: type[Any], name: str, annotation: Any) -> Reader:
    try:
        return reader_of(annotation, _model_reader)
    except Unkept as unkept:
        raise SagaDefinitionError(
            f"{owner.__qualname__}.{name}: {unkept}. See what a value may be in the reference, or annotate it as Any."
        ) from None


def _model_reader(kind: type[Any]) -> Reader | None:
    if not typing.is_typeddict(kind) and not is_model_class(kind):
        return None

    def read(value: Any, place: Location) -> Any:
        # Only now: a model may have itself as a field.
        model: Any = model_of(kind)
        if type(value) is not dict:
            raise Misfit(((place, f"expected {kind.__qualname__}, got {type(value).__name__}"),))
        if isinstance(model, _Checked):
            values = model.read(value, place)
            return model.made(values, place) if isinstance(model, _Fields) else values
        try:
            return model.build(value)
        except Misfit as misfit:
            raise Misfit(tuple(((*place, *inner), why) for inner, why in misfit.found)) from misfit

    return read
