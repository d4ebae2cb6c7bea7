"""Bound sagas: real instances of the user's class whose ``run`` is a durable run of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from sagaz_durable import NOTHING, ContextLike
from sagaz_durable.engine.result import SagaRun
from sagaz_durable.runtime.inline import InlineRuns, RunOptions
from sagaz_durable.runtime.launching import launch_in_background
from sagaz_integration_core.errors import RuntimeNotOpen, UsageError

if TYPE_CHECKING:
    from sagaz import Saga

    from sagaz_durable.engine.execution import RunExecution
    from sagaz_durable.runtime.runtime import SagazRuntime

    S = TypeVar("S", bound=Saga)

__all__ = ["Binding", "bind", "binding_of", "refuse_without_loop"]

_ATTRIBUTE = "_sagaz_binding"


class Binding:
    """Ties an instance to the runtime that executes its runs; calling it is the instance's ``run``.

    Args:
        instead: What synchronous code does, which cannot await ``run``, for the error.
    """

    def __init__(self, runtime: SagazRuntime, saga_class: type[Saga], instead: str) -> None:
        self.runtime = runtime
        self.saga_class = saga_class
        self._instead = instead

    def __call__(
        self,
        initial_context: ContextLike = NOTHING,
        saga_id: str | None = None,
        *,
        idempotency_key: str | None = None,
        deadline: datetime | timedelta | None = None,
        owner: str | None = None,
        wait: float = 0.0,
    ) -> Coroutine[Any, Any, SagaRun]:
        """Execute the saga durably, on a fresh instance, and return its result; to be awaited.

        Raises:
            UsageError: No event loop is running, so that nobody can await it.
        """
        refuse_without_loop(self._instead)
        return self.execute(
            initial_context, saga_id, idempotency_key=idempotency_key, deadline=deadline, owner=owner, wait=wait
        )

    async def execute(
        self, initial_context: ContextLike, saga_id: str | None, **options: Unpack[RunOptions]
    ) -> SagaRun:
        """Do so, wherever the coroutine is made; see `Sagas.run`.

        The caller's event loop need not be the runtime's.
        """
        return await InlineRuns(self.runtime).run(self.saga_class, initial_context, saga_id, **options)

    async def launch_in_background(
        self,
        initial_context: ContextLike,
        idempotency_key: str | None,
        deadline: datetime | timedelta | None,
        owner: str | None,
    ) -> tuple[str, RunExecution | None]:
        """Record a run that is executed later; see `launching.launch_in_background`."""
        return await self.runtime.reach(
            lambda: launch_in_background(
                self.runtime,
                self.saga_class,
                initial_context,
                idempotency_key=idempotency_key,
                deadline=deadline,
                owner=owner,
            )
        )


def refuse_without_loop(instead: str) -> None:
    """Refuse a ``run`` that nobody can await: it would be a coroutine that does nothing.

    Raises:
        UsageError: No event loop is running in this thread.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise UsageError(
            f"saga.run(…) was called in synchronous code; it has to be awaited, and nothing was run. {instead}."
        ) from None


def bind(runtime: SagazRuntime, saga_class: type[S], *, instead: str = "Use `await saga.run(…)`") -> S:
    """Return an instance of the class whose ``run`` is durable; the class is registered by that.

    Args:
        instead: What synchronous code does; see `Binding`.
    """
    runtime.check_open()
    registration = runtime.registry.add(saga_class)
    saga: Any = registration.create()
    binding = Binding(runtime, saga_class, instead)
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
