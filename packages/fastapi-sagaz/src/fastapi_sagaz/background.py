"""Running a saga after the response: recorded before, executed after, and owned by the runtime in between."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from fastapi_sagaz._background_runs import Parked, parked_of
from sagaz_durable import NOTHING, ContextLike

if TYPE_CHECKING:
    from sagaz import Saga
    from starlette.background import BackgroundTasks

__all__ = ["run_saga_background"]


async def run_saga_background(
    background_tasks: BackgroundTasks,
    saga: Saga,
    context: ContextLike = NOTHING,
    *,
    idempotency_key: str | None = None,
    deadline: datetime | timedelta | None = None,
    owner: str | None = None,
) -> str:
    """Record a run that this process executes once the response is sent, and return its saga_id.

    When this returns the run is durable. It is executed even if the endpoint raises afterwards or the client
    disconnects, and by a worker if this process dies. If somebody waits for its end before, as `SagazRouter.accepted`
    does for a client with ``Prefer: wait=…``, it begins then. All else is as `Sagas.run_background` has it, which
    begins at once.

    Args:
        background_tasks: FastAPI's; it delays the execution and does not wait for its end.
        saga: A bound one, from the dependency ``saga_factory(OrderSaga)``.

    Raises:
        RuntimeNotOpen: The saga is not bound, or the runtime is shutting down.
    """
    # Imported when first used, and by then already loaded: `import fastapi_sagaz` stays light.
    from sagaz_durable.runtime.bound_saga import binding_of

    binding = binding_of(saga, f"the dependency: saga: {type(saga).__name__} = Depends({_factory(saga)})")
    saga_id, execution = await binding.launch_in_background(context, idempotency_key, deadline, owner)
    if execution is not None:
        parked = parked_of(saga)
        parked.add(binding.runtime, execution)
        background_tasks.add_task(_execute, parked)
    return saga_id


async def _execute(parked: Parked) -> None:
    # A coroutine function: Starlette would call a plain one in a thread, away from the event loop.
    parked.execute_all()


def _factory(saga: object) -> str:
    return f"saga_factory({type(saga).__name__})"
