"""What the steps of a saga's instance are, as sagaz's decorators and ``add_step`` have declared them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sagaz_durable.effects import effect_of
from sagaz_durable.graph import Graph, StepNode, graph_of
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.errors import SagaDefinitionError

__all__ = ["Function", "Recovering", "Step", "read"]

Function = Callable[[dict[str, Any]], Any]
Hook = Callable[..., Any]


@record
class Recovering:
    """What ``@forward_recovery`` was given; the time in seconds.

    Attributes:
        handler: A function, or the name of the instance's attribute that is one.
        max_retries: How often it may have the step called again.
    """

    handler: str | Function
    timeout: float
    max_retries: int


@record
class Step:
    """What one step of an instance is; times in seconds.

    Attributes:
        forward, compensation: A function, or the name of the instance's attribute that is one.
        manual: Whether a person compensates it, and not the compensation by itself.
        on_enter, on_success, on_failure, on_exit, on_compensate: sagaz's hooks.
        recovery: What decides about its failure behind a pivot; None if nothing does.
    """

    name: str
    forward: str | Function
    compensation: str | Function | None
    timeout: float
    compensation_timeout: float
    max_retries: int
    manual: bool
    on_enter: Hook | None
    on_success: Hook | None
    on_failure: Hook | None
    on_exit: Hook | None
    on_compensate: Hook | None
    recovery: Recovering | None

    @property
    def hooked(self) -> bool:
        """Whether it has a hook that is told of the step itself."""
        before, after = self.on_enter is not None, self.on_exit is not None
        return before or after or self.on_success is not None or self.on_failure is not None


def read(saga: Any, named: Callable[[Any], Any]) -> tuple[Graph, dict[str, Step]]:
    """Return the graph of an instance's steps, and the steps by name.

    Args:
        named: Gives the name of the attribute that a function is, or the function.

    Raises:
        SagaDefinitionError: The instance has no steps, or they contradict each other.
    """
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
            recovered=step.step_id in saga._forward_recovery_handlers,
            manual=_is_manual(step),
        )
        for step in definitions
    )
    graph = graph_of(type(saga).__name__, declared)
    handlers = saga._forward_recovery_handlers
    return graph, {step.step_id: _step(step, named, handlers.get(step.step_id)) for step in definitions}


def _step(definition: Any, named: Callable[[Any], Any], handler: Any) -> Step:
    return Step(
        name=definition.step_id,
        forward=named(definition.forward_fn),
        compensation=named(definition.compensation_fn),
        timeout=definition.timeout_seconds,
        compensation_timeout=definition.compensation_timeout_seconds,
        max_retries=definition.max_retries,
        manual=_is_manual(definition),
        on_enter=definition.on_enter,
        on_success=definition.on_success,
        on_failure=definition.on_failure,
        on_exit=definition.on_exit,
        on_compensate=definition.on_compensate,
        recovery=None if handler is None else _recovering(handler, named),
    )


def _is_manual(definition: Any) -> bool:
    return definition.compensation_fn is not None and bool(definition.compensation_type.name == "MANUAL")


def _recovering(handler: Any, named: Callable[[Any], Any]) -> Recovering:
    meta = handler._saga_forward_recovery_meta
    return Recovering(named(handler), meta.timeout_seconds, meta.max_retries)
