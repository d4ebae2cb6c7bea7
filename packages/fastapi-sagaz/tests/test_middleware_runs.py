"""What the sagas of a request get of its correlation id."""

import logging
from typing import Annotated

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI

from fastapi_sagaz import (
    SagaContextMiddleware,
    SagaFactory,
    SagaStarter,
    create_lifespan,
    run_saga_background,
)
from fastapi_sagaz._app_state import open_app


@pytest.mark.parametrize("propagate", [True, False])
async def test_runs_carry_the_id_and_their_context_does_if_asked(serve, order_saga, ended, propagate):
    app = FastAPI(lifespan=create_lifespan(worker=True))
    app.add_middleware(SagaContextMiddleware, propagate_to_context=propagate)
    dependency = SagaFactory()(order_saga)

    @app.post("/inline")
    async def inline(saga: Annotated[order_saga, Depends(dependency)]):
        return (await saga.run({"order_id": 1})).saga_id

    @app.post("/background")
    async def background(tasks: BackgroundTasks, saga: Annotated[order_saga, Depends(dependency)]):
        return await run_saga_background(tasks, saga, {"order_id": 1})

    @app.post("/later")
    async def later(start: Annotated[SagaStarter, Depends()]):
        return await start(order_saga, {"order_id": 1})

    @app.post("/sync")
    def sync(start: Annotated[SagaStarter, Depends()]):
        return start.sync(order_saga, {"order_id": 1})

    async with serve(app) as client:
        for way in ("inline", "background", "later", "sync"):
            saga_id = (await client.post(f"/{way}", headers={"X-Correlation-ID": way})).json()
            record = await ended(open_app(app).runtime, saga_id)
            assert record.correlation_id == way
            assert (f'"correlation_id":"{way}"' in record.context) is propagate


async def test_log_records_of_requests_and_of_their_runs_carry_the_id(serve, caplog, ended):
    from sagaz import Saga, action

    class Talking(Saga):
        @action("talk")
        async def talk(self, ctx):
            logging.getLogger("shop").info("in the step")
            return {}

    caplog.set_level(logging.INFO)
    app = FastAPI(lifespan=create_lifespan(worker=True))
    app.add_middleware(SagaContextMiddleware)

    @app.post("/")
    async def post(start: Annotated[SagaStarter, Depends()]):
        logging.getLogger("shop").info("in the request")
        return await start(Talking, {})

    async with serve(app) as client:
        saga_id = (await client.post("/", headers={"X-Correlation-ID": "log-1"})).json()
        await ended(open_app(app).runtime, saga_id)
    found = {record.message: record for record in caplog.records if record.name == "shop"}
    assert found["in the request"].correlation_id == "log-1"
    assert found["in the step"].correlation_id == "log-1"
    assert (found["in the step"].saga_id, found["in the step"].step) == (saga_id, "talk")
