"""An order application: sagas run inline, in the background and started for later, each for its customer alone.

Run it with ``uvicorn main:app`` in this folder; the README has requests to try.
"""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from customers import customer_of, may
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sagas import OrderSaga
from services import PAYMENTS_SECRET, PaymentDeclinedError

from fastapi_sagaz import (
    Idempotent,
    IdempotentRoute,
    RunFailed,
    RunInProgress,
    RunInterrupted,
    RunWaiting,
    SagaContextMiddleware,
    SagaFactory,
    Sagas,
    Subject,
    Verb,
    create_lifespan,
    health_router,
    problem_handlers,
    sagaz_router,
)
from fastapi_sagaz.http.documents import AcceptedRun, RunDocument
from fastapi_sagaz.webhooks import StandardWebhooks, webhook_router

# A file, so that runs survive a restart; SAGAZ_STORAGE_URL=postgresql://… is for several machines.
os.environ.setdefault("SAGAZ_STORAGE_URL", "sqlite:///orders.db")


async def authenticated(request: Request, authorization: Annotated[str | None, Header()] = None) -> str:
    """Return who sends the request."""
    if (customer := customer_of(authorization)) is None:
        raise HTTPException(401, "Who are you?", {"WWW-Authenticate": "Bearer"})
    request.state.customer = customer
    return customer


def authorize(request: Request, verb: Verb, subject: Subject) -> bool:
    """Whether somebody may see a run, or decide about it."""
    return may(request.state.customer, verb, subject.owner)


def actor(request: Request) -> str:
    """Return who decides."""
    who: str = request.state.customer
    return who


saga_factory = SagaFactory()
BoundOrderSaga = Annotated[OrderSaga, Depends(saga_factory(OrderSaga))]
Customer = Annotated[str, Depends(authenticated)]

# Status, lists and decisions: /sagas, /sagas/{saga_id}, /sagas/{saga_id}/signal/approval …
sagas_router = sagaz_router(
    authorize=authorize, actor=actor, shows=["order_id", "amount", "parcel"], dependencies=[Depends(authenticated)]
)

# An order that is sent again with its Idempotency-Key, which is its customer's own, gets the answer that it got before.
once = Idempotent(OrderSaga, caller=authenticated, location="/sagas/{saga_id}")
orders = APIRouter(prefix="/orders", route_class=IdempotentRoute, dependencies=[Depends(once)])
ACCEPTED: dict[str, Any] = {
    "status_code": 202,
    "response_model": AcceptedRun,
    "responses": {200: {"model": RunDocument, "description": "With Prefer: wait=N, when the run ended in time."}},
}

# /webhooks/payments, where the payment provider tells of transfers; what it has signed needs no bearer token.
webhooks = webhook_router({"payments": StandardWebhooks(PAYMENTS_SECRET)})


class Order(BaseModel):
    """What a customer sends."""

    order_id: str = Field(pattern=r"^[A-Za-z0-9-]{1,40}$")
    amount: int = Field(gt=0, lt=2**31, strict=True)
    payment: Literal["card", "transfer"] = "card"


@orders.post("", status_code=201, response_model=None)
async def create_order(
    order: Order, customer: Customer, saga: BoundOrderSaga, request: Request
) -> dict[str, Any] | Response:
    """Run the saga now; the answer tells how it ended, or where its status is."""
    try:
        run = await saga.run(order.model_dump(), owner=customer)
    except RunWaiting as waiting:
        # The payment provider, or a manager, has to answer first, and no process waits for them.
        return await sagas_router.accepted(request, OrderSaga, waiting.saga_id)
    except PaymentDeclinedError as declined:
        # By now the stock has been released again. What is returned is kept for repeated requests; a raised one is not.
        return JSONResponse({"detail": str(declined)}, 402)
    except RunFailed:
        return JSONResponse({"detail": "This order has failed: order anew."}, 409)
    except (RunInProgress, RunInterrupted) as going_on:
        # The server that had it was stopped, and a worker finishes the order.
        raise HTTPException(503, "The order is being processed.", {"Retry-After": "1"}) from going_on
    return {"saga_id": run.saga_id, "status": run.status.value, "parcel": run["parcel"]}


@orders.post("/background", **ACCEPTED)
async def create_order_in_background(
    order: Order, customer: Customer, sagas: Annotated[Sagas, Depends()], request: Request
) -> Response:
    """Answer at once; this process runs the saga meanwhile."""
    saga_id = await sagas.run_background(OrderSaga, order.model_dump(), owner=customer)
    return await sagas_router.accepted(request, OrderSaga, saga_id)


@orders.post("/deferred", **ACCEPTED)
async def create_order_for_later(
    order: Order, customer: Customer, sagas: Annotated[Sagas, Depends()], request: Request
) -> Response:
    """Answer at once; any worker runs the saga."""
    saga_id = await sagas.start(OrderSaga, order.model_dump(), owner=customer)
    return await sagas_router.accepted(request, OrderSaga, saga_id)


# worker=True: this process also resumes what an earlier one left, and runs what was started for later.
# problem_handlers: what the client caused is answered with 4xx, and what passes by itself with 503.
app = FastAPI(
    title="Orders", lifespan=create_lifespan(worker=True, sagas=[OrderSaga]), exception_handlers=problem_handlers
)
app.add_middleware(SagaContextMiddleware)
app.include_router(orders)
app.include_router(sagas_router)
app.include_router(webhooks)
app.include_router(health_router())
