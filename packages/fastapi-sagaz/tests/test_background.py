"""Runs that go on after the response: durable before it, executed after it, whatever becomes of the request."""

import asyncio
from typing import Annotated

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import PlainTextResponse
from starlette.background import BackgroundTask

from fastapi_sagaz import (
    ContextValueError,
    RuntimeNotOpen,
    SagaFactory,
    create_lifespan,
    run_saga_background,
    sagaz_router,
)
from fastapi_sagaz._app_state import open_app

saga_factory = SagaFactory()


def runtime_of(app):
    return open_app(app).runtime


async def test_the_row_is_durable_and_leased_before_the_response_and_executed_after_it(
    serve, order_saga, storage_url, ledger, ended
):
    app = FastAPI(lifespan=create_lifespan({"STORAGE_URL": storage_url}))
    seen = []

    @app.post("/")
    async def post(tasks: BackgroundTasks, saga: Annotated[order_saga, Depends(saga_factory(order_saga))]):
        saga_id = await run_saga_background(tasks, saga, {"order_id": 1})
        record = await runtime_of(app).store.load(saga_id)
        await asyncio.sleep(0.1)
        seen.extend([record.status, record.lease_owner == runtime_of(app).owner, list(ledger)])
        return saga_id

    async with serve(app) as client:
        saga_id = (await client.post("/")).json()
        assert (await ended(runtime_of(app), saga_id)).status == "completed"
    assert seen == ["executing", True, []]
    assert ledger == ["reserve", "charge", "ship"]


async def test_the_response_does_not_wait_for_the_run(serve, gated_saga, gate, ended):
    app = FastAPI(lifespan=create_lifespan())
    after = []

    @app.post("/")
    async def post(tasks: BackgroundTasks, saga: Annotated[gated_saga, Depends(saga_factory(gated_saga))]):
        saga_id = await run_saga_background(tasks, saga, {})
        tasks.add_task(after.append, "next task")
        return saga_id

    async with serve(app) as client:
        saga_id = (await client.post("/")).json()
        assert after == ["next task"]
        await gate.entered.wait()
        gate.open.set()
        assert (await ended(runtime_of(app), saga_id)).status == "completed"


@pytest.mark.parametrize("error", [HTTPException(418), RuntimeError("bug")])
async def test_an_endpoint_that_raises_afterwards_does_not_lose_the_run(serve, order_saga, ledger, ended, error):
    app = FastAPI(lifespan=create_lifespan())
    ids = []

    @app.post("/")
    async def post(tasks: BackgroundTasks, saga: Annotated[order_saga, Depends(saga_factory(order_saga))]):
        ids.append(await run_saga_background(tasks, saga, {"order_id": 1}))
        raise error

    async with serve(app, raise_app_exceptions=False) as client:
        assert (await client.post("/")).status_code in (418, 500)
        assert (await ended(runtime_of(app), ids[0])).status == "completed"
    assert ledger == ["reserve", "charge", "ship"]


async def test_a_response_with_tasks_of_its_own_does_not_lose_the_run(serve, order_saga, ledger, ended):
    app = FastAPI(lifespan=create_lifespan())
    ids = []

    @app.post("/")
    async def post(tasks: BackgroundTasks, saga: Annotated[order_saga, Depends(saga_factory(order_saga))]):
        ids.append(await run_saga_background(tasks, saga, {"order_id": 1}))
        return PlainTextResponse("ok", background=BackgroundTask(lambda: None))

    async with serve(app) as client:
        await client.post("/")
        assert (await ended(runtime_of(app), ids[0])).status == "completed"
    assert ledger == ["reserve", "charge", "ship"]


@pytest.mark.parametrize(
    ("prefer", "status", "before"), [("wait=5", 200, ["reserve", "charge", "ship"]), ("wait=0", 202, []), ("", 202, [])]
)
async def test_a_run_begins_before_the_response_for_a_client_that_prefers_to_wait(
    serve, order_saga, ledger, ended, prefer, status, before
):
    app, routes, seen = FastAPI(lifespan=create_lifespan()), sagaz_router(), []
    app.include_router(routes)

    @app.post("/")
    async def post(
        request: Request, tasks: BackgroundTasks, saga: Annotated[order_saga, Depends(saga_factory(order_saga))]
    ):
        saga_id = await run_saga_background(tasks, saga, {"order_id": 1})
        response = await routes.accepted(request, order_saga, saga_id)
        seen.extend(ledger)
        return response

    async with serve(app) as client:
        answer = await client.post("/", headers={"Prefer": prefer})
        assert (answer.status_code, seen) == (status, before)
        assert (await ended(runtime_of(app), answer.json()["saga_id"])).status == "completed"
    assert ledger == ["reserve", "charge", "ship"]


