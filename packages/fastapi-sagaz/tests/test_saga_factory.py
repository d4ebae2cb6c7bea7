"""Bound sagas as dependencies of HTTP and WebSocket routes."""

import asyncio
from typing import Annotated

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, WebSocket
from sagaz import Saga, SagaConfig, action

from fastapi_sagaz import (
    IdempotencyConflict,
    SagaDefinitionError,
    SagaFactory,
    SagaStarter,
    create_lifespan,
    get_config,
)
from fastapi_sagaz._app_state import open_app

saga_factory = SagaFactory()


def runtime_of(app):
    return open_app(app).runtime


def test_dependencies_of_one_class_are_equal_and_hashable(order_saga, gated_saga):
    assert saga_factory(order_saga) == SagaFactory()(order_saga)
    assert {saga_factory(order_saga), saga_factory(order_saga)} == {saga_factory(order_saga)}
    assert saga_factory(order_saga) != saga_factory(gated_saga)


async def test_a_dependency_is_found_by_overrides(serve, order_saga):
    class Fake:
        async def run(self, context):
            return {"faked": context}

    app = FastAPI(lifespan=create_lifespan())

    @app.post("/")
    async def post(saga: Annotated[order_saga, Depends(saga_factory(order_saga))]):
        return await saga.run({"order_id": 1})

    app.dependency_overrides[saga_factory(order_saga)] = Fake
    async with serve(app) as client:
        assert (await client.post("/")).json() == {"faked": {"order_id": 1}}
        app.dependency_overrides.clear()
        assert (await client.post("/")).json()["parcel"] == 1


async def test_the_bound_saga_is_an_instance_of_the_users_class(serve, order_saga):
    app = FastAPI(lifespan=create_lifespan())

    @app.get("/")
    async def get(saga: Annotated[order_saga, Depends(saga_factory(order_saga))]):
        return [isinstance(saga, order_saga), type(saga) is order_saga]

    async with serve(app) as client:
        assert (await client.get("/")).json() == [True, True]


async def test_a_plain_endpoint_gets_a_bound_saga_too(serve, order_saga):
    app = FastAPI(lifespan=create_lifespan())

    @app.get("/")
    def get(saga: Annotated[order_saga, Depends(saga_factory(order_saga))]):
        return type(saga).__name__

    async with serve(app) as client:
        assert (await client.get("/")).json() == "OrderSaga"


async def test_one_bound_saga_runs_many_times_and_requests_do_not_share_one(serve, order_saga):
    app = FastAPI(lifespan=create_lifespan())

    @app.post("/{order}")
    async def post(order: int, saga: Annotated[order_saga, Depends(saga_factory(order_saga))]):
        runs = await asyncio.gather(*(saga.run({"order_id": f"{order}-{n}"}) for n in range(3)))
        return [run["reservation"] for run in runs]

    async with serve(app) as client:
        answers = await asyncio.gather(*(client.post(f"/{order}") for order in range(5)))
    assert [answer.json() for answer in answers] == [[f"r-{order}-{n}" for n in range(3)] for order in range(5)]


async def test_a_declined_payment_compensates_and_raises_the_steps_own_exception(serve, order_saga, ledger):
    app = FastAPI(lifespan=create_lifespan())

    @app.post("/")
    async def post(saga: Annotated[order_saga, Depends(saga_factory(order_saga))]):
        try:
            await saga.run({"order_id": 1, "decline": True})
        except ValueError as error:
            raise HTTPException(402, [str(error), *error.__notes__]) from error

    async with serve(app) as client:
        answer = await client.post("/")
    assert answer.status_code == 402
    assert answer.json()["detail"][0] == "card declined"
    assert "ended as rolled_back" in answer.json()["detail"][1]
    assert ledger == ["reserve", "charge", "release"]


async def test_an_idempotency_key_gives_one_run(serve, order_saga, ledger):
    app = FastAPI(lifespan=create_lifespan())

    @app.post("/{order}")
    async def post(order: int, saga: Annotated[order_saga, Depends(saga_factory(order_saga))]):
        return (await saga.run({"order_id": order}, idempotency_key="k")).saga_id

    async with serve(app) as client:
        first, second = [(await client.post("/1")).json() for _ in range(2)]
        with pytest.raises(IdempotencyConflict):
            await client.post("/2")
    assert first == second
    assert ledger == ["reserve", "charge", "ship"]


