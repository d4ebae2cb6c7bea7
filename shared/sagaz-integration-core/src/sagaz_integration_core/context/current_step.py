"""What a step can know of the run that it belongs to."""

from __future__ import annotations

import weakref
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sagaz_integration_core.contract.records import Phase

__all__ = ["CurrentStep", "current_step", "followed"]


@dataclass(frozen=True, slots=True)
class CurrentStep:
    """The step or compensation that is being called.

    Attributes:
        attempt: How often the run was claimed, from 1; it grows when a process died or gave the run back.
        retry: How often this call was tried again within the attempt, from 0.
        idempotency_key: ``saga_id:step``, for a compensation ``saga_id:step:undo``; the same at every attempt and
            retry, so that a payment provider that is given it does the work once.
        app_given: The application, or a weak reference to it: contexts are kept by timers long after their step.
        state: What the application's lifespan yielded (FastAPI), by attribute; elsewhere None.
    """

    saga_id: str
    saga_name: str
    step: str
    phase: Phase
    attempt: int
    retry: int
    correlation_id: str | None
    app_given: Any = field(default=None, repr=False)
    state: Any = None

    @property
    def app(self) -> Any:
        """The application object, in web processes and workers alike."""
        return followed(self.app_given)

    @property
    def idempotency_key(self) -> str:
        """The key to hand to whatever the step calls."""
        key = f"{self.saga_id}:{self.step}"
        return key if self.phase == "do" else f"{key}:undo"


current: ContextVar[CurrentStep] = ContextVar("sagaz_current_step")


def followed(given: Any) -> Any:
    """Return what a weak reference refers to, None if that has gone; anything else as it is."""
    return given() if isinstance(given, weakref.ref) else given


def current_step() -> CurrentStep:
    """Return the step that is being called, sync or async.

    Raises:
        LookupError: Nothing here runs inside a step of a durable run.
    """
    try:
        return current.get()
    except LookupError:
        raise LookupError(
            "current_step() was called outside a step. It works inside @action and @compensate methods of a saga "
            "that the runtime executes (a bound saga's run, a background run, a worker), not in sagaz's own Saga.run."
        ) from None
