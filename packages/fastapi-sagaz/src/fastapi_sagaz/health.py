"""What an application's own health route asks: whether sagas can be started here now, and whether work is done."""

# Without `from __future__ import annotations`: FastAPI evaluates these signatures when they are dependencies.

from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection

from fastapi_sagaz._app_state import runtime_of
from sagaz_integration_core.errors import RuntimeNotOpen

if TYPE_CHECKING:
    from sagaz_durable.operations.health import ProbeResult

__all__ = ["liveness", "readiness"]


async def readiness(connection: HTTPConnection) -> "ProbeResult":
    """Tell whether sagas can be started now: the store answers within 2 s, and lacks neither tables nor rights.

    A dependency, or called with the request; the result is true when all is well, else its ``problem`` says what to do.
    It raises nothing.
    """
    from sagaz_durable.operations import health

    try:
        runtime = runtime_of(connection)
    except RuntimeNotOpen as error:
        return health.ProbeResult(False, str(error))
    return await health.readiness(runtime)


def liveness(connection: HTTPConnection) -> "ProbeResult":
    """Tell whether this process does its work; if not, restarting it helps. An unreachable store is no reason.

    A dependency, or called with the request; as a ``def`` dependency it answers while the event loop stands still for
    as long as the server does.
    """
    from sagaz_durable.operations import health

    try:
        runtime = runtime_of(connection)
    except RuntimeNotOpen as error:
        return health.ProbeResult(False, str(error))
    return health.liveness(runtime)