async def test_tasks_that_nobody_runs_do_not_lose_the_run(serve, order_saga, websocket, ended, ledger):
    app = FastAPI(lifespan=create_lifespan())
    ids = []

    @app.websocket("/ws")
    async def talk(socket: WebSocket, saga: Annotated[order_saga, Depends(saga_factory(order_saga))]):
        await socket.accept()
        ids.append(await run_saga_background(BackgroundTasks(), saga, {"order_id": 1}))
        await socket.close()

    async with serve(app):
        await websocket(app, "/ws")
        assert (await ended(runtime_of(app), ids[0])).status == "completed"
    assert ledger == ["reserve", "charge", "ship"]


async def test_a_saga_that_outlives_its_request_still_runs(serve, order_saga, ledger, ended):
    app = FastAPI(lifespan=create_lifespan())
    kept = []

    @app.post("/")
    async def post(saga: Annotated[order_saga, Depends(saga_factory(order_saga))]):
        kept.append(saga)

    async with serve(app) as client:
        await client.post("/")
        saga_id = await run_saga_background(BackgroundTasks(), kept[0], {"order_id": 1})
        assert (await ended(runtime_of(app), saga_id)).status == "completed"
    assert ledger == ["reserve", "charge", "ship"]


async def test_several_runs_of_one_request_are_each_executed_once(serve, order_saga, ledger, ended):
    app = FastAPI(lifespan=create_lifespan())

    @app.post("/")
    async def post(tasks: BackgroundTasks, saga: Annotated[order_saga, Depends(saga_factory(order_saga))]):
        return [await run_saga_background(tasks, saga, {"order_id": n}) for n in range(3)]

    async with serve(app) as client:
        for saga_id in (await client.post("/")).json():
            assert (await ended(runtime_of(app), saga_id)).status == "completed"
    assert sorted(ledger) == ["charge"] * 3 + ["reserve"] * 3 + ["ship"] * 3


async def test_an_idempotency_key_gives_one_run(serve, order_saga, ledger, ended):
    app = FastAPI(lifespan=create_lifespan())

    @app.post("/")
    async def post(tasks: BackgroundTasks, saga: Annotated[order_saga, Depends(saga_factory(order_saga))]):
        return await run_saga_background(tasks, saga, {"order_id": 1}, idempotency_key="k")

    async with serve(app) as client:
        first, second = [(await client.post("/")).json() for _ in range(2)]
        await ended(runtime_of(app), first)
    assert first == second
    assert ledger == ["reserve", "charge", "ship"]


async def test_a_failed_background_run_is_rolled_back_and_logged(serve, order_saga, ledger, ended, caplog):
    app = FastAPI(lifespan=create_lifespan())

    @app.post("/")
    async def post(tasks: BackgroundTasks, saga: Annotated[order_saga, Depends(saga_factory(order_saga))]):
        return await run_saga_background(tasks, saga, {"order_id": 1, "decline": True})

    async with serve(app) as client:
        saga_id = (await client.post("/")).json()
        record = await ended(runtime_of(app), saga_id)
    assert record.status == "rolled_back"
    assert "card declined" in record.error
    assert ledger == ["reserve", "charge", "release"]
    assert f"run {saga_id}: rolled_back" in caplog.text


async def test_shutting_down_gives_back_what_does_not_end_in_time(serve, gated_saga, storage_url, gate, ledger, ended):
    config = {"STORAGE_URL": storage_url, "DRAIN_SECONDS": 0.1}
    app = FastAPI(lifespan=create_lifespan(config))

    @app.post("/")
    async def post(tasks: BackgroundTasks, saga: Annotated[gated_saga, Depends(saga_factory(gated_saga))]):
        return await run_saga_background(tasks, saga, {})

    async with serve(app) as client:
        saga_id = (await client.post("/")).json()
        await gate.entered.wait()
    gate.open.set()
    second = FastAPI(lifespan=create_lifespan(config, sagas=[gated_saga], worker=True))
    async with serve(second):
        record = await ended(runtime_of(second), saga_id)
    assert (record.status, record.attempt, record.failures) == ("completed", 2, 0)
    assert ledger == ["wait", "wait", "done"]


async def test_what_a_store_would_bend_is_refused_at_once(serve, order_saga):
    app = FastAPI(lifespan=create_lifespan())

    @app.post("/")
    async def post(tasks: BackgroundTasks, saga: Annotated[order_saga, Depends(saga_factory(order_saga))]):
        await run_saga_background(tasks, saga, {"when": object()})

    async with serve(app) as client:
        with pytest.raises(ContextValueError, match="when: object is not one of JSON's types"):
            await client.post("/")
        assert sum((await runtime_of(app).store.stats()).counts.values()) == 0


async def test_a_saga_that_is_not_bound_is_refused_with_the_way_to_get_one(order_saga):
    with pytest.raises(RuntimeNotOpen, match=r"saga: OrderSaga = Depends\(saga_factory\(OrderSaga\)\)"):
        await run_saga_background(BackgroundTasks(), order_saga(), {})
