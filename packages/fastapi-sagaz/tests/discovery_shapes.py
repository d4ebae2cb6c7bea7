"""Applications whose sagas have to be found, in every form in which routes can be put together.

As a program it prints the forms in which they were not found; see tests-matrix/minors.
"""

# ruff: noqa: B008, T201 - defaults are FastAPI's own form; a program that prints

from typing import Annotated

import fastapi
from fastapi import APIRouter, Depends, FastAPI, Security
from starlette.middleware import Middleware
from starlette.routing import Host, Mount

from fastapi_sagaz import SagaFactory
from fastapi_sagaz._route_scan import sagas_in_routes


class Found:
    """Stands for a saga class, which need not be loaded for this."""


needed = SagaFactory()(Found)


def through(saga: Annotated[object, Depends(needed)]):
    return saga


class PlainMiddleware:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        await self.app(scope, receive, send)


def router(**options):
    made = APIRouter(**options)

    @made.get("/saga")
    async def saga(saga=Depends(needed)): ...

    return made


def sockets():
    made = APIRouter()

    @made.websocket("/socket")
    async def socket(saga=Depends(needed)): ...

    return made


def plain():
    made = APIRouter()

    @made.get("/plain")
    async def plain(): ...

    return made


def holding(*routers, prefix="/in", **options):
    app = FastAPI(**options)
    for made in routers:
        app.include_router(made, prefix=prefix)
    return app


def nested(inner):
    middle, outer = APIRouter(), APIRouter(prefix="/outer")
    middle.include_router(inner, prefix="/middle")
    outer.include_router(middle)
    return outer


def routes_of_the_application():
    app = FastAPI()
    app.add_api_route("/saga", lambda saga=Depends(needed): None)
    return app


def included_with_dependencies(depends):
    app = FastAPI()
    app.include_router(plain(), prefix="/in", dependencies=[depends])
    return app


def with_dependencies():
    made = APIRouter(dependencies=[Depends(through)])
    made.add_api_route("/plain", lambda: None)
    return made


def added_after_the_inclusion():
    late = APIRouter()
    app = holding(late)
    late.add_api_route("/late", lambda saga=Depends(needed): None)
    return app


def mounted(**options):
    return FastAPI(routes=[Mount("/mounted", app=nested(router()), **options)])


def in_an_included_router(route):
    around = APIRouter(routes=[route])
    return holding(around)


SHAPES = {
    "a route of the application": lambda: routes_of_the_application(),
    "an included router": lambda: holding(router()),
    "an included router without a prefix": lambda: holding(router(prefix="/own"), prefix=""),
    "routers in routers": lambda: holding(nested(router())),
    "a WebSocket route": lambda: holding(sockets()),
    "a WebSocket route of routers in routers": lambda: holding(nested(sockets())),
    "a dependency of a dependency": lambda: included_with_dependencies(Depends(through)),
    "a router's own dependencies": lambda: holding(with_dependencies()),
    "dependencies of the inclusion": lambda: included_with_dependencies(Depends(needed)),
    "a security dependency": lambda: included_with_dependencies(Security(through)),
    "dependencies of the application": lambda: holding(plain(), dependencies=[Depends(needed)]),
    "a mounted router": lambda: mounted(),
    "a mounted router behind middleware": lambda: mounted(middleware=[Middleware(PlainMiddleware)]),
    "a host's router": lambda: FastAPI(routes=[Host("shop.example", app=router())]),
}

if tuple(map(int, fastapi.__version__.split(".")[:2])) >= (0, 137):
    # Before, FastAPI itself leaves these out.
    SHAPES |= {
        "a route that is added later": lambda: added_after_the_inclusion(),
        "a mount in an included router": lambda: in_an_included_router(Mount("/mounted", app=router())),
    }


def found_in(app):
    """Return the names of the sagas that an application's routes depend on."""
    return {saga.__name__ for saga in sagas_in_routes(app.routes)}


if __name__ == "__main__":
    print(*(name for name, make in SHAPES.items() if found_in(make()) != {"Found"}), sep="\n")
