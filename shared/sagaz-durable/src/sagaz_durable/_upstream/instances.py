"""Instances of saga classes, one for each run, and what they declare; made without what sagaz's own engine needs.

sagaz's ``__init__`` looks through all attributes of an instance three times, which costs more than the run of a small
saga. What it finds is the same for all instances of a class, so it is looked up once for the class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sagaz_durable._upstream.imports import load_sagaz
from sagaz_durable.effects import effect_of
from sagaz_durable.graph import Graph, StepNode, graph_of
from sagaz_integration_core.contract.records import Phase
from sagaz_integration_core.errors import SagaDefinitionError

__all__ = ["Prepared", "Step", "made_by", "prepare"]

Function = Callable[[dict[str, Any]], Any]
Hook = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Step:
    """What one step of an instance is; times in seconds.

    Attributes:
        forward, compensation: A function, or the name of the instance's attribute that is one.
        on_enter, on_success, on_failure, on_compensate: sagaz's hooks.
    """

    name: str
    forward: str | Function
    compensation: str | Function | None
    timeout: float
    compensation_timeout: float
    max_retries: int
    on_enter: Hook | None
    on_success: Hook | None
    on_failure: Hook | None
    on_compensate: Hook | None

    @property
    def hooked(self) -> bool:
        """Whether it has a hook that is told of the step itself."""
        return self.on_enter is not None or self.on_success is not None or self.on_failure is not None


@dataclass(frozen=True, slots=True)
class _Declaration:
    """What all instances of a class declare."""

    graph: Graph
    steps: dict[str, Step]
    definitions: tuple[Any, ...]
    forward_recovery: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Prepared:
    """An instance that is about to run.

    Attributes:
        listeners: What it notifies.
        retries_steps: Whether it asks, with ``retry_steps = True``, that its steps' ``max_retries`` be honoured.
    """

    saga: Any
    graph: Graph
    steps: dict[str, Step]
    listeners: Sequence[Any]
    retries_steps: bool

    @property
    def owner(self) -> str:
        """The class's name, for messages."""
        return type(self.saga).__name__

    def release(self) -> None:
        """Take the functions off an instance that has run: they refer to it. Those of a class are not its own."""
        for step in self.saga._steps:
            if getattr(step.forward_fn, "__self__", None) is self.saga:
                step.forward_fn = step.compensation_fn = None

    def function(self, step: str, phase: Phase) -> Function:
        """Return what is called in this phase of a step."""
        found = self.steps[step].forward if phase == "do" else self.steps[step].compensation
        if isinstance(found, str):
            bound: Function = getattr(self.saga, found)
            return bound
        if found is None:
            raise LookupError(f"Step {step!r} has no compensation.")
        return found

    def timeout(self, step: str, phase: Phase) -> float:
        """Return how many seconds a call may take."""
        declared = self.steps[step]
        return declared.timeout if phase == "do" else declared.compensation_timeout


def prepare(saga_class: type[Any], factory: Callable[[], Any], listeners: Sequence[Any]) -> Prepared:
    """Make an instance for one run.

    Args:
        listeners: What takes the place of sagaz's globally configured listeners; an instance or a class that brings
            its own keeps them.

    Raises:
        SagaDefinitionError: The factory returned something else, the instance has no steps, or ``add_step`` gave it
            contradictory ones.
    """
    plain: Any = saga_class
    if factory is saga_class and _is_plain(plain):
        declaration = _declaration(plain)
        saga = _bare(plain, declaration)
        own = plain.listeners
        return Prepared(saga, declaration.graph, declaration.steps, listeners if own is None else own, _retries(plain))
    saga = made_by(factory, saga_class)
    return Prepared(saga, *_read(saga, lambda function: function), _listeners(saga, listeners), _retries(saga))


def made_by(factory: Callable[[], Any], saga_class: type[Any]) -> Any:
    """Return a fresh instance; sagaz's are good for one run only.

    Raises:
        SagaDefinitionError: The factory returned something else.
    """
    saga = factory()
    if not isinstance(saga, saga_class):
        raise SagaDefinitionError(
            f"The factory of {saga_class.__name__} returned a {type(saga).__name__}; "
            f"it must return a new {saga_class.__name__} at every call."
        )
    return saga


@lru_cache(maxsize=1000)
def _is_plain(saga_class: Any) -> bool:
    """Whether making an instance is sagaz's alone, and decorators say all that there is to it."""
    base = load_sagaz().Saga
    return (
        saga_class.__init__ is base.__init__
        and saga_class.__new__ is object.__new__
        and type(saga_class) is type
        and not any("__slots__" in vars(kind) for kind in saga_class.__mro__[:-1] if kind is not base)
    )


@lru_cache(maxsize=1000)
def _declaration(saga_class: Any) -> _Declaration:
    # By sagaz's own hand, on an instance that is never run: what it collects is what its users know.
    saga = saga_class()
    names = {
        getattr(saga, name): name for name in dir(saga_class) if not name.startswith("_") and _has_step(saga, name)
    }
    graph, steps = _read(saga, lambda function: names.get(function, function))
    return _Declaration(graph, steps, tuple(saga._steps), dict(saga._forward_recovery_handlers))


def _has_step(saga: Any, name: str) -> bool:
    value = getattr(saga, name)
    return hasattr(value, "_saga_step_meta") or hasattr(value, "_saga_compensation_meta")


def _bare(saga_class: type[Any], declaration: _Declaration) -> Any:
    saga = object.__new__(saga_class)
    # What sagaz's own methods read of an instance, for steps that call them.
    saga.__dict__.update(
        _steps=list(declaration.definitions),
        _step_registry={step.step_id: step for step in declaration.definitions},
        _context={},
        _saga_id="",
        _mode="declarative",
        _forward_recovery_handlers=declaration.forward_recovery,
        _completed_pivots=set(),
        _tainted_steps=set(),
        _pivot_reached=False,
        _config=None,
        _instance_listeners=[],
    )
    return saga


def _read(saga: Any, named: Callable[[Any], Any]) -> tuple[Graph, dict[str, Step]]:
    definitions = saga._steps
    if not definitions:
        raise SagaDefinitionError(
            f"{type(saga).__name__} has no steps. Decorate its async or plain methods with @action('name')."
        )
    declared = tuple(
        StepNode(
            step.step_id,
            tuple(step.depends_on),
            step.compensation_fn is not None,
            step.pivot,
            effect_of(step.forward_fn),
            effect_of(step.compensation_fn),
        )
        for step in definitions
    )
    graph = graph_of(type(saga).__name__, declared)
    return graph, {step.step_id: _step(step, named) for step in definitions}


def _step(definition: Any, named: Callable[[Any], Any]) -> Step:
    return Step(
        name=definition.step_id,
        forward=named(definition.forward_fn),
        compensation=named(definition.compensation_fn),
        timeout=definition.timeout_seconds,
        compensation_timeout=definition.compensation_timeout_seconds,
        max_retries=definition.max_retries,
        on_enter=definition.on_enter,
        on_success=definition.on_success,
        on_failure=definition.on_failure,
        on_compensate=definition.on_compensate,
    )


def _listeners(saga: Any, configured: Sequence[Any]) -> Sequence[Any]:
    from sagaz import get_config

    own: Sequence[Any] = saga._instance_listeners
    return configured if own is get_config().listeners else own


def _retries(saga: Any) -> bool:
    return bool(getattr(saga, "retry_steps", False))
