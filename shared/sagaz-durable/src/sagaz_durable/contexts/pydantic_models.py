"""Pydantic models as types of contexts; nobody imports Pydantic because of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sagaz_durable.contexts.misfit import Location, Misfit
from sagaz_durable.serialization.codec import copy_value
from sagaz_durable.serialization.model_fields import names_of
from sagaz_integration_core.error_text import error_text
from sagaz_integration_core.errors import SagaDefinitionError

__all__ = ["PydanticModel"]


class PydanticModel:
    """A class as a type of contexts; see `Model`."""

    def __init__(self, kind: Any) -> None:
        if getattr(kind, "__pydantic_root_model__", False):
            raise SagaDefinitionError(f"{kind.__qualname__} is a root model; a context has fields.")
        self.kind: type[Any] = kind
        kept = names_of(kind) or ()
        self.fields: Mapping[str, Any] = {name: kind.model_fields[name].annotation for name in kept}
        lost = [name for name, field in kind.model_fields.items() if name not in kept and field.is_required()]
        if lost:
            raise SagaDefinitionError(
                f"{kind.__qualname__}.{lost[0]} has exclude=True, so that it is not recorded, and no default. Give it "
                "one, or take exclude=True away."
            )
        self.required = frozenset(name for name in kept if kind.model_fields[name].is_required())
        self.is_open: bool = kind.model_config.get("extra") == "allow"
        _check_aliases(kind)
        self._validate = _by_name(kind)

    def build(self, values: Mapping[str, Any]) -> Any:
        """Return an instance; see `Model.build`."""
        try:
            return self._validate(copy_value(dict(values)))
        except Exception as error:
            # Pydantic's own text has the values; tracebacks are logged with all causes.
            raise Misfit(_told(error)) from (None if _is_validation(error) else error)

    def given(self, instance: Any, values: Mapping[str, Any]) -> frozenset[str]:
        """Return what was not left to its default; see `Model.given`."""
        # By their names, where the values may have come by aliases.
        return frozenset(instance.model_fields_set)


def _check_aliases(kind: Any) -> None:
    """Refuse an alias that is another field's name: what is recorded by that name would come back as this field."""
    for name, field in kind.model_fields.items():
        for alias in _first_keys(field.validation_alias):
            if alias != name and alias in kind.model_fields:
                raise SagaDefinitionError(
                    f"{kind.__qualname__}.{name} has the alias {alias!r}, which is another field's name: what is "
                    "recorded of one would come back in the other. Rename one of them."
                )


def _first_keys(alias: Any) -> Iterator[str]:
    if isinstance(alias, str):
        yield alias
    # An AliasPath, or AliasChoices of such and of names.
    elif path := getattr(alias, "path", None):
        yield from _first_keys(path[0])
    else:
        for choice in getattr(alias, "choices", ()):
            yield from _first_keys(choice)


def _by_name(kind: Any) -> Callable[[dict[str, Any]], Any]:
    if "by_name" in inspect.signature(kind.model_validate).parameters:
        return lambda values: kind.model_validate(values, by_alias=True, by_name=True)
    # Before Pydantic 2.11 a model takes its aliases alone, unless it says otherwise.
    aliases = {} if kind.model_config.get("populate_by_name") else _aliases(kind)
    return lambda values: kind.model_validate({aliases.get(name, name): value for name, value in values.items()})


def _aliases(kind: Any) -> dict[str, str]:
    fields = kind.model_fields.items()
    return {name: field.validation_alias for name, field in fields if isinstance(field.validation_alias, str)}


def _is_validation(error: Any) -> bool:
    return callable(getattr(error, "errors", None))


def _told(error: Any) -> tuple[tuple[Location, str], ...]:
    if not _is_validation(error):
        # What a validator of the application's own raised, which is no ValueError.
        return (((), error_text(error)),)
    return tuple((tuple(one["loc"]), _message(one)) for one in error.errors(include_url=False, include_input=False))


def _message(one: Mapping[str, Any]) -> str:
    if one["type"] == "union_tag_invalid":
        # Pydantic's own text has the value.
        return f"{one['ctx']['discriminator']} is none of the expected tags: {one['ctx']['expected_tags']}"
    return str(one["msg"])
