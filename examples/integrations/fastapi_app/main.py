"""An order application: sagas run inline, in the background and started for later.

Run it with ``uvicorn main:app`` in this folder; the README has requests to try.
"""

from __future__ import annotations

import os
from typing import Annotated, Any
from uuid import uuid4

from fastapi import BackgroundTasks, Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel, Field
from sagas import OrderSaga
from services import PaymentDeclinedError

from fastapi_sagaz import (
    IdempotencyConflict,
    RunInterrupted,
    SagaContextMiddleware,
    SagaFactory,
    SagaStarter,
    create_lifespan,
    get_config,
    run_saga_background,
)

# A file, so that runs survive a restart; SAGAZ_STORAGE_URL=postgresql://… is for several machines.
os.environ.setdefault("SAGAZ_STORAGE_URL", "sqlite:///orders.db")

# worker=True: this process also resumes what an earlier one left, and runs what was started for later.
app = FastAPI(title="Orders", lifespan=create_lifespan(worker=True, sagas=[OrderSaga]))
app.add_middleware(SagaContextMiddleware)

saga_factory = SagaFactory()
BoundOrderSaga = Annotated[OrderSaga, Depends(saga_factory(OrderSaga))]
IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=200)]


class Order(BaseModel):
    """What a customer sends."""

    order_id: str = Field(pattern=r"^[A-Za-z0-9-]{1,40}$")
    amount: int = Field(gt=0)


@app.post("/orders", status_code=201)
async def create_order(order: Order, saga: BoundOrderSaga) -> dict[str, Any]:
    """Run the saga now; the answer tells how it ended."""
    saga_id = str(uuid4())
    try:
        run = await saga.run(order.model_dump(), saga_id=saga_id)
    except PaymentDeclinedError as declined:
        # By now the stock has been released again.
        raise HTTPException(402, {"saga_id": saga_id, "reason": str(declined)}) from declined
    except RunInterrupted as interrupted:
        # This server is shutting down, and a worker finishes the order.
        raise HTTPException(503, {"saga_id": saga_id, "reason": "the order is still being processed"}) from interrupted
    return {"saga_id": run.saga_id, "status": run.status.value, "parcel": run["parcel"]}


@app.post("/orders/background", status_code=202)
async def create_order_in_background(
    order: Order, saga: BoundOrderSaga, background_tasks: BackgroundTasks
) -> dict[str, Any]:
    """Answer at once; this process runs the saga after the response."""
    saga_id = await run_saga_background(background_tasks, saga, context=order.model_dump())
    return {"saga_id": saga_id, "status": "accepted"}


@app.post("/orders/deferred", status_code=202)
async def create_order_for_later(
    order: Order, start: Annotated[SagaStarter, Depends()], idempotency_key: IdempotencyKey = None
) -> dict[str, Any]:
    """Answer at once; any worker runs the saga. The same Idempotency-Key means the same order."""
    try:
        saga_id = await start(OrderSaga, order.model_dump(), idempotency_key=idempotency_key)
    except IdempotencyConflict as conflict:
        raise HTTPException(409, "This Idempotency-Key was used for another order.") from conflict
    return {"saga_id": saga_id, "status": "accepted"}


@app.get("/orders/{saga_id}")
async def read_order(saga_id: str, config: Annotated[Any, Depends(get_config)]) -> dict[str, Any]:
    """Tell how far an order is."""
    run = await config.storage.load_saga_state(saga_id)
    if run is None:
        raise HTTPException(404, "There is no such order.")
    return {
        "saga_id": saga_id,
        "order_id": run["context"]["order_id"],
        "status": run["status"],
        "error": run["metadata"]["error"],
        "steps": [f"{step['name']}: {step['status']}" for step in run["steps"]],
    }
