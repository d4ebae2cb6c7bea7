"""The FastAPI application whose clients repeat their orders."""

from __future__ import annotations

import asyncio
import os
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI
from sagaz import Saga, action

from fastapi_sagaz import Idempotent, IdempotentRoute, SagaStarter, create_lifespan
from kills.holding import is_held


class Order(Saga):
    @action("reserve")
    async def reserve(self, ctx: dict[str, Any]) -> None: ...


app = FastAPI(lifespan=create_lifespan(sagas=[Order]))
router = APIRouter(route_class=IdempotentRoute)
once = Idempotent(Order, caller=None, location="/orders/{saga_id}")


@app.get("/up")
async def up() -> None: ...


@router.post("/orders", status_code=202, dependencies=[Depends(once)])
async def create(order: dict[str, Any], start: Annotated[SagaStarter, Depends()]) -> dict[str, Any]:
    saga_id = await start(Order, order)
    if is_held():
        await asyncio.sleep(3_600)
    return {"saga_id": saga_id, "pid": os.getpid()}


app.include_router(router)
