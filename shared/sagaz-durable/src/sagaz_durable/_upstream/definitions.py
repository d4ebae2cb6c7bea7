"""Reading saga classes: their names, their steps, and the mistakes that sagaz passes over in silence."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from sagaz_durable._upstream.imports import load_sagaz
from sagaz_durable._upstream.recoveries import check_recoveries, decorated, manual_steps, recovered_steps
from sagaz_durable._upstream.triggers import refuse_lost
from sagaz_durable._upstream.typed_steps import context_types
from sagaz_durable.effects import MARK, effect_of
from sagaz_durable.graph import Graph, StepNode, graph_of
from sagaz_durable.nearest_name import nearest
from sagaz_durable.serialization.moments import read_deadline
from sagaz_integration_core.errors import SagaDefinitionError, UsageError

__all__ = [
    "DEFAULT_LIMIT", "declared_graph", "has_steps", "saga_name", "step_limits", "transactional_calls",
    "validate",
]  # fmt: skip

_MAX_NAME = 200
"""Characters; saga_id:step is an idempotency key, and payment providers stop at 255."""

DEFAULT_LIMIT = 60.0
"""sagaz's own limit of a step, in seconds."""


def saga_name(saga_class: type[Any]) -> str:
    """Return the name under which sagaz, and every row, knows this class.

    Raises:
        SagaDefinitionError: It is not a subclass of ``sagaz.Saga``, or its name cannot be stored.
    """
    if not (isinstance(saga_class, type) and issubclass(saga_class, load_sagaz().Saga)):
        raise SagaDefinitionError(
            f"Expected a subclass of sagaz.Saga, got {saga_class!r}. "
            "Pass the class itself (OrderSaga), not an instance or its name."
        )
    name = saga_class.saga_name or saga_class.__name__
    _check_name(name, f"{saga_class.__qualname__}.saga_name")
    return str(name)


def _check_name(name: object, where: str) -> None:
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME or not name.isprintable():
        raise SagaDefinitionError(f"{where} is {name!r}; it must be 1 to {_MAX_NAME} printable characters.")


def validate(saga_class: type[Any]) -> Graph:
    """Refuse a class whose decorators sagaz would partly ignore; return the graph of its steps.

    Raises:
        SagaDefinitionError: Naming the method, what is wrong and the nearest step name.
    """
    owner = saga_class.__qualname__
    steps: dict[str, str] = {}
    for attribute, method in decorated(saga_class, "_saga_step_meta"):
        _check_method(owner, attribute, method)
        name = method._saga_step_meta.name
        _check_name(name, f"The step name of {owner}.{attribute}")
        if name in steps:
            raise SagaDefinitionError(
                f"{owner}.{steps[name]} and {owner}.{attribute} are both step {name!r}; sagaz would drop one of them. "
                "Rename one."
            )
        steps[name] = attribute
    _check_compensations(saga_class, owner, steps)
    for attribute, method in decorated(saga_class, "_saga_forward_recovery_meta"):
        _check_method(owner, attribute, method, given=("the context", "the error"))
    _check_effects(saga_class, owner)
    graph = declared_graph(saga_class)
    check_recoveries(saga_class, graph)
    context_types(saga_class, lambda: graph)
    _check_deadline(saga_class)
    refuse_lost(saga_class)
    return graph


def _check_compensations(saga_class: type[Any], owner: str, steps: dict[str, str]) -> None:
    seen: dict[str, str] = {}
    for attribute, method in decorated(saga_class, "_saga_compensation_meta"):
        _check_method(owner, attribute, method)
        target = method._saga_compensation_meta.for_step
        if target not in steps:
            raise SagaDefinitionError(
                f"{owner}.{attribute} compensates {target!r}, and no step has that name.{nearest(target, steps)}"
            )
        if target in seen:
            raise SagaDefinitionError(
                f"{owner}.{seen[target]} and {owner}.{attribute} both compensate {target!r}; keep one."
            )
        seen[target] = attribute


