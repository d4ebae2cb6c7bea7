"""Endpoints that clients may repeat: what is refused at set-up, and what sessions and endpoints they may have."""

# Without `from __future__ import annotations`: FastAPI finds no names for strings in functions that make endpoints.

import sqlite3
from typing import Annotated, Any
from uuid import uuid4

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException
from pydantic import BaseModel
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from fastapi_sagaz import Idempotent, IdempotentRoute, Saga, SagaStarter, UsageError, action, create_lifespan

pytestmark = pytest.mark.anyio

KEY = {"Idempotency-Key": "k-1"}


class PaySaga(Saga):
    @action("pay")
    async def pay(self, ctx: dict) -> dict:
        return {}


Start = Annotated[SagaStarter, Depends()]


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'shop.db'}"


def app_with(router: APIRouter, url: str) -> FastAPI:
    app = FastAPI(lifespan=create_lifespan({"STORAGE_URL": url}))
    app.include_router(router)
    return app


def test_an_endpoint_that_could_be_executed_twice_is_refused_by_name():
    router = APIRouter(route_class=IdempotentRoute)
    with pytest.raises(UsageError, match=r"/orders \(.*create\) is to be idempotent, and neither starts a saga nor"):

        @router.post("/orders", dependencies=[Depends(Idempotent(caller=None))])
        async def create() -> None: ...


async def test_a_route_of_another_class_is_told_which_one_it_needs(serve, url):
    router = APIRouter()

    @router.post("/orders", dependencies=[Depends(Idempotent(PaySaga, caller=None))])
    async def create() -> None: ...

    async with serve(app_with(router, url)) as client:
        with pytest.raises(UsageError, match=r"/orders depends on .* APIRouter\(route_class=IdempotentRoute"):
            await client.post("/orders", headers=KEY)


async def test_other_endpoints_of_the_router_are_as_they_would_be_without_it(serve, url):
    router = APIRouter(route_class=IdempotentRoute)

    @router.post("/plain")
    async def plain() -> str:
        return uuid4().hex

    async with serve(app_with(router, url)) as client:
        first, again = [await client.post("/plain", headers=KEY) for _ in range(2)]
    assert first.json() != again.json()


class Shown(BaseModel):
    id: str


async def test_a_response_model_and_a_plain_endpoint_are_answered_again_byte_by_byte(serve, url):
    router = APIRouter(route_class=IdempotentRoute)

    @router.post("/orders", status_code=201, response_model=Shown, dependencies=[Depends(_paid())])
    def create(start: Start) -> dict[str, Any]:
        return {"id": start.sync(PaySaga, {}), "secret": uuid4().hex}

    async with serve(app_with(router, url)) as client:
        first, again = [await client.post("/orders", headers=KEY) for _ in range(2)]
    assert (first.status_code, set(first.json())) == (201, {"id"})
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"


def _paid() -> Idempotent:
    return Idempotent(PaySaga, caller=None)


async def test_an_endpoint_without_a_required_key_is_executed_as_often_as_it_comes(serve, url):
    router = APIRouter(route_class=IdempotentRoute)

    @router.post("/orders", dependencies=[Depends(Idempotent(PaySaga, caller=None, required=False))])
    async def create(start: Start) -> str:
        return await start(PaySaga, {})

    async with serve(app_with(router, url)) as client:
        without = {(await client.post("/orders")).json() for _ in range(2)}
        with_key = {(await client.post("/orders", headers=KEY)).json() for _ in range(2)}
    assert (len(without), len(with_key)) == (2, 1)


def test_the_openapi_description_has_the_header(url):
    router = APIRouter(route_class=IdempotentRoute)
    router.post("/orders", dependencies=[Depends(_paid())])(lambda: None)
    [parameter] = app_with(router, url).openapi()["paths"]["/orders"]["post"]["parameters"]
    assert (parameter["name"], parameter["in"], parameter["required"]) == ("idempotency-key", "header", False)


@pytest.mark.parametrize("scope", ["function", "request"])
@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_an_endpoint_that_starts_no_saga_keeps_its_answer_with_its_rows(serve, kind, scope, url, tmp_path):
    app, refused = _ledger(kind, scope, url)
    async with serve(app) as client:
        first, again = [await client.post("/entries", headers=KEY) for _ in range(2)]
        assert (first.status_code, again.content) == (200, first.content)
        assert (await client.post("/refused", headers={"Idempotency-Key": "k-2"})).status_code == 418
        assert (await client.post("/refused", headers={"Idempotency-Key": "k-2"})).status_code == 418
    assert refused == ["called", "called"], "what an endpoint raises is rolled back, and its key is free"
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        rows = connection.execute("SELECT id FROM entry").fetchall()
    connection.close()
    assert rows == [(first.json(),)]


def _ledger(kind: str, scope: Any, url: str) -> tuple[FastAPI, list[str]]:
    """Make an application with a table of its own, written by a session of this kind."""
    engine, called = create_engine(url, poolclass=NullPool), []
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE entry (id TEXT)"))

    async def async_session():
        engine = create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:"), poolclass=NullPool)
        async with AsyncSession(engine) as session:
            yield session

    def sync_session():
        with Session(engine) as session:
            yield session

    given = Depends(async_session if kind == "async" else sync_session, scope=scope)
    once = Depends(Idempotent(caller=None, session=given))
    router = APIRouter(route_class=IdempotentRoute)

    async def add(session: Any) -> str:
        id_ = uuid4().hex
        added = session.execute(text("INSERT INTO entry VALUES (:id)"), {"id": id_})
        if kind == "async":
            await added
        return id_

    @router.post("/entries", dependencies=[once])
    async def create(session: Annotated[Any, given]) -> str:
        return await add(session)

    @router.post("/refused", dependencies=[once])
    async def refuse(session: Annotated[Any, given]) -> None:
        called.append("called")
        await add(session)
        raise HTTPException(418)

    return app_with(router, url), called
