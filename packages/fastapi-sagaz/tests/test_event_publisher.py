"""Events of the application's own: alone, or in the transaction of a session, and then at the broker."""

import json
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from fastapi_sagaz import EventPublisher, SagaContextMiddleware, SettingsError, create_lifespan
from fastapi_sagaz._app_state import open_app
from sagaz_integration_core.contract.events import EventFilter


def runtime_of(app):
    return open_app(app).runtime


async def topics(app):
    return [event.topic for event in await runtime_of(app).store.find_events(EventFilter())]


async def test_an_event_comes_to_the_broker_with_the_requests_correlation_id(serve):
    app = FastAPI(lifespan=create_lifespan({"BROKER_URL": "memory://"}))
    app.add_middleware(SagaContextMiddleware)

    @app.post("/async")
    async def post(publish: Annotated[EventPublisher, Depends()]):
        return await publish("orders.placed", {"order": 1}, key="order-1")

    @app.post("/sync")
    def post_sync(publish: Annotated[EventPublisher, Depends()]):
        return publish.sync("orders.placed", {"order": 2}, key="order-1")

    async with serve(app) as client:
        ids = [(await client.post(path, headers={"X-Correlation-ID": path[1:]})).json() for path in ("/async", "/sync")]
        runtime = runtime_of(app)
    messages = runtime.broker.get_messages("orders.placed")
    assert [message["headers"]["event_id"] for message in messages] == ids
    assert [message["headers"]["correlation_id"] for message in messages] == ["async", "sync"]
    assert [json.loads(message["message"])["payload"] for message in messages] == [{"order": 1}, {"order": 2}]


@pytest.mark.parametrize("commits", [True, False])
async def test_an_event_joins_the_transaction_of_an_async_session(serve, tmp_path, commits):
    path = tmp_path / "shop.db"
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    app = FastAPI(lifespan=create_lifespan({"STORAGE_URL": f"sqlite:///{path}", "BROKER_URL": "memory://"}))

    @app.post("/")
    async def post(publish: Annotated[EventPublisher, Depends()]):
        async with AsyncSession(engine) as session:
            await session.execute(text("CREATE TABLE IF NOT EXISTS orders (id INTEGER)"))
            await publish("orders.placed", {"order": 1}, session=session)
            await (session.commit() if commits else session.rollback())

    async with serve(app) as client:
        await client.post("/")
        assert await topics(app) == (["orders.placed"] if commits else [])
    await engine.dispose()


async def test_a_sync_event_joins_the_transaction_of_a_session(serve, tmp_path):
    path = tmp_path / "shop.db"
    engine = create_engine(f"sqlite:///{path}")
    app = FastAPI(lifespan=create_lifespan({"STORAGE_URL": f"sqlite:///{path}", "BROKER_URL": "memory://"}))

    @app.post("/{commits}")
    def post(commits: bool, publish: Annotated[EventPublisher, Depends()]):
        with Session(engine) as session:
            session.execute(text("CREATE TABLE IF NOT EXISTS orders (id INTEGER)"))
            publish.sync(f"commits.{commits}", {}, session=session)
            (session.commit if commits else session.rollback)()

    async with serve(app) as client:
        for commits in ("true", "false"):
            await client.post(f"/{commits}")
        assert await topics(app) == ["commits.True"]
    engine.dispose()


async def test_without_a_broker_the_error_names_the_setting(serve):
    app = FastAPI(lifespan=create_lifespan())

    @app.post("/")
    async def post(publish: Annotated[EventPublisher, Depends()]):
        await publish("orders.placed", {})

    async with serve(app) as client:
        with pytest.raises(SettingsError, match="SAGAZ_BROKER_URL"):
            await client.post("/")