def _check_deadline(saga_class: type[Any]) -> None:
    try:
        read_deadline(getattr(saga_class, "deadline", None))
    except UsageError as error:
        raise SagaDefinitionError(f"{saga_class.__qualname__}: {error}") from None


def _check_effects(saga_class: type[Any], owner: str) -> None:
    for attribute, method in decorated(saga_class, MARK):
        if not (hasattr(method, "_saga_step_meta") or hasattr(method, "_saga_compensation_meta")):
            raise SagaDefinitionError(
                f"{owner}.{attribute} has @effect({effect_of(method)!r}), and is neither a step nor a compensation. "
                "Decorate it with @action(…) or @compensate(…) too, or remove @effect."
            )


def _check_method(
    owner: str, attribute: str, method: Callable[..., Any], given: tuple[str, ...] = ("the context",)
) -> None:
    if attribute.startswith("_"):
        raise SagaDefinitionError(f"{owner}.{attribute} is decorated, but sagaz ignores private methods. Rename it.")
    if inspect.isasyncgenfunction(method) or inspect.isgeneratorfunction(method):
        raise SagaDefinitionError(f"{owner}.{attribute} yields; a step returns a dict or None.")
    parameters = [p for p in inspect.signature(method).parameters.values() if p.default is p.empty]
    needed = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if len(needed) > 1 + len(given):
        raise SagaDefinitionError(
            f"{owner}.{attribute} requires the arguments {', '.join(p.name for p in needed[1:])}; "
            f"it is called with {' and '.join(given)} only. Give the others a default or remove them."
        )


def _steps(saga_class: type[Any]) -> Iterator[tuple[str, Any]]:
    return decorated(saga_class, "_saga_step_meta")


def has_steps(value: object) -> bool:
    """Whether this is a saga class that declares steps, and not a base class for others."""
    return isinstance(value, type) and issubclass(value, load_sagaz().Saga) and any(_steps(value))


def declared_graph(saga_class: type[Any]) -> Graph:
    """Return the graph of the steps that a class declares.

    Raises:
        SagaDefinitionError: A dependency names no step, or dependencies go in a circle.
    """
    undone = {m._saga_compensation_meta.for_step: m for _, m in decorated(saga_class, "_saga_compensation_meta")}
    recovered, manual = recovered_steps(saga_class), manual_steps(saga_class)
    declared = (
        _node(method, undone.get(name := method._saga_step_meta.name), name in recovered, name in manual)
        for _, method in _steps(saga_class)
    )
    return graph_of(saga_class.__qualname__, tuple(declared))


def _node(step: Any, undo: Any, recovered: bool, manual: bool) -> StepNode:
    meta = step._saga_step_meta
    effects = effect_of(step), effect_of(undo)
    return StepNode(meta.name, tuple(meta.depends_on), undo is not None, meta.pivot, *effects, recovered, manual)


def step_limits(saga_class: type[Any]) -> dict[str, float]:
    """Return the declared steps' time limits in seconds; others have ``:undo`` or ``:redo`` behind it."""
    limits = {method._saga_step_meta.name: method._saga_step_meta.timeout_seconds for _, method in _steps(saga_class)}
    for _, method in decorated(saga_class, "_saga_compensation_meta"):
        meta = method._saga_compensation_meta
        limits[f"{meta.for_step}:undo"] = meta.timeout_seconds
    for _, method in decorated(saga_class, "_saga_forward_recovery_meta"):
        meta = method._saga_forward_recovery_meta
        limits[f"{meta.for_step}:redo"] = meta.timeout_seconds
    return limits


def transactional_calls(saga_class: type[Any]) -> list[tuple[str, bool]]:
    """Return the declared transactional steps and compensations, in words, each with whether it is ``async def``."""
    calls = [(f"Step {method._saga_step_meta.name!r}", method) for _, method in _steps(saga_class)]
    for _, method in decorated(saga_class, "_saga_compensation_meta"):
        calls.append((f"The compensation of step {method._saga_compensation_meta.for_step!r}", method))
    return [
        (what, inspect.iscoroutinefunction(method)) for what, method in calls if effect_of(method) == "transactional"
    ]
