"""Runs that are started for later, alone or in the caller's own transaction."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from fastapi_sagaz import (
    ContextValueError,
    Overloaded,
    SagaFactory,
    SagaStarter,
    create_lifespan,
)
from fastapi_sagaz._app_state import open_app

saga_factory = SagaFactory()


def runtime_of(app):
    return open_app(app).runtime


async def test_a_start_is_executed_by_a_worker(serve, order_saga, ended, ledger):
    app = FastAPI(lifespan=create_lifespan(worker=True))

    @app.post("/async")
    async def post(start: Annotated[SagaStarter, Depends()]):
        return await start(order_saga, {"order_id": 1})

    @app.post("/sync")
    def post_sync(start: Annotated[SagaStarter, Depends()]):
        return start.sync(order_saga, {"order_id": 2})

    @app.post("/many")
    async def post_many(start: Annotated[SagaStarter, Depends()]):
        return await start.many(order_saga, [{"order_id": n} for n in range(20)])

    async with serve(app) as client:
        ids = [(await client.post("/async")).json(), (await client.post("/sync")).json()]
        ids += (await client.post("/many")).json()
        assert len(set(ids)) == 22
        for saga_id in ids:
            assert (await ended(runtime_of(app), saga_id)).status == "completed"
    assert sorted(ledger) == ["charge"] * 22 + ["reserve"] * 22 + ["ship"] * 22


async def test_a_start_may_wait_for_its_time_and_has_one_run_for_a_key(serve, order_saga, storage_url):
    app = FastAPI(lifespan=create_lifespan({"STORAGE_URL": storage_url}))
    tomorrow = datetime.now(UTC) + timedelta(days=1)

    @app.post("/")
    async def post(start: Annotated[SagaStarter, Depends()]):
        return await start(order_saga, {"order_id": 1}, not_before=tomorrow, idempotency_key="k")

    @app.post("/sync")
    def post_sync(start: Annotated[SagaStarter, Depends()]):
        return start.sync(order_saga, {"order_id": 1}, not_before=tomorrow, idempotency_key="k")

    async with serve(app) as client:
        ids = {(await client.post("/")).json(), (await client.post("/sync")).json()}
        assert len(ids) == 1
        record = await runtime_of(app).store.load(ids.pop())
    assert record.status == "pending"
    assert record.available_at == tomorrow


@pytest.mark.parametrize(
    ("context", "path"),
    [
        ({"items": [1, 2, {"price": float("nan")}]}, r"items[2].price"),
        ({"saga_id": "x"}, "saga_id"),
        ({"__x": 1}, "__x"),
    ],
)
@pytest.mark.parametrize("way", ["run", "start", "sync", "many"])
async def test_what_a_store_would_bend_is_refused_before_anything_is_written(
    serve, order_saga, storage_url, context, path, way
):
    app = FastAPI(lifespan=create_lifespan({"STORAGE_URL": storage_url}))

    @app.post("/run")
    async def run(saga: Annotated[order_saga, Depends(saga_factory(order_saga))]):
        await saga.run(context)

    @app.post("/start")
    async def starts(start: Annotated[SagaStarter, Depends()]):
        await start(order_saga, context)

    @app.post("/sync")
    def sync(start: Annotated[SagaStarter, Depends()]):
        start.sync(order_saga, context)

    @app.post("/many")
    async def many(start: Annotated[SagaStarter, Depends()]):
        await start.many(order_saga, [{}, context])

    async with serve(app) as client:
        with pytest.raises(ContextValueError) as caught:
            await client.post(f"/{way}")
        assert caught.value.path == path
        assert sum((await runtime_of(app).store.stats()).counts.values()) == 0


@pytest.mark.parametrize("way", ["start", "sync", "many", "joined"])
async def test_starts_are_refused_while_as_many_runs_are_due_as_a_setting_allows(serve, order_saga, tmp_path, way):
    path = tmp_path / "shop.db"
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    app = FastAPI(lifespan=create_lifespan({"STORAGE_URL": f"sqlite:///{path}", "MAX_DUE": 2}))

    @app.exception_handler(Overloaded)
    async def later(request: Request, error: Overloaded):
        return JSONResponse({"detail": "Try again later."}, 503, {"Retry-After": str(error.retry_after)})

    @app.post("/start")
    async def starts(start: Annotated[SagaStarter, Depends()]):
        return await start(order_saga, {})

    @app.post("/sync")
    def sync(start: Annotated[SagaStarter, Depends()]):
        return start.sync(order_saga, {})

    @app.post("/many")
    async def many(start: Annotated[SagaStarter, Depends()]):
        return await start.many(order_saga, [{}])

    @app.post("/joined")
    async def joined(start: Annotated[SagaStarter, Depends()]):
        async with AsyncSession(engine) as session, session.begin():
            return await start(order_saga, {}, session=session)

    @app.post("/inline")
    async def inline(saga: Annotated[order_saga, Depends(saga_factory(order_saga))]):
        return (await saga.run({"order_id": 1})).status.value

    async with serve(app) as client:
        answers = [await client.post(f"/{way}") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 503]
        assert int(answers[-1].headers["Retry-After"]) > 0
        assert (await runtime_of(app).store.stats()).counts["pending"] == 2
        assert (await client.post("/inline")).json() == "completed"
    await engine.dispose()


@pytest.mark.parametrize("commits", [True, False])
async def test_a_start_joins_the_transaction_of_an_async_session(serve, order_saga, tmp_path, commits):
    path = tmp_path / "shop.db"
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    app = FastAPI(lifespan=create_lifespan({"STORAGE_URL": f"sqlite:///{path}"}))

    @app.post("/")
    async def post(start: Annotated[SagaStarter, Depends()]):
        async with AsyncSession(engine) as session:
            await session.execute(text("CREATE TABLE IF NOT EXISTS orders (id INTEGER)"))
            await session.execute(text("INSERT INTO orders VALUES (1)"))
            saga_id = await start(order_saga, {"order_id": 1}, session=session)
            await (session.commit() if commits else session.rollback())
        return saga_id

    async with serve(app) as client:
        saga_id = (await client.post("/")).json()
        record = await runtime_of(app).store.load(saga_id)
    await engine.dispose()
    assert (record is not None) is commits


async def test_a_sync_start_joins_the_transaction_of_a_session(serve, order_saga, tmp_path):
    path = tmp_path / "shop.db"
    engine = create_engine(f"sqlite:///{path}")
    app = FastAPI(lifespan=create_lifespan({"STORAGE_URL": f"sqlite:///{path}"}))

    @app.post("/{commits}")
    def post(commits: bool, start: Annotated[SagaStarter, Depends()]):
        with Session(engine) as session:
            session.execute(text("CREATE TABLE IF NOT EXISTS orders (id INTEGER)"))
            saga_id = start.sync(order_saga, {"order_id": 1}, session=session)
            (session.commit if commits else session.rollback)()
        return saga_id

    async with serve(app) as client:
        kept, lost = [(await client.post(f"/{commits}")).json() for commits in ("true", "false")]
        assert (await runtime_of(app).store.load(kept)).status == "pending"
        assert await runtime_of(app).store.load(lost) is None
    engine.dispose()
