"""The OpenAPI document is what the routes do: schemathesis sends what it allows, and what it does not."""

import itertools
from contextlib import asynccontextmanager, suppress

import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, settings

from fastapi_sagaz import (
    RunWaiting,
    Saga,
    action,
    compensate,
    create_lifespan,
    current_step,
    health_router,
    sagas_of,
    sagaz_router,
)

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


def _application():
    app = FastAPI(lifespan=create_lifespan({"STORAGE_URL": "memory://"}, sagas=[Order], lifespan=with_runs))
    app.include_router(sagaz_router(authorize=lambda *_: True, actor=lambda request: "mia", shows=["order"]))
    app.include_router(health_router())
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
