"""Types of one saga that have a field in common: it is one value of the context, so they have to say the same of it."""

from __future__ import annotations

import typing
from collections.abc import Iterable
from typing import Any

from sagaz_durable.contexts.models import Model
from sagaz_integration_core.errors import SagaDefinitionError

__all__ = ["check_agreement"]


def check_agreement(owner: str, types: Iterable[Model]) -> None:
    """Refuse two types that say different things of one field.

    Args:
        owner: The saga's name.

    Raises:
        SagaDefinitionError: Two of them do.
    """
    seen: dict[str, Model] = {}
    for one in types:
        for name, annotation in one.fields.items():
            other = seen.setdefault(name, one)
            if not _agree(annotation, other.fields[name]):
                raise SagaDefinitionError(
                    f"{owner}: {one.kind.__qualname__}.{name} and {other.kind.__qualname__}.{name} have different "
                    "types, and are one value of the context. Annotate both alike; one of them may take None besides."
                )


def _agree(one: Any, other: Any) -> bool:
    one, other = _bare(one), _bare(other)
    return one == other or bool(one in typing.get_args(other) or other in typing.get_args(one))


def _bare(annotation: Any) -> Any:
    while typing.get_origin(annotation) in (typing.Annotated, typing.Required, typing.NotRequired):
        annotation = typing.get_args(annotation)[0]
    return annotation
