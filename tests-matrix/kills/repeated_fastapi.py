"""An application whose clients may repeat their orders; KILLS_HOLD has each one stand still right after its start."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI
from sagaz import Saga, action

from fastapi_sagaz import Idempotent, IdempotentRoute, SagaStarter, create_lifespan


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
    if hold := os.environ.get("KILLS_HOLD"):
        await asyncio.to_thread(Path(hold).touch)
        await asyncio.sleep(3_600)
    return {"saga_id": saga_id, "pid": os.getpid()}


app.include_router(router)
