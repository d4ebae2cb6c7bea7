"""`health_router`: the routes that probes ask."""

# Without `from __future__ import annotations`: see `fastapi_sagaz.dependencies`.

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from fastapi_sagaz.health import liveness, readiness
from fastapi_sagaz.http.documentation import PROBE
from fastapi_sagaz.http.messages import native_response
from sagaz_durable.http.reading import probe_answer

__all__ = ["health_router"]


def health_router(*, prefix: str = "/health", **options: Any) -> APIRouter:
    """Return a router with ``/health/readiness`` and ``/health/liveness``: 200 or 503, for whoever asks.

    Why something is not well is told by the functions `readiness` and `liveness`, and by ``check``.

    Args:
        prefix: Of both paths.
        options: Of ``APIRouter``.
    """
    router = APIRouter(prefix=prefix, **{"tags": ["health"], **options})
    for name, probe in (("readiness", _ready), ("liveness", _live)):
        names: dict[str, Any] = {"name": f"sagaz_{name}", "operation_id": f"sagaz_{name}", "summary": name.capitalize()}
        router.add_api_route(f"/{name}", probe, methods=["GET"], **names, **PROBE)
    return router


async def _ready(request: Request) -> Response:
    """Tell whether sagas can be started here now."""
    return native_response(probe_answer(await readiness(request)))


def _live(request: Request) -> Response:
    """Tell whether this process does its work; if not, restarting it helps."""
    return native_response(probe_answer(liveness(request)))
