"""create_lifespan on the application and on included routers: one runtime, opened once."""

# ruff: noqa: B008 - defaults are FastAPI's own form

import asyncio
from contextlib import asynccontextmanager

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request
from sagaz import Saga, action

from fastapi_sagaz import (
    SagaFactory,
    SagaStarter,
    SettingsError,
    create_lifespan,
    current_step,
)
from fastapi_sagaz._app_state import open_app
from sagaz_durable.sagas import Sagas


def runtime_of(app):
    return open_app(app).runtime


class StateSaga(Saga):
    @action("look")
    async def look(self, ctx):
        step = current_step()
        return {"pool": step.state.pool, "title": step.app.title}


def user_lifespan(events, state):
    @asynccontextmanager
    async def lifespan(app):
        events.append("in")
        yield state
        events.append("out")

    return lifespan


async def test_on_the_application_and_on_an_included_router_it_opens_once(serve, order_saga, storage_url):
    router = APIRouter(
        lifespan=create_lifespan(sagas=[order_saga], lifespan=user_lifespan([], {"inner": 1, "both": 2}))
    )

    @router.post("/")
    async def post(request: Request, saga: order_saga = Depends(SagaFactory()(order_saga))):
        run = await saga.run({"order_id": 1})
        return [run.status.value, request.state.inner, request.state.both]

    app = FastAPI(
        lifespan=create_lifespan({"STORAGE_URL": storage_url}, lifespan=user_lifespan([], {"outer": 1, "both": 1}))
    )
    app.include_router(router)
    async with serve(app) as client:
        runtime = runtime_of(app)
        assert [entry.name for entry in runtime.registry] == ["OrderSaga"]
        assert (await client.post("/")).json() == ["completed", 1, 1]
        state = runtime.app_state
        assert (state.outer, state.inner, state.both) == (1, 1, 1)
    assert not runtime.is_open


async def test_on_an_included_router_alone_it_serves_the_application(serve, order_saga):
    router = APIRouter(lifespan=create_lifespan())
    app = FastAPI()
    app.include_router(router)

    @app.post("/")
    async def post(saga: order_saga = Depends(SagaFactory()(order_saga))):
        return (await saga.run({"order_id": 1})).status.value

    async with serve(app) as client:
        assert (await client.post("/")).json() == "completed"


async def test_an_embedded_worker_waits_for_the_included_routers_resources(serve, storage_url, ended):
    config = {"STORAGE_URL": storage_url}
    first = FastAPI(lifespan=create_lifespan(config))
    async with serve(first):
        saga_id = await Sagas(runtime_of(first)).start(StateSaga, {})

    @asynccontextmanager
    async def slow(app):
        await asyncio.sleep(0.3)
        yield {"pool": "of the router"}

    app = FastAPI(lifespan=create_lifespan(config, worker=True))
    app.include_router(APIRouter(lifespan=create_lifespan(lifespan=slow, sagas=[StateSaga])))
    async with serve(app):
        record = await ended(runtime_of(app), saga_id)
        assert record.status == "completed", record.error


async def test_runs_end_before_an_included_routers_resources_are_taken_down(serve, gated_saga, gate, ledger):
    @asynccontextmanager
    async def lifespan(app):
        yield
        ledger.append("resources are gone")

    router = APIRouter(lifespan=create_lifespan(lifespan=lifespan))
    app = FastAPI(lifespan=create_lifespan())

    @router.post("/")
    async def post(start: SagaStarter = Depends()):
        return await start(gated_saga, {})

    app.include_router(router)
    async with serve(app) as client:
        await client.post("/")
        await gate.entered.wait()
        asyncio.get_running_loop().call_later(0.1, gate.open.set)
    assert ledger == ["wait", "done", "resources are gone"]


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        (lambda url: create_lifespan({"STORAGE_URL": "memory://"}), "Give config to the application's only"),
        (lambda url: create_lifespan(worker=True), "Give worker=True to the application's"),
    ],
)
async def test_contradictions_between_application_and_router_are_refused(serve, storage_url, inner, message):
    app = FastAPI(lifespan=create_lifespan({"STORAGE_URL": storage_url}))
    app.include_router(APIRouter(lifespan=inner(storage_url)))
    with pytest.raises(SettingsError, match=message):
        async with serve(app):
            pytest.fail("it started")
    assert open_app(app) is None


async def test_the_same_config_twice_is_no_contradiction(serve, storage_url):
    app = FastAPI(lifespan=create_lifespan({"STORAGE_URL": storage_url}, worker=True))
    app.include_router(APIRouter(lifespan=create_lifespan({"STORAGE_URL": storage_url}, worker=True)))
    async with serve(app):
        assert runtime_of(app).is_open


async def test_a_second_event_loop_is_refused(serve):
    app = FastAPI(lifespan=create_lifespan())

    async def again():
        async with create_lifespan()(app):
            pytest.fail("it joined")

    async with serve(app):
        with pytest.raises(SettingsError, match="another event loop"):
            await asyncio.to_thread(asyncio.run, again())
