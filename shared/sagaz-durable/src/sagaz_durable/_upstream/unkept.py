"""What sagaz lets a class declare and does not do: refused, because a saga would end otherwise than it says."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from sagaz_integration_core.errors import SagaDefinitionError

__all__ = ["decorated", "refuse_unkept"]


def decorated(saga_class: type[Any], marker: str) -> Iterator[tuple[str, Any]]:
    """Return the methods, with their names, on which one of sagaz's decorators has left its mark."""
    for attribute in dir(saga_class):
        method = inspect.getattr_static(saga_class, attribute)
        method = getattr(method, "__func__", method)
        if hasattr(method, marker):
            yield attribute, method


def refuse_unkept(saga_class: type[Any]) -> None:
    """Refuse a class that relies on what sagaz accepts and never does.

    Raises:
        SagaDefinitionError: Naming the method, what sagaz does instead and what to write.
    """
    owner = saga_class.__qualname__
    for attribute, _ in decorated(saga_class, "_saga_forward_recovery_meta"):
        raise SagaDefinitionError(
            f"{owner}.{attribute} is a @forward_recovery handler, which sagaz collects and never calls: the run would "
            "not recover as it says. Handle the failure inside the step, or remove the handler; a run that fails "
            "behind its pivot ends as failed, for a person to retry or resolve."
        )
    for attribute, method in decorated(saga_class, "_saga_compensation_meta"):
        if method._saga_compensation_meta.compensation_type.name == "MANUAL":
            raise SagaDefinitionError(
                f"{owner}.{attribute} has CompensationType.MANUAL, which sagaz ignores: it would be called by itself, "
                "and no person asked. Raise an exception in the compensation, so that the run ends as failed and "
                "waits for a person, or leave the type out."
            )
