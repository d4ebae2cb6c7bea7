"""The FastAPI application of the storm, served by uvicorn and worked on by ``fastapi-sagaz worker``."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any
from uuid import uuid4

from fastapi import BackgroundTasks, Depends, FastAPI, Header, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sagaz import Saga
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fastapi_sagaz import (
    RunInterrupted,
    RuntimeNotOpen,
    RunWaiting,
    SagaContextMiddleware,
    SagaFactory,
    Sagas,
    SagaStarter,
    StoreUnavailable,
    create_lifespan,
    run_saga_background,
)
from fastapi_sagaz.webhooks import webhook_router
from storm.sagas import KNOWN, PlannedError, StormSaga, saga_of
from storm.webhooks import SOURCES, die_before_the_answer


class Dying:
    """Kills the process before it answers an event that asks for it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                die_before_the_answer(Headers(scope=scope), message["status"])
            await send(message)

        await self._app(scope, receive, answer if scope["type"] == "http" else send)


app = FastAPI(lifespan=create_lifespan(sagas=KNOWN))
app.add_middleware(SagaContextMiddleware)
app.add_middleware(Dying)
app.include_router(webhook_router(SOURCES))

Bound = Annotated[Saga, Depends(SagaFactory()(StormSaga))]
Key = Annotated[str, Header(alias="Idempotency-Key")]


@app.exception_handler(StoreUnavailable)
@app.exception_handler(RuntimeNotOpen)
async def unavailable(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, 503)


class Given(BaseModel):
    key: str
    signal_id: str
    payload: dict[str, str]


@app.get("/up")
async def up() -> None: ...


@app.post("/inline")
async def inline(context: dict[str, Any], saga: Bound) -> dict[str, str]:
    saga_id = str(uuid4())
    # Ended as planned, waiting, or going on elsewhere: it is recorded in each case.
    with suppress(PlannedError, RunInterrupted, RunWaiting):
        await saga.run(context, saga_id=saga_id)
    return {"saga_id": saga_id}


@app.post("/background", status_code=202)
async def background(context: dict[str, Any], saga: Bound, tasks: BackgroundTasks, key: Key) -> dict[str, str]:
    return {"saga_id": await run_saga_background(tasks, saga, context, idempotency_key=key)}


@app.post("/deferred", status_code=202)
async def deferred(context: dict[str, Any], start: Annotated[SagaStarter, Depends()], key: Key) -> dict[str, str]:
    return {"saga_id": await start(saga_of(context), context, idempotency_key=key)}


@app.post("/signal")
async def signal(given: Given, sagas: Annotated[Sagas, Depends()]) -> dict[str, bool]:
    return {"new": await sagas.send_signal("go", given.payload, key=given.key, signal_id=given.signal_id)}
