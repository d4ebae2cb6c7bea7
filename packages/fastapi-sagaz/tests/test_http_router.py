"""`sagaz_router` in FastAPI applications: dependencies, models, addresses, and what the OpenAPI document says."""

import subprocess
import sys
import threading
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from starlette.exceptions import HTTPException as StarletteHTTPException

from fastapi_sagaz import (
    Overloaded,
    Saga,
    Sagas,
    SettingsError,
    StoreUnavailable,
    UsageError,
    action,
    compensate,
    create_lifespan,
    health_router,
    problem_handlers,
    sagaz_router,
)
from fastapi_sagaz.http.documents import (
    AcceptedRun,
    ProbeDocument,
    ProblemDocument,
    RunDocument,
    RunPage,
)
from fastapi_sagaz.http.messages import neutral_request

USERS = {"mia-token": "mia", "max-token": "max"}


class Order(Saga):
    saga_name = "http-order"

    @action("reserve")
    async def reserve(self, ctx):
        return {"reservation": "R-1"}

    @compensate("reserve")
    async def release(self, ctx): ...

    @action("charge", depends_on=["reserve"], max_retries=0)
    async def charge(self, ctx):
        if ctx.get("declined"):
            raise ValueError("declined")


async def signed_in(request: Request, authorization: Annotated[str, Header()] = ""):
    if authorization not in USERS:
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
    request.state.user = USERS[authorization]


async def may(request, verb, subject):
    return request.state.user == "mia"


def shop(**options):
    """An application with the router, and an endpoint that starts a run."""
    app = FastAPI(lifespan=create_lifespan({"STORAGE_URL": "memory://"}, sagas=[Order]))
    given = {"authorize": may, "actor": lambda request: request.state.user, "dependencies": [Depends(signed_in)]}
    app.state.router = router = sagaz_router(**{**given, **options})

    @app.post("/orders")
    async def place(request: Request, sagas: Annotated[Sagas, Depends()], context: dict):
        return await router.accepted(request, Order, await sagas.start(Order, context))

    return app


MIA, MAX = {"authorization": "mia-token"}, {"authorization": "max-token"}
WAIT = {"prefer": "wait=5"}


@pytest.fixture
def app():
    app = shop()
    app.include_router(app.state.router)
    app.include_router(health_router())
    return app


async def test_who_is_signed_in_by_the_applications_own_dependency_may_read(app, serve):
    async with serve(app) as client:
        location = (await client.post("/orders", json={})).headers["location"]
        assert (await client.get(location)).status_code == 401
        forbidden = await client.get(location, headers=MAX)
        assert (forbidden.status_code, forbidden.headers["content-type"]) == (404, "application/problem+json")
        assert (await client.get(location, headers=MIA)).json()["saga"] == "http-order"


async def test_every_answer_is_what_its_model_says(app, serve):
    async with serve(app) as client:
        started = await client.post("/orders", json={})
        AcceptedRun.model_validate_json(started.content)
        done = await client.post("/orders", json={}, headers=WAIT)
        failed = await client.post("/orders", json={"declined": True}, headers=WAIT)
        for answer in (done, failed, await client.get(failed.headers["content-location"], headers=MIA)):
            RunDocument.model_validate_json(answer.content)
        assert failed.json()["error"]["title"].startswith("The run failed")
        RunPage.model_validate_json((await client.get("/sagas", headers=MIA)).content)
        ProblemDocument.model_validate_json((await client.get("/sagas/none", headers=MIA)).content)
        for probe in ("readiness", "liveness"):
            ProbeDocument.model_validate_json((await client.get(f"/health/{probe}")).content)


async def test_what_a_run_does_not_take_is_a_problem(app, serve):
    async with serve(app) as client:
        waits = (await client.post("/orders", json={}, headers=WAIT)).headers["content-location"]
        refused = await client.post(f"{waits}/cancel", json={"reason": "asked"}, headers=MIA)
        assert (refused.status_code, refused.json()["title"]) == (409, "The run does not take this decision")
        assert (await client.post(f"{waits}/cancel", headers=MAX)).status_code == 404
        signal = await client.post(f"{waits}/signal/paid", json={"payload": {}}, headers=MIA)
        assert signal.status_code == 409


async def test_a_plain_hook_is_called_in_a_thread_as_dependencies_are(serve):
    threads = set()

    def plain(request, verb, subject):
        threads.add(threading.current_thread())
        return True

    app = shop(authorize=plain)
    app.include_router(app.state.router)
    async with serve(app) as client:
        location = (await client.post("/orders", json={})).headers["location"]
        assert (await client.get(location, headers=MIA)).status_code == 200
    assert threads
    assert threading.main_thread() not in threads


@pytest.mark.parametrize("name", [None, "shop"])
async def test_the_address_of_a_run_is_where_the_router_is(serve, name):
    inner = shop(prefix="/läufe")
    inner.include_router(inner.state.router, prefix="/api")
    outer = FastAPI(lifespan=lambda app: inner.router.lifespan_context(inner))
    outer.mount("/shop", inner, name=name)
    async with serve(outer) as client:
        location = (await client.post("/shop/orders", json={})).headers["location"]
        assert location.startswith("/shop/api/l%C3%A4ufe/")
        assert (await client.get(location, headers=MIA)).status_code == 200


async def test_the_address_behind_a_proxy_is_the_one_that_clients_see(serve):
    app = shop()
    app.root_path = "/v1"
    app.include_router(app.state.router)
    async with serve(app) as client:
        for host in ("test", "evil.example", "["):
            answer = await client.post("/orders", json={}, headers={"host": host})
            assert answer.headers["location"].startswith("/v1/sagas/")


