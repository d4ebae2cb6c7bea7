"""A request whose saga is given what its declared context does not allow is answered as FastAPI does it."""

from __future__ import annotations

from typing import Annotated, Any

import pydantic
import pytest
from fastapi import Body, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from fastapi_sagaz import InvalidInput, Saga, SagaFactory, action, create_lifespan, problem_handlers

pytestmark = pytest.mark.anyio


class Order(pydantic.BaseModel):
    sku: str
    amount: int


class OrderSaga(Saga):
    context = Order

    @action("one")
    async def one(self, ctx: Order) -> None:
        assert ctx.amount == 42


Placed = Annotated[OrderSaga, Depends(SagaFactory()(OrderSaga))]


@pytest.fixture
def answered(serve):
    """Place an order; returns the status and the body of the answer."""

    async def answered(body: Any, **options: Any) -> tuple[int, Any]:
        app = FastAPI(lifespan=create_lifespan({"STORAGE_URL": "memory://"}, sagas=[OrderSaga]), **options)

        @app.post("/orders")
        async def place(order: Annotated[dict[str, Any], Body()], saga: Placed) -> dict[str, Any]:
            return {"sku": (await saga.run(order))["sku"]}

        async with serve(app) as client:
            answer = await client.post("/orders", json=body)
            return answer.status_code, answer.json()

    return answered


async def test_it_is_a_422_in_the_frameworks_own_form_without_what_was_sent(answered):
    assert await answered({"sku": "a", "amount": "42"}) == (200, {"sku": "a"})
    status, body = await answered({"sku": "a", "amount": "hunter2"})
    assert status == 422
    [told] = body["detail"]
    assert told["loc"] == ["body", "amount"]
    assert "valid integer" in told["msg"]
    assert "hunter2" not in str(body)


async def test_an_applications_own_handler_of_such_requests_is_asked(answered):
    async def mine(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        assert isinstance(error, InvalidInput)
        return JSONResponse({"mine": [one["loc"][-1] for one in error.errors()], "said": str(error)}, 400)

    status, body = await answered({}, exception_handlers={RequestValidationError: mine})
    assert (status, body["mine"]) == (400, ["sku", "amount"])
    assert body["said"].startswith("The context is not what Order says: sku: ")


async def test_it_is_a_problem_document_where_these_are_told(answered):
    status, body = await answered({"sku": "a"}, exception_handlers=problem_handlers)
    assert (status, body["type"].rpartition("#")[2]) == (422, "invalid-input")
    assert "amount" in body["detail"]


@pytest.mark.parametrize("body", [{}, {"sku": 1, "amount": 1}])
async def test_nothing_is_run(answered, body):
    assert (await answered(body))[0] == 422
