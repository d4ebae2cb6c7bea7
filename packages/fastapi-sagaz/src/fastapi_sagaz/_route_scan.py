"""Finding the sagas that an application's routes depend on, so that workers know them before a request comes.

FastAPI copied the routes of included routers up to 0.136, and keeps each router as one route since. Nothing public
tells what is in that route in every release; what is asked for here is there in all of them, and a test tries each.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_dependant
from starlette.applications import Starlette
from starlette.routing import Host, Mount, Route, Router, WebSocketRoute

from fastapi_sagaz._wording import WORDING
from fastapi_sagaz.dependencies import SagaDependency
from fastapi_sagaz.http.idempotency import Idempotent
from sagaz_integration_core.errors import UsageError

if TYPE_CHECKING:
    from sagaz import Saga

__all__ = ["sagas_in_routes", "sources_in_routes"]

logger = logging.getLogger(__name__)


def sagas_in_routes(routes: Iterable[Any]) -> Iterator[type[Saga]]:
    """Yield the sagas of every `SagaFactory` and `Idempotent`, included routers' too; mounted applications have theirs.

    Raises:
        UsageError: A dependency is a saga's class itself.
    """
    for route in routes:
        if isinstance(dependant := getattr(route, "dependant", None), Dependant):
            yield from _sagas_of(dependant)
        elif isinstance(router := getattr(route, "original_router", None), Router):
            yield from sagas_in_routes(router.routes)
            yield from _sagas_of_inclusion(route)
        elif isinstance(route, Mount | Host):
            yield from sagas_in_routes(_mounted(route.app))
        elif not isinstance(route, Route | WebSocketRoute):
            _warn(route)


def sources_in_routes(routes: Iterable[Any]) -> set[str]:
    """Return the names of the sources of every `webhook_router`, where one is included or mounted."""
    names: set[str] = set()
    for route in routes:
        if (sources := getattr(getattr(route, "endpoint", None), "webhook_sources", None)) is not None:
            names |= sources.keys()
        elif isinstance(router := getattr(route, "original_router", None), Router):
            names |= sources_in_routes(router.routes)
        elif isinstance(route, Mount | Host):
            names |= sources_in_routes(_mounted(route.app))
    return names


def _sagas_of_inclusion(route: Any) -> Iterator[type[Saga]]:
    """Yield those of ``include_router(…, dependencies=[…])``, and of the routers and the application around."""
    needed = getattr(getattr(route, "include_context", None), "dependencies", None)
    if needed is None:
        _warn(route)
        return
    for depends in needed:
        if depends.dependency is not None:
            yield from _sagas_of(get_dependant(path="/", call=depends.dependency))


def _mounted(app: Any) -> Iterable[Any]:
    # Middleware of the mount's own is around it.
    while not isinstance(app, Router | Starlette) and hasattr(app, "app"):
        app = app.app
    return app.routes if isinstance(app, Router) else ()


def _sagas_of(dependant: Dependant) -> Iterator[type[Saga]]:
    if isinstance(dependant.call, SagaDependency):
        yield dependant.call.saga_class
    elif isinstance(dependant.call, Idempotent):
        if dependant.call.saga is not None:
            yield dependant.call.saga
    elif isinstance(dependant.call, type):
        _refuse_saga(dependant.call)
    for needed in dependant.dependencies:
        yield from _sagas_of(needed)


def _refuse_saga(dependency: type) -> None:
    """Refuse a saga whose ``run`` would look the same, and be lost with its process."""
    from sagaz import Saga

    if issubclass(dependency, Saga):
        name = dependency.__name__
        raise UsageError(
            f"A route depends on the class {name} itself, Depends({name}) or Annotated[{name}, Depends()], whose runs "
            f"are not durable. Expected saga: Annotated[{name}, Depends(saga_factory({name}))], with saga_factory = "
            "SagaFactory()."
        )


def _warn(route: Any) -> None:
    logger.warning(
        "The kind of the route %r is not known here, so that sagas that it depends on cannot be found: a worker "
        "knows them only after a request, and until then resumes none of their runs. Name them in %s.",
        type(route).__qualname__,
        WORDING.sagas,
    )