async def test_an_id_of_the_applications_own_is_part_of_its_address(app, serve):
    @app.post("/named")
    async def named(request: Request, sagas: Annotated[Sagas, Depends()], saga_id: str):
        await sagas.run(Order, {}, saga_id)
        return await app.state.router.accepted(request, Order, saga_id)

    async with serve(app) as client:
        for saga_id in ("ä b?c#d", "graph.svg", "50%"):
            location = (await client.post("/named", params={"saga_id": saga_id})).headers["location"]
            assert (await client.get(location, headers=MIA)).json()["saga_id"] == saga_id


async def test_a_router_that_is_not_included_has_no_addresses(serve):
    async with serve(shop()) as client:
        with pytest.raises(UsageError, match="include_router"):
            await client.post("/orders", json={})


async def test_of_a_body_that_is_too_large_no_more_is_read_than_tells_that(app, serve):
    sent = []

    async def pieces():
        for _ in range(1_000):
            sent.append(1)
            yield b"x" * 100_000

    async with serve(app) as client:
        done = (await client.post("/orders", json={}, headers=WAIT)).headers["content-location"]
        headers = {**MIA, "content-type": "application/json"}
        answer = await client.post(f"{done}/cancel", content=pieces(), headers=headers)
        assert answer.status_code == 413, answer.content
    assert len(sent) < 20


async def test_of_a_client_that_leaves_within_its_body_nothing_is_decided():
    messages = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]

    async def receive():
        return messages.pop(0)

    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": []}
    with pytest.raises(StarletteHTTPException) as left:
        await neutral_request(Request(scope, receive), 100)
    assert left.value.status_code == 400


async def test_the_applications_own_endpoints_answer_with_problem_documents(serve):
    app = FastAPI(lifespan=create_lifespan({"STORAGE_URL": "memory://"}), exception_handlers=problem_handlers)

    @app.post("/orders")
    async def place(context: dict, sagas: Annotated[Sagas, Depends()], amount: int = 0):
        await sagas.start(Order, context)

    @app.get("/fail/{name}")
    async def fail(name: str):
        raise ERRORS[name]

    async with serve(app, raise_app_exceptions=False) as client:
        sent = {"X-Correlation-ID": "c-1"}
        too_large = await client.post("/orders", json={"x": "y" * 2_000_000}, headers=sent)
        assert (too_large.status_code, too_large.json()["correlation_id"]) == (422, "c-1")
        malformed = await client.post("/orders?amount=x", json={"secret": 1})
        problem = ProblemDocument.model_validate_json(malformed.content)
        assert (malformed.status_code, malformed.headers["content-type"]) == (422, "application/problem+json")
        assert problem.detail.startswith("query.amount: Input should be a valid integer")
        unavailable = await client.get("/fail/unavailable")
        assert (unavailable.status_code, unavailable.headers["retry-after"]) == (503, "5")
        assert "db.internal" not in unavailable.text
        assert (await client.get("/fail/overloaded")).headers["retry-after"] == "9"
        assert (await client.get("/fail/own")).status_code == 500


ERRORS = {
    "unavailable": StoreUnavailable("db.internal does not answer"),
    "overloaded": Overloaded("too many"),
    "own": UsageError("wrong code"),
}
ERRORS["overloaded"].retry_after = 9


def test_what_cannot_be_meant_is_refused_when_the_router_is_made():
    for wrong in ({"authorize": "mia"}, {"shows": "order_id"}, {"trusted_origins": ["shop.example"]}):
        with pytest.raises(SettingsError):
            sagaz_router(**wrong)


OPERATIONS = {
    "sagaz_cancel_run", "sagaz_draw_run", "sagaz_draw_run_mermaid", "sagaz_draw_run_svg", "sagaz_list_runs",
    "sagaz_liveness", "sagaz_readiness", "sagaz_resolve_run", "sagaz_retry_run", "sagaz_run_now",
    "sagaz_send_signal", "sagaz_show_run",
}  # fmt: skip


def test_the_operation_ids_stay_as_they_are(app):
    operations = [one for path in app.openapi()["paths"].values() for one in path.values()]
    assert {one["operationId"] for one in operations} - {"place_orders_post"} == OPERATIONS
    assert all(one["summary"] and one["description"] for one in operations if one["operationId"] in OPERATIONS)


def test_every_problem_is_documented_as_one():
    app = FastAPI()
    app.include_router(sagaz_router())
    paths = app.openapi()["paths"]
    cancel = paths["/sagas/{saga_id}/cancel"]["post"]
    assert set(cancel["responses"]) == {"200", "403", "404", "409", "412", "413", "415", "422", "503"}
    for status, told in cancel["responses"].items():
        assert set(told["content"]) == {"application/json" if status == "200" else "application/problem+json"}
    assert "422" not in paths["/sagas/{saga_id}"]["get"]["responses"]
    assert cancel["requestBody"]["content"]["application/json"]["schema"]["properties"]["reason"]


def test_two_routers_of_one_application_have_names_of_their_own():
    app = FastAPI()
    app.include_router(sagaz_router())
    app.include_router(sagaz_router(prefix="/support/sagas", name="support"))
    operations = [one["operationId"] for path in app.openapi()["paths"].values() for one in path.values()]
    assert len(operations) == len(set(operations)) == 2 * (len(OPERATIONS) - 2)


def test_an_application_without_the_router_does_not_load_it():
    program = "import sys, fastapi_sagaz; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not [name for name in loaded if name.startswith(("sagaz_durable.http", "sagaz_durable.diagram"))]
    assert not {"fastapi_sagaz.http.router", "fastapi_sagaz.http.documents"} & set(loaded)
