"""Sagas of routes are found at start-up, however the routes were put together; what cannot be looked into is told."""

import pytest
from discovery_shapes import SHAPES, found_in, router
from fastapi import FastAPI
from sagaz import Saga, action
from starlette.routing import BaseRoute, Mount

from fastapi_sagaz import create_lifespan
from fastapi_sagaz._app_state import open_app


@pytest.mark.parametrize("shape", SHAPES)
def test_a_saga_is_found_in(shape, caplog):
    assert found_in(SHAPES[shape]()) == {"Found"}
    assert caplog.text == ""


def test_a_mounted_application_has_its_own_sagas():
    inner = FastAPI()
    inner.include_router(router())
    assert found_in(FastAPI(routes=[Mount("/inner", app=inner)])) == set()


def test_a_route_of_an_unknown_kind_is_told_with_the_way_out(caplog):
    class OwnRoute(BaseRoute):
        async def handle(self, scope, receive, send): ...

    assert found_in(FastAPI(routes=[OwnRoute()])) == set()
    assert "OwnRoute" in caplog.text
    assert "create_lifespan(sagas=[…])" in caplog.text


@pytest.mark.parametrize("shape", ["an included router", "a WebSocket route of routers in routers"])
async def test_the_worker_of_an_application_knows_the_sagas_of_included_routers(shape, serve, monkeypatch):
    class RoutedSaga(Saga):
        @action("a")
        async def a(self, ctx): ...

    monkeypatch.setattr("discovery_shapes.needed", __import__("fastapi_sagaz").SagaFactory()(RoutedSaga))
    app = SHAPES[shape]()
    app.router.lifespan_context = create_lifespan()
    async with serve(app):
        assert [entry.name for entry in open_app(app).runtime.registry] == ["RoutedSaga"]
