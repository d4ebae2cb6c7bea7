"""`Sagas`: as a dependency, and without a request by `sagas_of`."""

import asyncio
from contextlib import asynccontextmanager
from typing import Annotated

import pytest
from fastapi import APIRouter, Depends, FastAPI
from sagaz import Saga, action

from fastapi_sagaz import (
    EventPublisher,
    RuntimeNotOpen,
    Sagas,
    SagaStarter,
    create_lifespan,
    current_step,
    saga_id_of,
    sagas_of,
)
from fastapi_sagaz._app_state import open_app
from sagaz_durable import sagas as engine


def runtime_of(app):
    return open_app(app).runtime


async def test_an_endpoint_gets_every_verb_with_await_and_in_a_thread(serve, order_saga, ended):
    app = FastAPI(lifespan=create_lifespan())

    @app.post("/async")
    async def post(sagas: Annotated[Sagas, Depends()]):
        run = await sagas.run(order_saga, {"order_id": 1})
        return [run.saga_id, (await sagas.status(run.saga_id)).status]

    @app.post("/sync")
    def post_sync(sagas: Annotated[Sagas, Depends()]):
        run = sagas.run_sync(order_saga, {"order_id": 2})
        return [run.saga_id, sagas.status_sync(run.saga_id).status]

    @app.delete("/{saga_id}")
    async def cancel(saga_id: str, sagas: Annotated[Sagas, Depends()]):
        return (await sagas.cancel(saga_id, by="ann")).message

    async with serve(app) as client:
        for path in ("/async", "/sync"):
            saga_id, status = (await client.post(path)).json()
            assert status == "completed"
            assert "nothing to cancel" in (await client.delete(f"/{saga_id}")).json()
        assert "saga_id" not in str(app.openapi()["paths"]["/async"])


async def test_the_narrow_forms_are_the_same_verbs():
    assert (SagaStarter.__call__, SagaStarter.sync, SagaStarter.many) == (
        engine.Sagas.start,
        engine.Sagas.start_sync,
        engine.Sagas.start_many,
    )
    assert (EventPublisher.__call__, EventPublisher.sync) == (engine.Sagas.publish, engine.Sagas.publish_sync)


async def test_a_consumer_in_the_lifespan_starts_sagas(serve, order_saga, ended):
    inbox = asyncio.Queue()
    started = asyncio.Queue()

    async def consume(sagas):
        while True:
            started.put_nowait(await sagas.start(order_saga, await inbox.get(), idempotency_key="m-1"))

    @asynccontextmanager
    async def lifespan(app):
        task = asyncio.create_task(consume(sagas_of(app)))
        yield
        task.cancel()

    app = FastAPI(lifespan=create_lifespan(lifespan=lifespan, sagas=[order_saga]))
    async with serve(app):
        inbox.put_nowait({"order_id": 1})
        inbox.put_nowait({"order_id": 1})
        first, second = await started.get(), await started.get()
        assert first == second == saga_id_of(order_saga, "m-1")
        assert (await ended(runtime_of(app), first)).status == "completed"


async def test_a_consumer_in_an_included_routers_lifespan_does_too(serve, order_saga):
    found = []

    @asynccontextmanager
    async def lifespan(app):
        found.append(await sagas_of(app).run(order_saga, {"order_id": 1}))
        yield

    app = FastAPI(lifespan=create_lifespan())
    app.include_router(APIRouter(lifespan=lifespan))
    async with serve(app):
        assert found[0].status.value == "completed"


async def test_a_script_enters_the_lifespan_by_itself(order_saga):
    app = FastAPI(lifespan=create_lifespan())
    async with app.router.lifespan_context(app):
        run = await sagas_of(app).run(order_saga, {"order_id": 1})
        assert (await sagas_of(app).status(run.saga_id)).status == "completed"


async def test_a_step_that_is_called_again_starts_the_other_saga_once(serve, order_saga, ended):
    calls = []

    class Outer(Saga):
        retry_steps = True

        @action("begin", max_retries=1)
        async def begin(self, ctx):
            step = current_step()
            inner = await sagas_of(step.app).start(order_saga, {"order_id": 1}, idempotency_key=step.idempotency_key)
            calls.append(inner)
            if len(calls) == 1:
                raise OSError("once more")
            return {"inner": inner}

        @action("begin-in-thread", depends_on=["begin"])
        def begin_in_thread(self, ctx):
            step = current_step()
            sagas = sagas_of(step.app)
            return {"other": sagas.start_sync(order_saga, {"order_id": 2}, idempotency_key=step.idempotency_key)}

    app = FastAPI(lifespan=create_lifespan(sagas=[order_saga]))
    async with serve(app):
        run = await sagas_of(app).run(Outer)
        assert len(calls) == 2
        assert {run["inner"]} == set(calls) == {saga_id_of(order_saga, f"{run.saga_id}:begin")}
        assert run["other"] != run["inner"]
        for saga_id in (run["inner"], run["other"]):
            assert (await ended(runtime_of(app), saga_id)).status == "completed"


async def test_outside_of_the_lifespan_the_two_lines_that_enter_it_are_shown(serve):
    app = FastAPI(lifespan=create_lifespan())
    lines = "async with app.router.lifespan_context(app):\n        await sagas_of(app)"
    with pytest.raises(RuntimeNotOpen) as before:
        sagas_of(app)
    assert lines in str(before.value)
    async with serve(app):
        kept = sagas_of(app)
    with pytest.raises(RuntimeNotOpen) as after:
        sagas_of(app)
    assert str(after.value) == str(before.value)
    with pytest.raises(RuntimeNotOpen, match="is not open"):
        await kept.status("any")


async def test_an_endpoint_of_an_application_without_lifespan_is_told_how_to_open_it(serve):
    app = FastAPI()

    @app.get("/")
    async def get(sagas: Annotated[Sagas, Depends()]): ...

    async with serve(app) as client:
        with pytest.raises(RuntimeNotOpen, match=r"FastAPI\(lifespan=create_lifespan\(\)\)"):
            await client.get("/")
