"""One run of one saga instance on sagaz's own engine, with every step and compensation wrapped."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sagaz_integration_core._upstream.definitions import check_steps
from sagaz_integration_core.errors import SagaDefinitionError
from sagaz_integration_core.records import Phase

__all__ = ["Engine", "Step"]

Call = Callable[[dict[str, Any]], Awaitable[dict[str, Any] | None]]


@dataclass(frozen=True, slots=True)
class Step:
    """A step as its instance declares it; times in seconds."""

    name: str
    forward: Callable[[dict[str, Any]], Any]
    compensation: Callable[[dict[str, Any]], Any] | None
    timeout: float
    compensation_timeout: float
    max_retries: int

    def call(self, phase: Phase) -> tuple[Callable[[dict[str, Any]], Any], float]:
        """Return what is to be called in this phase, and its time limit."""
        if phase == "do":
            return self.forward, self.timeout
        if self.compensation is None:
            raise LookupError(f"Step {self.name!r} has no compensation.")
        return self.compensation, self.compensation_timeout


class Engine:
    """Drives a fresh instance once.

    Args:
        saga: An instance that has not run yet.
        listeners: What takes the place of sagaz's globally configured listeners; an instance or a class that
            brings its own keeps them.

    Raises:
        SagaDefinitionError: The instance has no steps, or ``add_step`` gave it contradictory ones.
    """

    def __init__(self, saga: Any, listeners: Sequence[Any]) -> None:
        self._saga = saga
        if not saga._steps:
            raise SagaDefinitionError(
                f"{type(saga).__name__} has no steps. Decorate its async or plain methods with @action('name')."
            )
        declared = tuple((step.step_id, tuple(step.depends_on)) for step in saga._steps)
        self._closure = _closure(type(saga).__name__, declared)
        self._take_over(listeners)
        self.steps = {step.step_id: _read(step) for step in saga._steps}

    def _take_over(self, listeners: Sequence[Any]) -> None:
        from sagaz import get_config

        saga = self._saga
        if saga._instance_listeners is get_config().listeners:
            saga._instance_listeners = list(listeners)
        else:
            saga._instance_listeners = list(saga._instance_listeners)
        # Without a storage sagaz saves nothing: its own saves swallow errors, and the journal keeps the truth.
        saga._config = None

    @property
    def name(self) -> str:
        """The saga's name, as sagaz resolves it."""
        return str(self._saga.saga_name or type(self._saga).__name__)

    @property
    def context(self) -> dict[str, Any]:
        """The live context, sagaz's bookkeeping keys included."""
        context: dict[str, Any] = self._saga._context
        return context

    @property
    def retries_steps(self) -> bool:
        """Whether the saga asks, with ``retry_steps = True``, that its steps' ``max_retries`` be honoured."""
        return bool(getattr(self._saga, "retry_steps", False))

    @property
    def passed_pivots(self) -> list[str]:
        """The completed steps behind which sagaz does not roll back."""
        return sorted(self._saga._completed_pivots)

    def wrap(self, forward: Callable[[Step], Call], compensation: Callable[[Step], Call]) -> None:
        """Replace every step's functions; the wrappers keep their own time limits."""
        for step in self._saga._steps:
            declared = self.steps[step.step_id]
            step.forward_fn = forward(declared)
            step.timeout_seconds = None
            # sagaz loses the order of undoing across a step without compensation; the closure restores it.
            step.depends_on = list(self._closure[step.step_id])
            if declared.compensation is not None:
                step.compensation_fn = compensation(declared)
                step.compensation_timeout_seconds = None

    def mark_executed(self, step: str, *, done: bool = False) -> None:
        """Have a step compensated although sagaz has not seen it end well; a pivot that is done stays one."""
        self._saga._compensation_graph.mark_step_executed(step)
        if done and self._saga._step_registry[step].pivot:
            self._saga._propagate_taint_from_pivot(step)

    def release(self) -> None:
        """Take the functions off the instance when it has run: they refer to whatever refers to it."""
        for step in self._saga._steps:
            step.forward_fn = step.compensation_fn = None
        self._saga._compensation_graph.clear()

    async def run(self, context: Mapping[str, Any], saga_id: str) -> None:
        """Run sagaz's engine to its end; raises what it raises."""
        await self._saga.run(dict(context), saga_id=saga_id)


def _read(step: Any) -> Step:
    return Step(
        name=step.step_id,
        forward=step.forward_fn,
        compensation=step.compensation_fn,
        timeout=step.timeout_seconds,
        compensation_timeout=step.compensation_timeout_seconds,
        max_retries=step.max_retries,
    )


# Almost all instances of a class declare the same, and each run has an instance of its own.
@lru_cache(maxsize=1000)
def _closure(owner: str, declared: tuple[tuple[str, tuple[str, ...]], ...]) -> Mapping[str, Sequence[str]]:
    """Return all that each step depends on, directly or not.

    Raises:
        SagaDefinitionError: Dependencies name no step, or go in a circle.
    """
    depends_on = dict(declared)
    check_steps(owner, depends_on)
    closure: dict[str, set[str]] = {}

    def reach(step: str) -> set[str]:
        if step not in closure:
            closure[step] = set(depends_on[step]).union(*(reach(needed) for needed in depends_on[step]))
        return closure[step]

    return {step: sorted(reach(step)) for step in depends_on}
