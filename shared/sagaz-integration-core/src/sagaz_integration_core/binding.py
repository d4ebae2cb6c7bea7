"""Bound sagas: real instances of the user's class whose ``run`` is a durable run of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from sagaz_integration_core import NOTHING, starts
from sagaz_integration_core.errors import RuntimeNotOpen
from sagaz_integration_core.runs import SagaRun

if TYPE_CHECKING:
    from sagaz import Saga

    from sagaz_integration_core.lifecycle import SagazRuntime

    S = TypeVar("S", bound=Saga)

__all__ = ["Binding", "bind", "binding_of"]

_ATTRIBUTE = "_sagaz_binding"


class Binding:
    """Ties an instance to the runtime that executes its runs; calling it is the instance's ``run``."""

    def __init__(self, runtime: SagazRuntime, saga_class: type[Saga]) -> None:
        self.runtime = runtime
        self.saga_class = saga_class

    async def __call__(
        self,
        initial_context: Mapping[str, Any] = NOTHING,
        saga_id: str | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> SagaRun:
        """Execute the saga durably, on a fresh instance, and return its result; see `starts.run_inline`.

        The caller's event loop need not be the runtime's.
        """
        return await self.runtime.reach(
            lambda: starts.run_inline(
                self.runtime, self.saga_class, initial_context, saga_id=saga_id, idempotency_key=idempotency_key
            )
        )


def bind(runtime: SagazRuntime, saga_class: type[S]) -> S:
    """Return an instance of the class whose ``run`` is durable; the class is registered by that."""
    runtime.check_open()
    registration = runtime.registry.add(saga_class)
    saga: Any = registration.create()
    binding = Binding(runtime, saga_class)
    saga.run = binding
    setattr(saga, _ATTRIBUTE, binding)
    return saga  # type: ignore[no-any-return]


def binding_of(saga: object, how: str) -> Binding:
    """Return what an instance is bound to.

    Args:
        how: How the framework's users get a bound one, for the error.

    Raises:
        RuntimeNotOpen: It was made by calling the class.
    """
    binding = getattr(saga, _ATTRIBUTE, None)
    if not isinstance(binding, Binding):
        raise RuntimeNotOpen(
            f"This {type(saga).__name__} is not bound to a runtime, so its run would not be durable. Get it from {how}."
        )
    return binding
