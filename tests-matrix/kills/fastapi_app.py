"""The FastAPI application whose processes are killed; KILLS_WORKER gives it an embedded worker."""

from __future__ import annotations

import os
from typing import Annotated, Any

from fastapi import BackgroundTasks, Depends, FastAPI

from fastapi_sagaz import SagaFactory, SagaStarter, create_lifespan, run_saga_background
from kills.sagas import FourSteps

Bound = Annotated[FourSteps, Depends(SagaFactory()(FourSteps))]

app = FastAPI(lifespan=create_lifespan(sagas=[FourSteps], worker="KILLS_WORKER" in os.environ))


@app.get("/up")
async def up() -> None: ...


@app.post("/inline")
async def inline(context: dict[str, Any], saga: Bound) -> str:
    return (await saga.run(context)).saga_id


@app.post("/background")
async def background(context: dict[str, Any], saga: Bound, tasks: BackgroundTasks) -> str:
    return await run_saga_background(tasks, saga, context)


@app.post("/deferred")
async def deferred(context: dict[str, Any], start: Annotated[SagaStarter, Depends()]) -> str:
    return await start(FourSteps, context)
