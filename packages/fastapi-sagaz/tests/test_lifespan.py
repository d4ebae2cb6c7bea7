"""What create_lifespan opens, around what, and in which order."""

# ruff: noqa: B008 - defaults are FastAPI's own form

import asyncio
import logging
from contextlib import asynccontextmanager

import pytest
from fastapi import Depends, FastAPI, Request
from sagaz import Saga, SagaConfig, action

from fastapi_sagaz import (
    SagaFactory,
    SagaStarter,
    StoreUnavailable,
    create_lifespan,
    current_step,
    get_config,
)
from fastapi_sagaz._app_state import open_app
from sagaz_durable.sagas import Sagas


def runtime_of(app):
    return open_app(app).runtime


class StateSaga(Saga):
    @action("look")
    async def look(self, ctx):
        step = current_step()
        return {"pool": step.state.pool, "title": step.app.title}


def user_lifespan(events, state):
    @asynccontextmanager
    async def lifespan(app):
        events.append("in")
        yield state
        events.append("out")

    return lifespan


@pytest.mark.parametrize("state", [None, {}, {"pool": "p1"}])
async def test_the_users_state_is_passed_on_unchanged(state):
    events: list[str] = []
    app = FastAPI()
    async with create_lifespan(lifespan=user_lifespan(events, state))(app) as yielded:
        assert yielded is state
        assert events == ["in"]
    assert events == ["in", "out"]


async def test_without_a_lifespan_of_the_users_nothing_is_yielded():
    async with create_lifespan()(FastAPI()) as yielded:
        assert yielded is None


async def test_requests_and_steps_see_the_same_state(serve):
    app = FastAPI(title="shop", lifespan=create_lifespan(lifespan=user_lifespan([], {"pool": "p1"})))

    @app.post("/")
    async def post(request: Request, saga: StateSaga = Depends(SagaFactory()(StateSaga))):
        return {**(await saga.run({})), "request": request.state.pool}

    async with serve(app) as client:
        answer = (await client.post("/")).json()
    assert (answer["pool"], answer["title"], answer["request"]) == ("p1", "shop", "p1")


async def test_the_runtime_is_open_before_the_users_resources_and_closed_after_them():
    seen = []

    @asynccontextmanager
    async def lifespan(app):
        runtime = runtime_of(app)
        seen.append(runtime.is_open)
        yield
        seen.append(runtime.is_open)

    app = FastAPI()
    async with create_lifespan(lifespan=lifespan)(app):
        runtime = runtime_of(app)
    assert seen == [True, True]
    assert not runtime.is_open
    assert open_app(app) is None


async def test_runs_end_before_the_users_resources_are_taken_down(serve, gated_saga, gate, ledger):
    @asynccontextmanager
    async def lifespan(app):
        yield
        ledger.append("resources are gone")

    app = FastAPI(lifespan=create_lifespan(lifespan=lifespan, sagas=[gated_saga]))

    @app.post("/")
    async def post(start: SagaStarter = Depends()):
        return await start(gated_saga, {})

    async with serve(app) as client:
        await client.post("/")
        await gate.entered.wait()
        asyncio.get_running_loop().call_later(0.1, gate.open.set)
    assert ledger == ["wait", "done", "resources are gone"]


async def test_an_embedded_worker_executes_what_an_earlier_process_left(serve, storage_url, order_saga, ledger, ended):
    config = {"STORAGE_URL": storage_url}
    app = FastAPI(lifespan=create_lifespan(config))

    @app.post("/")
    async def post(start: SagaStarter = Depends()):
        return await start(order_saga, {"order_id": 1})

    async with serve(app) as client:
        saga_id = (await client.post("/")).json()
    assert ledger == []
    second = FastAPI(lifespan=create_lifespan(config, sagas=[order_saga], worker=True))
    async with serve(second):
        assert (await ended(runtime_of(second), saga_id)).status == "completed"
    assert ledger == ["reserve", "charge", "ship"]


async def test_an_embedded_worker_starts_only_when_the_resources_are_ready(serve, storage_url, ended):
    config = {"STORAGE_URL": storage_url}
    first = FastAPI(lifespan=create_lifespan(config))
    async with serve(first):
        saga_id = await Sagas(runtime_of(first)).start(StateSaga, {})

    @asynccontextmanager
    async def slow(app):
        await asyncio.sleep(0.3)
        yield {"pool": "slow"}

    app = FastAPI(lifespan=create_lifespan(config, lifespan=slow, sagas=[StateSaga], worker=True))
    async with serve(app):
        record = await ended(runtime_of(app), saga_id)
        assert record.status == "completed", record.error


async def test_a_runtime_that_cannot_be_opened_fails_the_start_up(serve, tmp_path):
    app = FastAPI(lifespan=create_lifespan({"STORAGE_URL": f"sqlite:///{tmp_path}/no/such/directory/sagas.db"}))
    with pytest.raises(StoreUnavailable, match="directory"):
        async with serve(app):
            pytest.fail("it started")
    assert open_app(app) is None


async def test_a_start_up_that_fails_in_the_users_own_part_closes_the_runtime(serve):
    seen = []

    @asynccontextmanager
    async def lifespan(app):
        seen.append(runtime_of(app))
        raise OSError("no cache here")
        yield

    app = FastAPI(lifespan=create_lifespan(lifespan=lifespan))
    with pytest.raises(OSError, match="no cache here"):
        async with serve(app):
            pytest.fail("it started")
    assert not seen[0].is_open
    assert open_app(app) is None


async def test_an_application_can_be_started_again(serve, order_saga):
    app = FastAPI(lifespan=create_lifespan())

    @app.post("/")
    async def post(saga: order_saga = Depends(SagaFactory()(order_saga))):
        return (await saga.run({"order_id": 1})).status.value

    for _ in range(2):
        async with serve(app) as client:
            assert (await client.post("/")).json() == "completed"


@pytest.mark.filterwarnings("ignore:.*generator function lifespans are deprecated")
async def test_every_form_of_lifespan_that_fastapi_takes_can_be_wrapped():
    async def generator(app):
        yield {"form": "async generator"}

    def plain(app):
        yield {"form": "generator"}

    for form in (generator, plain):
        async with create_lifespan(lifespan=form)(FastAPI()) as state:
            assert "generator" in state["form"]


async def test_log_records_carry_the_fields_while_the_application_runs(serve, caplog):
    caplog.set_level(logging.INFO)
    app = FastAPI(lifespan=create_lifespan())

    @app.get("/")
    async def get(config: SagaConfig = Depends(get_config)):
        logging.getLogger("shop").info("hello")
        return "ok"

    async with serve(app) as client:
        await client.get("/")
    [record] = [record for record in caplog.records if record.name == "shop"]
    assert record.correlation_id is None
