"""Code on another event loop than the lifespan's: it works while that one runs, and is told so when it stands still."""

import asyncio
import threading
from types import SimpleNamespace

import pytest
from fastapi import BackgroundTasks, FastAPI
from starlette.requests import HTTPConnection

from fastapi_sagaz import (
    EventPublisher,
    RuntimeNotOpen,
    SagaStarter,
    create_lifespan,
    run_saga_background,
)
from fastapi_sagaz._app_state import open_app
from fastapi_sagaz._background_runs import parking
from sagaz_durable.runtime.bound_saga import bind


@pytest.fixture
def application(order_saga, storage_url):
    """An application whose lifespan was entered on the loop of a session-wide fixture, which stands still now."""
    settings = {"STORAGE_URL": storage_url, "BROKER_URL": "memory://"}
    app = FastAPI(lifespan=create_lifespan(settings, sagas=[order_saga]))
    lifespan = app.router.lifespan_context(app)
    with asyncio.Runner() as session:
        session.run(lifespan.__aenter__())
        yield SimpleNamespace(app=app, session=session)
        session.run(lifespan.__aexit__(None, None, None))


def uses(app, order_saga):
    connection = HTTPConnection({"type": "http", "app": app, "headers": []})
    saga = bind(open_app(app).runtime, order_saga)

    async def background():
        with parking(saga):
            return await run_saga_background(BackgroundTasks(), saga, {"order_id": 1})

    start, publish = SagaStarter(connection), EventPublisher(connection)
    return {
        "run": lambda: saga.run({"order_id": 1}),
        "start": lambda: start(order_saga, {"order_id": 1}),
        "many": lambda: start.many(order_saga, [{"order_id": 1}]),
        "sync": lambda: asyncio.to_thread(start.sync, order_saga, {"order_id": 1}),
        "background": background,
        "publish": lambda: publish("orders", {}),
    }


async def used(app, order_saga, use):
    """Use it where there is a loop: a saga's ``run`` is refused in synchronous code."""
    return await asyncio.wait_for(uses(app, order_saga)[use](), 30)


@pytest.mark.parametrize("use", ["run", "start", "many", "sync", "background", "publish"])
def test_a_loop_that_stands_still_is_an_error_that_names_the_loop_scope(use, application, order_saga):
    with asyncio.Runner() as test, pytest.raises(RuntimeNotOpen, match=r"not running.*loop_scope='session'"):
        test.run(used(application.app, order_saga, use))


@pytest.mark.parametrize("use", ["run", "start", "many", "sync"])
def test_a_loop_of_another_thread_works_while_the_lifespans_runs(use, application, order_saga):
    stop = asyncio.Event()
    thread = threading.Thread(target=application.session.run, args=(stop.wait(),))
    thread.start()
    runtime = open_app(application.app).runtime
    try:
        while not runtime.loop.is_running():
            thread.join(0.01)
        with asyncio.Runner() as test:
            assert test.run(used(application.app, order_saga, use))
    finally:
        runtime.loop.call_soon_threadsafe(stop.set)
        thread.join()
