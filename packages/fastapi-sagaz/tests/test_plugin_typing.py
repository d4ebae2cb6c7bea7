"""What type checkers make of the package, as a user's code uses it."""

import importlib.util
import subprocess
import sys

import pytest

GOOD = """
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, Request, Response
from fastapi_sagaz import (
    Idempotent, IdempotentRoute, Saga, SagaContextMiddleware, SagaFactory, SagaRun, SagaStarter, Subject, Verb, action,
    compensate, create_lifespan, current_step, get_config, health_router, problem_handlers, run_saga_background,
    sagaz_router,
)


class OrderSaga(Saga):
    saga_name = "order"

    @action("reserve")
    async def reserve(self, ctx: dict[str, Any]) -> dict[str, Any]:
        return {"key": current_step().idempotency_key}

    @compensate("reserve")
    def release(self, ctx: dict[str, Any]) -> None:
        current_step().sleep(60)
        confirmed: dict[str, Any] = current_step().signal("released")
        print(ctx, confirmed["by"], current_step().signal("seen")["by"])

    @action("pay", depends_on=["reserve"])
    async def pay(self, ctx: dict[str, Any]) -> dict[str, Any]:
        step = current_step()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(step.signal("paid"))
        one, other = await asyncio.gather(step.signal("a"), step.signal("b"))
        await step.sleep(60)
        payload: dict[str, Any] = await asyncio.wait_for(step.signal("c"), 3)
        return {"paid": task.result()["amount"], "rest": [one["n"], other["n"], payload]}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, int]]:
    yield {"pool": 1}


app = FastAPI(lifespan=create_lifespan(lifespan=lifespan, sagas=[OrderSaga, (OrderSaga, OrderSaga)], worker=True))
app.add_middleware(SagaContextMiddleware, header_name="X-Request-ID", propagate_to_context=True)
saga_factory = SagaFactory()


@app.post("/annotated")
async def annotated(saga: Annotated[OrderSaga, Depends(saga_factory(OrderSaga))]) -> str:
    result = await saga.run({"order_id": "123"}, idempotency_key="k")
    run: SagaRun = result
    status: str = result.status.value
    return result.saga_id + status + str(run["key"])


@app.post("/default")
async def default(tasks: BackgroundTasks, saga: OrderSaga = Depends(saga_factory(OrderSaga))) -> str:
    return await run_saga_background(tasks, saga, {"order_id": "123"})


@app.post("/later")
async def later(start: Annotated[SagaStarter, Depends()]) -> list[str]:
    one: str = await start(OrderSaga, {"order_id": "1"})
    return [one, *await start.many(OrderSaga, [{"order_id": "2"}])]


@app.post("/sync")
def sync(start: Annotated[SagaStarter, Depends()]) -> str:
    return start.sync(OrderSaga, {"order_id": "1"})


app.dependency_overrides[saga_factory(OrderSaga)] = OrderSaga


async def caller(request: Request) -> str:
    return request.headers["X-User"]


async def may(request: Request, verb: Verb, subject: Subject) -> bool:
    return verb in ("list", "read") and subject.owner == await caller(request)


watched = FastAPI(lifespan=create_lifespan(worker=True), exception_handlers=problem_handlers)
routes = sagaz_router(authorize=may, actor=caller, shows=["order_id"], dependencies=[Depends(caller)])
orders = APIRouter(route_class=IdempotentRoute, dependencies=[Depends(Idempotent(OrderSaga, caller=caller))])


@orders.post("/orders")
async def repeatable(start: Annotated[SagaStarter, Depends()], request: Request) -> Response:
    return await routes.accepted(request, OrderSaga, await start(OrderSaga, {"order_id": "1"}, owner="ada"))


for router in (routes, orders, health_router()):
    watched.include_router(router)
"""

BAD = """
from fastapi_sagaz import Saga, SagaStarter, create_lifespan


async def wrong(saga: Saga, start: SagaStarter) -> None:
    result = await saga.run({})
    number: int = result.saga_id
    await start("OrderSaga", {})
    create_lifespan(workers=True)
"""


def check(tool: str, path) -> subprocess.CompletedProcess[str]:
    module = {"mypy": ["mypy", "--strict", "--cache-dir", str(path.parent / "cache")], "pyright": ["pyright"]}[tool]
    command = [sys.executable, "-m", *module, str(path)]
    if tool == "pyright":
        command += ["--pythonpath", sys.executable]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, cwd=path.parent)


@pytest.fixture(params=["mypy", "pyright"])
def tool(request) -> str:
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed here")
    return request.param


def test_a_users_application_checks(tool, tmp_path):
    path = tmp_path / "shop.py"
    path.write_text(GOOD)
    result = check(tool, path)
    assert result.returncode == 0, result.stdout + result.stderr


def test_mistakes_are_found(tool, tmp_path):
    path = tmp_path / "shop.py"
    path.write_text(BAD)
    output = check(tool, path).stdout
    for line in (7, 8, 9):
        assert f"shop.py:{line}:" in output, output
