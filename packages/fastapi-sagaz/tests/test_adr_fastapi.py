"""The FastAPI samples of ADR-028, as written but for the documented differences: import names, and two attributes."""

# ruff: noqa: B008 - defaults are FastAPI's own form

from contextlib import asynccontextmanager

from fastapi import BackgroundTasks, Depends, FastAPI
from sagaz import SagaConfig

from fastapi_sagaz import SagaContextMiddleware, SagaFactory, create_lifespan, get_config, run_saga_background


async def test_lifespan_with_a_config_and_without(serve, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for lifespan in (create_lifespan(SagaConfig.from_env()), create_lifespan()):
        app = FastAPI(lifespan=lifespan)

        @app.get("/ready")
        async def ready():
            return "yes"

        async with serve(app) as client:
            assert (await client.get("/ready")).json() == "yes"


async def test_lifespan_of_the_users_own_around_their_resources(serve):
    opened = []

    @asynccontextmanager
    async def lifespan(app: FastAPI):
        opened.append("in")
        yield
        opened.append("out")

    async with serve(FastAPI(lifespan=create_lifespan(lifespan=lifespan))):
        assert opened == ["in"]
    assert opened == ["in", "out"]


async def test_get_config_gives_a_saga_of_sagazs_own_engine_whose_run_is_a_plain_dict(serve, order_saga):
    OrderSaga = order_saga
    app = FastAPI(lifespan=create_lifespan())

    @app.post("/orders")
    async def create_order(config: SagaConfig = Depends(get_config)):
        saga = OrderSaga(config=config)
        result = await saga.run({"order_id": "123"})
        # Difference: an unbound saga's run returns sagaz's plain dict, which has no .saga_id and no .status.
        state = await config.storage.load_saga_state(result["saga_id"])
        return {"saga_id": result["saga_id"], "status": state["status"], "foreign": state["metadata"]["foreign"]}

    async with serve(app) as client:
        answer = (await client.post("/orders")).json()
    assert (answer["status"], answer["foreign"]) == ("completed", True)


async def test_saga_factory(serve, order_saga):
    OrderSaga = order_saga
    app = FastAPI(lifespan=create_lifespan())
    saga_factory = SagaFactory()

    @app.post("/orders")
    async def create_order(saga: OrderSaga = Depends(saga_factory(OrderSaga))):
        result = await saga.run({"order_id": "123"})
        return {"saga_id": result.saga_id, "status": result.status.value}

    async with serve(app) as client:
        answer = (await client.post("/orders")).json()
    assert answer["status"] == "completed"
    assert len(answer["saga_id"]) == 36


async def test_run_saga_background(serve, order_saga, until):
    OrderSaga = order_saga
    app = FastAPI(lifespan=create_lifespan())
    saga_factory = SagaFactory()

    @app.post("/orders")
    async def create_order(background_tasks: BackgroundTasks, saga: OrderSaga = Depends(saga_factory(OrderSaga))):
        # Returns immediately, saga runs in background
        saga_id = await run_saga_background(
            background_tasks,
            saga,
            context={"order_id": "123"},
        )
        return {"saga_id": saga_id, "status": "accepted"}

    @app.get("/orders/{saga_id}")
    async def order_status(saga_id: str, config: SagaConfig = Depends(get_config)):
        return await config.storage.load_saga_state(saga_id)

    async with serve(app) as client:
        answer = (await client.post("/orders")).json()
        assert answer["status"] == "accepted"

        async def completed():
            return (await client.get(f"/orders/{answer['saga_id']}")).json()["status"] == "completed"

        await until(completed)


async def test_request_context_middleware(serve, order_saga):
    OrderSaga = order_saga
    app = FastAPI(lifespan=create_lifespan())
    app.add_middleware(
        SagaContextMiddleware,
        header_name="X-Correlation-ID",  # Or "X-Request-ID"
        propagate_to_context=True,  # Add to saga context automatically
    )

    @app.post("/orders")
    async def create_order(saga: OrderSaga = Depends(SagaFactory()(OrderSaga))):
        return await saga.run({"order_id": "123"})

    async with serve(app) as client:
        answer = await client.post("/orders", headers={"X-Correlation-ID": "cart-7"})
    assert answer.headers["x-correlation-id"] == "cart-7"
    assert answer.json()["correlation_id"] == "cart-7"
