"""Several applications in one process, mounted ones, and requests that find no runtime."""

from contextlib import asynccontextmanager
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, Request
from sagaz import SagaConfig
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from fastapi_sagaz import RuntimeNotOpen, SagaFactory, SagaStarter, SettingsError, create_lifespan, get_config
from fastapi_sagaz._app_state import open_app

saga_factory = SagaFactory()


def application(order_saga, **options):
    app = FastAPI(**options)

    @app.post("/")
    async def post(saga: Annotated[order_saga, Depends(saga_factory(order_saga))]):
        return (await saga.run({"order_id": 1})).saga_id

    @app.get("/{saga_id}")
    async def get(saga_id: str, config: Annotated[SagaConfig, Depends(get_config)]):
        return await config.storage.load_saga_state(saga_id)

    return app


def with_sub_application(sub, *, lifespan):
    app = FastAPI(lifespan=lifespan)
    app.mount("/sub", sub)
    return app


async def test_two_applications_share_nothing(serve, order_saga):
    first, second = (application(order_saga, lifespan=create_lifespan()) for _ in range(2))
    async with serve(first) as one, serve(second) as two:
        saga_id = (await one.post("/")).json()
        assert (await one.get(f"/{saga_id}")).json()["status"] == "completed"
        assert (await two.get(f"/{saga_id}")).json() is None


async def test_one_lifespan_object_serves_two_applications(serve, order_saga):
    lifespan = create_lifespan()
    first, second = (application(order_saga, lifespan=lifespan) for _ in range(2))
    async with serve(first) as one, serve(second) as two:
        saga_id = (await one.post("/")).json()
        assert (await two.get(f"/{saga_id}")).json() is None


async def test_without_the_lifespan_the_error_shows_the_two_lines(serve, order_saga):
    async with serve(application(order_saga)) as client:
        with pytest.raises(RuntimeNotOpen) as caught:
            await client.post("/")
    lines = "    from fastapi_sagaz import create_lifespan\n    app = FastAPI(lifespan=create_lifespan())"
    assert lines in str(caught.value)


async def test_the_starter_and_the_config_say_so_too(serve):
    app = FastAPI()

    @app.get("/config")
    async def config(config: Annotated[SagaConfig, Depends(get_config)]):
        return None

    @app.get("/start")
    async def start(start: Annotated[SagaStarter, Depends()]):
        return None

    async with serve(app) as client:
        for path in ("/config", "/start"):
            with pytest.raises(RuntimeNotOpen, match="create_lifespan"):
                await client.get(path)


async def test_a_mounted_application_does_not_use_its_parents_runtime(serve, order_saga):
    parent = with_sub_application(application(order_saga, lifespan=create_lifespan()), lifespan=create_lifespan())
    async with serve(parent) as client:
        with pytest.raises(RuntimeNotOpen) as caught:
            await client.post("/sub/")
    lines = "    async with sub_app.router.lifespan_context(sub_app):\n        yield"
    assert lines in str(caught.value)


async def test_a_mounted_application_whose_lifespan_is_entered_has_a_runtime_of_its_own(serve, order_saga):
    sub_app = application(order_saga, lifespan=create_lifespan())

    @asynccontextmanager
    async def lifespan(app):
        async with sub_app.router.lifespan_context(sub_app):
            yield

    parent = with_sub_application(sub_app, lifespan=create_lifespan(lifespan=lifespan))
    async with serve(parent) as client:
        saga_id = (await client.post("/sub/")).json()
        assert (await client.get(f"/sub/{saga_id}")).json()["status"] == "completed"
        assert open_app(parent).runtime is not open_app(sub_app).runtime
        assert await open_app(parent).runtime.store.load(saga_id) is None


async def test_an_application_that_borrows_another_ones_state_does_not_borrow_its_runtime(serve, order_saga):
    first = application(order_saga, lifespan=create_lifespan())
    second = application(order_saga)
    second.state = first.state
    async with serve(first), serve(second) as client:
        with pytest.raises(RuntimeNotOpen):
            await client.post("/")


async def test_a_plain_starlette_application_can_have_the_lifespan(serve, order_saga):
    async def status(request: Request):
        config = await get_config(request)
        return JSONResponse(await config.storage.get_saga_statistics())

    app = Starlette(routes=[Route("/", status)], lifespan=create_lifespan(sagas=[order_saga]))
    async with serve(app) as client:
        assert (await client.get("/")).json()["total_sagas"] == 0


async def test_a_saga_that_is_used_after_the_end_says_that_nothing_is_open(serve, order_saga):
    app = FastAPI(lifespan=create_lifespan())
    kept = []

    @app.get("/")
    async def get(saga: Annotated[order_saga, Depends(saga_factory(order_saga))]):
        kept.append(saga)

    async with serve(app) as client:
        await client.get("/")
    with pytest.raises(RuntimeNotOpen, match="not open"):
        await kept[0].run({"order_id": 1})


async def test_two_sagas_of_one_name_are_refused_at_start_up(serve, order_saga):
    other = type("OrderSaga", (order_saga,), {"__module__": "elsewhere"})
    app = FastAPI(lifespan=create_lifespan(sagas=[order_saga, other]))
    with pytest.raises(TypeError, match=r"Two sagas are named 'OrderSaga'.*elsewhere\.OrderSaga"):
        async with serve(app):
            pytest.fail("it started")
    assert not issubclass(SettingsError, TypeError)
