"""An order application: sagas run inline, in the background and started for later, each for its customer alone.

Run it with ``uvicorn main:app`` in this folder; the README has requests to try.
"""

from __future__ import annotations

import os
from typing import Annotated, Any

from customers import customer_of
from fastapi import BackgroundTasks, Depends, FastAPI, Header, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sagas import OrderSaga
from services import PaymentDeclinedError

from fastapi_sagaz import (
    IdempotencyConflict,
    InvalidInput,
    Overloaded,
    RunFailed,
    RunInProgress,
    RunInterrupted,
    RuntimeNotOpen,
    SagaContextMiddleware,
    SagaFactory,
    SagaStarter,
    StoreUnavailable,
    create_lifespan,
    get_config,
    run_saga_background,
    saga_id_of,
)

# A file, so that runs survive a restart; SAGAZ_STORAGE_URL=postgresql://… is for several machines.
os.environ.setdefault("SAGAZ_STORAGE_URL", "sqlite:///orders.db")

# worker=True: this process also resumes what an earlier one left, and runs what was started for later.
app = FastAPI(title="Orders", lifespan=create_lifespan(worker=True, sagas=[OrderSaga]))
app.add_middleware(SagaContextMiddleware)

saga_factory = SagaFactory()
BoundOrderSaga = Annotated[OrderSaga, Depends(saga_factory(OrderSaga))]


class Order(BaseModel):
    """What a customer sends."""

    order_id: str = Field(pattern=r"^[A-Za-z0-9-]{1,40}$")
    amount: int = Field(gt=0, lt=2**31, strict=True)


async def authenticated(authorization: Annotated[str | None, Header()] = None) -> str:
    """Return who sends the request."""
    if (customer := customer_of(authorization)) is None:
        raise HTTPException(401, "Who are you?", {"WWW-Authenticate": "Bearer"})
    return customer


Customer = Annotated[str, Depends(authenticated)]


async def customers_key(
    customer: Customer, idempotency_key: Annotated[str, Header(min_length=1, max_length=100)]
) -> str:
    """Return the key of a request: the customer's own, so that nobody can use up another's."""
    return f"{customer}:{idempotency_key}"


Key = Annotated[str, Depends(customers_key)]


@app.post("/orders", status_code=201)
async def create_order(order: Order, customer: Customer, key: Key, saga: BoundOrderSaga) -> dict[str, Any]:
    """Run the saga now; the answer tells how it ended. Sent again with its key, an order is not ordered again."""
    saga_id = saga_id_of(OrderSaga, key)
    try:
        run = await saga.run(context_of(order, customer), idempotency_key=key)
    except PaymentDeclinedError as declined:
        # By now the stock has been released again.
        raise HTTPException(402, {"saga_id": saga_id, "reason": str(declined)}) from declined
    except RunFailed as failed:
        raise HTTPException(409, {"saga_id": saga_id, "reason": "this order has failed; order anew"}) from failed
    except RunInProgress as going_on:
        raise HTTPException(409, {"saga_id": saga_id, "reason": "the order is still being processed"}) from going_on
    except RunInterrupted as interrupted:
        # This server is shutting down, and a worker finishes the order.
        raise HTTPException(503, {"saga_id": saga_id, "reason": "the order is still being processed"}) from interrupted
    return {"saga_id": run.saga_id, "status": run.status.value, "parcel": run["parcel"]}


@app.post("/orders/background", status_code=202)
async def create_order_in_background(
    order: Order, customer: Customer, key: Key, saga: BoundOrderSaga, background_tasks: BackgroundTasks
) -> dict[str, Any]:
    """Answer at once; this process runs the saga after the response."""
    context = context_of(order, customer)
    saga_id = await run_saga_background(background_tasks, saga, context=context, idempotency_key=key)
    return {"saga_id": saga_id, "status": "accepted"}


@app.post("/orders/deferred", status_code=202)
async def create_order_for_later(
    order: Order, customer: Customer, key: Key, start: Annotated[SagaStarter, Depends()]
) -> dict[str, Any]:
    """Answer at once; any worker runs the saga."""
    saga_id = await start(OrderSaga, context_of(order, customer), idempotency_key=key)
    return {"saga_id": saga_id, "status": "accepted"}


@app.get("/orders/{saga_id}")
async def read_order(saga_id: str, customer: Customer, config: Annotated[Any, Depends(get_config)]) -> dict[str, Any]:
    """Tell a customer how far an order is; what went wrong inside is for the log."""
    run = await config.storage.load_saga_state(saga_id)
    if run is None or run["context"].get("customer") != customer:
        raise HTTPException(404, "There is no such order.")
    return {
        "saga_id": saga_id,
        "order_id": run["context"]["order_id"],
        "status": run["status"],
        "steps": [f"{step['name']}: {step['status']}" for step in run["steps"]],
    }


def context_of(order: Order, customer: str) -> dict[str, Any]:
    """Return what the saga is given."""
    return {**order.model_dump(), "customer": customer}


# What the client caused is answered with 4xx, and what passes by itself with 503.


@app.exception_handler(RequestValidationError)
async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
    """Tell what is wrong without repeating it: NaN and half a surrogate pair are values that JSON has not."""
    return JSONResponse({"detail": [{"loc": problem["loc"], "msg": problem["msg"]} for problem in error.errors()]}, 422)


@app.exception_handler(IdempotencyConflict)
async def other_order(request: Request, error: IdempotencyConflict) -> JSONResponse:
    """Refuse a key that was used before."""
    return JSONResponse({"detail": "This Idempotency-Key was used for another order."}, 422)


@app.exception_handler(InvalidInput)
async def invalid_input(request: Request, error: InvalidInput) -> JSONResponse:
    """Refuse what cannot be recorded."""
    return JSONResponse({"detail": str(error)}, 422)


@app.exception_handler(StoreUnavailable)
@app.exception_handler(RuntimeNotOpen)
@app.exception_handler(Overloaded)
async def try_later(request: Request, error: Exception) -> JSONResponse:
    """Nothing was recorded."""
    return JSONResponse({"detail": "Try again later."}, 503, {"Retry-After": "5"})
