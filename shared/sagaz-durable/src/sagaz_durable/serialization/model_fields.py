"""Pydantic models, dataclasses and attrs instances as dicts of their fields; none of these is imported here."""

from __future__ import annotations

import sys
from dataclasses import fields, is_dataclass
from typing import Any

from sagaz_durable.serialization.diagnostics import Refused
from sagaz_integration_core.error_text import error_text, type_name

__all__ = ["NO_MODEL", "fields_of", "is_model_class", "is_pydantic", "names_of"]

NO_MODEL = object()
"""What `fields_of` returns of everything else."""


def fields_of(value: Any) -> Any:
    """Return the fields of a model by name, as they are, with what it has besides them; of a root model its root.

    Serializers and computed fields are not called, and fields that are declared with ``exclude=True`` are left out.

    Raises:
        Refused: A field has no value.
    """
    kind = type(value)
    names = names_of(kind)
    if names is None:
        return NO_MODEL
    try:
        if getattr(kind, "__pydantic_root_model__", False):
            return value.root
        found = {name: getattr(value, name) for name in names}
        extra = getattr(value, "__pydantic_extra__", None)
    except Exception as error:
        raise Refused(f"a field of {type_name(value)} cannot be read: {error_text(error)}") from error
    return found | extra if isinstance(extra, dict) else found


def names_of(kind: type[Any]) -> tuple[str, ...] | None:
    """Return the names of the fields that are kept of a model's class; None if it is none."""
    if is_pydantic(kind):
        return tuple(name for name, field in kind.model_fields.items() if not field.exclude)
    if is_dataclass(kind):
        return tuple(field.name for field in fields(kind))
    if isinstance(attributes := getattr(kind, "__attrs_attrs__", None), tuple):
        return tuple(attribute.name for attribute in attributes)
    return None


def is_model_class(kind: object) -> bool:
    """Whether instances of this class are turned into dicts."""
    return isinstance(kind, type) and names_of(kind) is not None


def is_pydantic(kind: Any) -> bool:
    """Whether a class is a model of Pydantic's."""
    base = getattr(sys.modules.get("pydantic.main"), "BaseModel", None)
    return base is not None and issubclass(kind, base) and hasattr(kind, "model_fields")
