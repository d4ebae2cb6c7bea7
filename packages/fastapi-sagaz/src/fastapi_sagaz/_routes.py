"""Finding the sagas that an application's routes depend on, so that workers know them before a request comes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import fastapi.routing
from fastapi.dependencies.models import Dependant
from starlette.routing import Mount, Router

from fastapi_sagaz.dependencies import SagaDependency

if TYPE_CHECKING:
    from sagaz import Saga

__all__ = ["sagas_in_routes"]


def sagas_in_routes(routes: Iterable[Any]) -> Iterator[type[Saga]]:
    """Yield the class of every `SagaFactory` dependency, included routers' too; mounted applications have their own."""
    for route in _flat(routes):
        dependant = getattr(route, "dependant", None)
        if dependant is not None:
            yield from _sagas_of(dependant)
        elif isinstance(route, Mount) and isinstance(route.app, Router):
            yield from sagas_in_routes(route.routes)


def _flat(routes: Iterable[Any]) -> Iterable[Any]:
    # Newer releases of FastAPI keep included routers as one route each, and offer this to look into them.
    look_into = getattr(fastapi.routing, "iter_route_contexts", None)
    return routes if look_into is None else look_into(list(routes))


def _sagas_of(dependant: Dependant) -> Iterator[type[Saga]]:
    if isinstance(dependant.call, SagaDependency):
        yield dependant.call.saga_class
    for needed in dependant.dependencies:
        yield from _sagas_of(needed)