async def test_a_websocket_route_gets_a_bound_saga(serve, order_saga, websocket):
    app = FastAPI(lifespan=create_lifespan())

    @app.websocket("/ws")
    async def talk(socket: WebSocket, saga: Annotated[order_saga, Depends(saga_factory(order_saga))]):
        await socket.accept()
        run = await saga.run({"order_id": await socket.receive_text()})
        await socket.send_json(run)
        await socket.close()

    async with serve(app):
        messages = await websocket(app, "/ws", "77")
    assert '"reservation":"r-77"' in messages[1]["text"]


async def test_sagas_of_dependencies_are_registered_at_start_up(serve, order_saga, gated_saga):
    class Deep(Saga):
        @action("one")
        async def one(self, ctx):
            return {}

    class OnWebSocket(Saga):
        @action("one")
        async def one(self, ctx):
            return {}

    class Elsewhere(Saga):
        @action("one")
        async def one(self, ctx):
            return {}

    async def needs(saga: Annotated[Deep, Depends(saga_factory(Deep))]):
        return saga

    inner, outer = APIRouter(), APIRouter()

    @inner.get("/deep", dependencies=[Depends(needs)])
    async def deep():
        return None

    @inner.websocket("/ws")
    async def talk(socket: WebSocket, saga: Annotated[OnWebSocket, Depends(saga_factory(OnWebSocket))]):
        return None

    outer.include_router(inner, prefix="/inner")
    app = FastAPI(lifespan=create_lifespan(sagas=[gated_saga]))
    app.include_router(outer, dependencies=[Depends(saga_factory(order_saga))])
    mounted = FastAPI()

    @mounted.get("/")
    async def elsewhere(saga: Annotated[Elsewhere, Depends(saga_factory(Elsewhere))]):
        return None

    app.mount("/mounted", mounted)
    async with serve(app):
        names = [entry.name for entry in runtime_of(app).registry]
    assert names == ["Deep", "GatedSaga", "OnWebSocket", "OrderSaga"]


async def test_a_saga_that_cannot_run_as_written_fails_the_start_up(serve):
    class Wrong(Saga):
        @action("one", depends_on=["zero"])
        async def one(self, ctx):
            return {}

    app = FastAPI(lifespan=create_lifespan())

    @app.get("/")
    async def get(saga: Annotated[Wrong, Depends(saga_factory(Wrong))]):
        return None

    with pytest.raises(SagaDefinitionError, match="depends on 'zero'"):
        async with serve(app):
            pytest.fail("it started")


async def test_a_saga_that_needs_collaborators_is_built_by_its_factory(serve):
    class Needy(Saga):
        def __init__(self, bank):
            super().__init__()
            self.bank = bank

        @action("pay")
        async def pay(self, ctx):
            return {"bank": self.bank}

    app = FastAPI(lifespan=create_lifespan(sagas=[(Needy, lambda: Needy("First"))]))

    @app.post("/")
    async def post(saga: Annotated[Needy, Depends(saga_factory(Needy))]):
        return (await saga.run({}))["bank"]

    async with serve(app) as client:
        assert (await client.post("/")).json() == "First"


async def test_get_config_looks_up_every_kind_of_run(serve, order_saga, storage_url, ended):
    app = FastAPI(lifespan=create_lifespan({"STORAGE_URL": storage_url}, worker=True))

    @app.post("/")
    async def post(start: Annotated[SagaStarter, Depends()]):
        return await start(order_saga, {"order_id": 1})

    @app.get("/{saga_id}")
    async def get(saga_id: str, config: Annotated[SagaConfig, Depends(get_config)]):
        return await config.storage.load_saga_state(saga_id)

    async with serve(app) as client:
        saga_id = (await client.post("/")).json()
        await ended(runtime_of(app), saga_id)
        state = (await client.get(f"/{saga_id}")).json()
        assert (await client.get("/unknown")).json() is None
    assert state["status"] == "completed"
    assert [(step["name"], step["status"]) for step in state["steps"]] == [
        ("reserve", "completed"),
        ("charge", "completed"),
        ("ship", "completed"),
    ]
