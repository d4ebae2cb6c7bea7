"""What sagaz's ``@forward_recovery`` and ``CompensationType.MANUAL`` may declare, and what handlers may return."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sagaz_durable._upstream.imports import load_sagaz
from sagaz_durable.graph import Graph
from sagaz_durable.nearest_name import nearest
from sagaz_integration_core.errors import SagaDefinitionError

__all__ = ["action_value", "check_recoveries", "decorated", "manual_steps", "recovered_steps"]

_MAX_NAME = 150
"""Characters: the name of the step is part of the signal by which a person decides, which has at most 200."""


def decorated(saga_class: type[Any], marker: str) -> Iterator[tuple[str, Any]]:
    """Return the methods, with their names, on which one of sagaz's decorators has left its mark."""
    members: dict[str, Any] = {}
    # What the class itself has wins, as when it is called. (inspect.getattr_static takes ten times as long.)
    for kind in reversed(saga_class.__mro__):
        members |= vars(kind)
    for attribute in sorted(members):
        method = getattr(members[attribute], "__func__", members[attribute])
        if hasattr(method, marker):
            yield attribute, method


def recovered_steps(saga_class: type[Any]) -> set[str]:
    """Return the steps that have a ``@forward_recovery`` handler."""
    return {m._saga_forward_recovery_meta.for_step for _, m in decorated(saga_class, "_saga_forward_recovery_meta")}


def manual_steps(saga_class: type[Any]) -> set[str]:
    """Return the steps that a person compensates."""
    metas = (m._saga_compensation_meta for _, m in decorated(saga_class, "_saga_compensation_meta"))
    return {meta.for_step for meta in metas if meta.compensation_type.name == "MANUAL"}


def check_recoveries(saga_class: type[Any], graph: Graph) -> None:
    """Refuse handlers that could never be called, and questions that nobody could answer.

    Raises:
        SagaDefinitionError: Naming the method, what is wrong and what to write.
    """
    owner, seen = saga_class.__qualname__, dict[str, str]()
    for attribute, method in decorated(saga_class, "_saga_forward_recovery_meta"):
        where, meta = f"{owner}.{attribute}", method._saga_forward_recovery_meta
        step = meta.for_step
        if step not in graph.nodes:
            raise SagaDefinitionError(
                f"{where} recovers {step!r}, and no step has that name.{nearest(step, graph.nodes)}"
            )
        if step in seen:
            raise SagaDefinitionError(
                f"{owner}.{seen[step]} and {where} both recover {step!r}, and sagaz keeps one of them; keep one."
            )
        seen[step] = attribute
        if not any(graph.nodes[name].pivot for name in graph.ancestors[step]):
            raise SagaDefinitionError(
                f"{where} would never be called: forward recovery is for steps behind a pivot, and {step!r} depends on "
                "none. Mark the step after which nothing is to be rolled back with pivot=True, and have "
                f"{step!r} depend on it; before a pivot, use @compensate."
            )
        if isinstance(meta.max_retries, bool) or not isinstance(meta.max_retries, int) or meta.max_retries < 0:
            raise SagaDefinitionError(f"{where} has max_retries={meta.max_retries!r}; expected a whole number from 0.")
    for step in [*seen, *manual_steps(saga_class)]:
        if len(step) > _MAX_NAME:
            raise SagaDefinitionError(
                f"{owner} may ask a person about step {step[:40]!r}…, whose name has {len(step)} characters: at most "
                f"{_MAX_NAME} fit into the name of the signal that answers. Shorten it."
            )


def action_value(returned: object) -> str | None:
    """Return the value of the ``RecoveryAction`` that a handler has returned; None if it returned something else."""
    kind: Any = load_sagaz().RecoveryAction
    return str(kind(returned).value) if isinstance(returned, kind) else None
