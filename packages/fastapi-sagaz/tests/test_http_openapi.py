"""The OpenAPI document is what the routes do: schemathesis sends what it allows, and what it does not."""

import itertools
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Annotated, Any, get_args

import pytest
from fastapi import APIRouter, Depends, FastAPI
from hypothesis import HealthCheck, settings
from pydantic import BaseModel, JsonValue

from fastapi_sagaz import (
    Idempotent,
    IdempotentRoute,
    RunWaiting,
    Saga,
    SagaStarter,
    action,
    compensate,
    create_lifespan,
    current_step,
    health_router,
    sagas_of,
    sagaz_router,
)
from fastapi_sagaz.http.documents import AcceptedRun, CompensationDocument, StepDocument
from sagaz_durable.engine.state import StepState, UndoState

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis needs newer versions than the oldest")
checks = pytest.importorskip("schemathesis.specs.openapi.checks")


class Order(Saga):
    saga_name = "documented-order"

    @action("reserve")
    async def reserve(self, ctx): ...

    @compensate("reserve")
    async def release(self, ctx): ...

    @action("charge", depends_on=["reserve"], max_retries=0)
    async def charge(self, ctx):
        if "wait" in ctx:
            await current_step().signal("paid")
        if "fail" in ctx:
            raise ValueError("declined")


RUNS = {"done": {"order": 1}, "undone": {"fail": 1}, "waits": {"wait": 1}}


@asynccontextmanager
async def with_runs(app):
    for saga_id, context in RUNS.items():
        with suppress(RunWaiting, ValueError):
            await sagas_of(app).run(Order, context, saga_id, owner="ada")
    yield


class Ordered(BaseModel):
    name: str
    parts: dict[str, JsonValue] = {}


def orders(given: Any = None, **options: Any) -> APIRouter:
    router = APIRouter(route_class=IdempotentRoute, **options)

    @router.post(
        "/orders", status_code=202, response_model=AcceptedRun, responses=given,
        dependencies=[Depends(Idempotent(Order, caller=None))],
    )  # fmt: skip
    async def place(order: Ordered, start: Annotated[SagaStarter, Depends()]) -> Any:
        saga_id = await start(Order, {"order": order.name.encode().hex()})
        return {"saga_id": saga_id, "saga": "documented-order", "location": f"/sagas/{saga_id}"}

    return router


def _application():
    app = FastAPI(lifespan=create_lifespan({"STORAGE_URL": "memory://"}, sagas=[Order], lifespan=with_runs))
    app.include_router(sagaz_router(authorize=lambda *_: True, actor=lambda request: "mia", shows=["order"]))
    app.include_router(health_router())
    app.include_router(orders())
    return app


schema = schemathesis.openapi.from_asgi("/openapi.json", _application())
_turn = itertools.cycle([*RUNS, None])


@schema.parametrize()
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_is_answered_otherwise_than_is_documented(case):
    saga_id = next(_turn)
    if saga_id is not None and "saga_id" in case.path_parameters:
        case.path_parameters["saga_id"] = saga_id
    case.call_and_validate(
        checks=[
            schemathesis.checks.not_a_server_error,
            checks.status_code_conformance,
            checks.content_type_conformance,
            checks.response_schema_conformance,
            checks.response_headers_conformance,
        ]
    )


PROBLEM = "application/problem+json"


def documented(router, **included):
    app = FastAPI()
    app.include_router(router, **included)
    return app.openapi()["paths"]["/orders"]["post"]["responses"]


def test_what_a_key_may_be_answered_with_is_documented():
    told = documented(orders())
    assert {status: set(answer["content"]) for status, answer in told.items()} == {
        "202": {"application/json"}, "400": {"application/json", PROBLEM}, "409": {PROBLEM}, "503": {PROBLEM},
        "422": {"application/json", PROBLEM},
    }  # fmt: skip
    assert "has no Idempotency-Key" in told["400"]["description"]
    assert told["422"]["description"].startswith("Validation Error; or: The Idempotency-Key")


class Refusal(BaseModel):
    why: str


OWN = {"model": Refusal, "description": "Sold out."}


@pytest.mark.parametrize("where", ["route", "router"])
@pytest.mark.parametrize("key", [409, "409", HTTPStatus.CONFLICT])
def test_what_the_application_documents_stays_as_it_is(where, key):
    router = orders({key: OWN}) if where == "route" else orders(responses={key: OWN})
    told = documented(router)["409"]
    assert told["description"] == "Sold out."
    assert told["content"]["application/json"] == {"schema": {"$ref": "#/components/schemas/Refusal"}}
    assert told["content"][PROBLEM]["schema"]["title"] == "ProblemDocument"


def test_a_response_that_is_documented_where_the_router_is_included_stays():
    told = documented(orders(), responses={409: OWN, 418: OWN})
    assert told["409"]["content"]["application/json"] == {"schema": {"$ref": "#/components/schemas/Refusal"}}
    assert told["418"]["description"] == "Sold out."


def test_problems_of_the_application_stay_as_it_documents_them():
    own = {"description": "Mine.", "content": {PROBLEM: {"schema": {"type": "object"}}}}
    assert documented(orders({409: own}))["409"] == own


def test_what_is_added_to_an_operation_by_the_application_wins():
    router = APIRouter(route_class=IdempotentRoute)

    @router.post(
        "/orders", dependencies=[Depends(Idempotent(Order, caller=None))],
        openapi_extra={"x-owner": "shop", "responses": {"409": {"description": "Mine."}}},
    )  # fmt: skip
    async def place() -> None: ...

    app = FastAPI()
    app.include_router(router)
    told = app.openapi()["paths"]["/orders"]["post"]
    assert (told["x-owner"], told["responses"]["409"]["description"]) == ("shop", "Mine.")


def test_an_endpoint_without_a_body_is_documented_without_one_that_cannot_be_read():
    router = APIRouter(route_class=IdempotentRoute)

    @router.post("/orders", dependencies=[Depends(Idempotent(Order, caller=None))])
    async def place() -> None: ...

    assert set(documented(router)["400"]["content"]) == {PROBLEM}


def test_other_endpoints_of_the_router_are_documented_as_ever():
    router = APIRouter(route_class=IdempotentRoute)

    @router.post("/orders")
    async def place() -> None: ...

    assert set(documented(router)) == {"200"}


def test_every_state_of_steps_and_compensations_is_documented():
    documented = {name: set(get_args(document.model_fields["state"].annotation)) for name, document in (
        ("step", StepDocument), ("compensation", CompensationDocument))}  # fmt: skip
    assert documented == {"step": set(get_args(StepState)), "compensation": set(get_args(UndoState))}
