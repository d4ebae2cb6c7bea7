"""Instances of saga classes, one for each run, and what they declare; made without what sagaz's own engine needs.

sagaz's ``__init__`` looks through all attributes of an instance three times, which costs more than the run of a small
saga. What it finds is the same for all instances of a class, so it is looked up once for the class.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import field
from functools import lru_cache
from typing import Any

from sagaz_durable._upstream.imports import load_sagaz
from sagaz_durable._upstream.steps import Function, Step, read
from sagaz_durable._upstream.typed_steps import context_types
from sagaz_durable.contexts.context_types import ContextTypes
from sagaz_durable.graph import Graph
from sagaz_durable.serialization.codec import copy_value
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.contract.records import Phase
from sagaz_integration_core.errors import SagaDefinitionError

__all__ = ["Prepared", "Step", "made_by", "prepare"]

_MARKS = ("_saga_step_meta", "_saga_compensation_meta", "_saga_forward_recovery_meta")


@record
class _Declaration:
    """What all instances of a class declare."""

    graph: Graph
    steps: dict[str, Step]
    definitions: tuple[Any, ...]
    forward_recovery: dict[str, Any]


@record
class Prepared:
    """An instance that is about to run.

    Attributes:
        failures: What steps have raised whose recovery decides about it.
        listeners: What it notifies.
        retries_steps: Whether it asks, with ``retry_steps = True``, that its steps' ``max_retries`` be honoured.
        types: What its class declares of its context; None for nothing.
    """

    saga: Any
    graph: Graph
    steps: dict[str, Step]
    listeners: Sequence[Any]
    retries_steps: bool
    types: ContextTypes | None
    failures: dict[str, Exception] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        """The class's name, for messages."""
        return type(self.saga).__name__

    def release(self) -> None:
        """Take the functions off an instance that has run: they refer to it. Those of a class are not its own."""
        self.failures.clear()
        self.saga._forward_recovery_handlers = {}
        for step in self.saga._steps:
            if getattr(step.forward_fn, "__self__", None) is self.saga:
                step.forward_fn = step.compensation_fn = None

    def function(self, step: str, phase: Phase) -> Function:
        """Return what is called in this phase of a step."""
        declared = self.steps[step]
        if phase == "redo":
            return self._recovery(step)
        found = declared.forward if phase == "do" else declared.compensation
        if isinstance(found, str):
            bound: Function = getattr(self.saga, found)
            return bound
        if found is None:
            raise LookupError(f"Step {step!r} has no compensation.")
        return found

    def _recovery(self, step: str) -> Function:
        recovery = self.steps[step].recovery
        if recovery is None:
            raise LookupError(f"Step {step!r} has no recovery.")
        handler = getattr(self.saga, recovery.handler) if isinstance(recovery.handler, str) else recovery.handler
        return _given(handler, self.failures[step])

    def given(self, step: str, phase: Phase, values: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Return what one call of a step is given, for itself, and its values as they are before.

        Raises:
            ContextValueError: What is recorded does not fit the type that the class declares.
        """
        if self.types is None:
            return copy_value(values), values
        return self.types.given_to(step, phase, values)

    def timeout(self, step: str, phase: Phase) -> float:
        """Return how many seconds a call may take."""
        declared = self.steps[step]
        if phase == "redo" and declared.recovery is not None:
            return declared.recovery.timeout
        return declared.timeout if phase == "do" else declared.compensation_timeout

    def retries(self, step: str, phase: Phase) -> int:
        """Return how often a call that raises is tried again at once."""
        return self.steps[step].max_retries if self.retries_steps and phase != "redo" else 0


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
        types = context_types(plain, lambda: declaration.graph)
        told = listeners if own is None else own
        return Prepared(saga, declaration.graph, declaration.steps, told, _retries(plain), types)
    saga = made_by(factory, saga_class)
    graph, steps = read(saga, lambda function: function)
    types = context_types(type(saga), lambda: graph)
    return Prepared(saga, graph, steps, _listeners(saga, listeners), _retries(saga), types)


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
    graph, steps = read(saga, lambda function: names.get(function, function))
    return _Declaration(graph, steps, tuple(saga._steps), dict(saga._forward_recovery_handlers))


def _has_step(saga: Any, name: str) -> bool:
    value = getattr(saga, name)
    return any(hasattr(value, mark) for mark in _MARKS)


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


def _given(handler: Any, error: Exception) -> Function:
    if inspect.iscoroutinefunction(handler):

        async def call(context: dict[str, Any]) -> Any:
            return await handler(context, error)

        return call
    return lambda context: handler(context, error)


def _listeners(saga: Any, configured: Sequence[Any]) -> Sequence[Any]:
    from sagaz import get_config

    own: Sequence[Any] = saga._instance_listeners
    return configured if own is get_config().listeners else own


def _retries(saga: Any) -> bool:
    return bool(getattr(saga, "retry_steps", False))
