"""What is easily written wrong, and what is said about it."""

import inspect
from typing import Annotated

import pytest
from fastapi import APIRouter, Depends, FastAPI

from fastapi_sagaz import (
    SagaDefinitionError,
    SagaFactory,
    SagaRun,
    SagaStarter,
    SettingsError,
    UsageError,
    create_lifespan,
)

saga_factory = SagaFactory()


@pytest.fixture
def app():
    return FastAPI(lifespan=create_lifespan({"STORAGE_URL": "memory://"}))


async def test_a_lifespan_without_parentheses_is_named(serve):
    with pytest.raises(SettingsError, match=r"expected FastAPI\(lifespan=create_lifespan\(\)\)"):
        async with serve(FastAPI(lifespan=create_lifespan)):
            pass


def test_a_factory_without_a_saga_is_named_where_the_endpoint_is_declared(app):
    with pytest.raises(UsageError, match=r"expected saga: OrderSaga = Depends\(saga_factory\(OrderSaga\)\)"):

        @app.get("/")
        async def endpoint(saga: Annotated[object, Depends(saga_factory)]): ...


@pytest.mark.parametrize("given", ["OrderSaga", "shop.sagas.OrderSaga", None, 3], ids=repr)
def test_a_saga_that_is_no_class_is_named(given):
    with pytest.raises(SagaDefinitionError, match=r"saga_factory\(OrderSaga\)"):
        saga_factory(given)


@pytest.mark.parametrize("given", ["OrderSaga", None], ids=repr)
def test_sagas_that_are_no_list_are_named(given):
    with pytest.raises(SagaDefinitionError, match="takes a list of classes"):
        create_lifespan(sagas=given)


@pytest.mark.parametrize("where", ["route", "nested", "included", "inclusion"])
async def test_a_saga_class_that_is_itself_a_dependency_keeps_the_application_from_starting(
    app, serve, order_saga, where
):
    def needs(saga: Annotated[object, Depends(order_saga)]): ...

    router = APIRouter()

    needed = {"nested": needs, "inclusion": list}.get(where, order_saga)

    @(router if where == "included" else app).get("/")
    async def endpoint(saga: Annotated[object, Depends(needed)]): ...

    @router.get("/other")
    async def other(): ...

    app.include_router(router, dependencies=[Depends(order_saga)] if where == "inclusion" else [])
    name = order_saga.__name__
    with pytest.raises(
        UsageError, match=rf"not durable. Expected saga: Annotated\[{name}, Depends\(saga_factory\({name}"
    ):
        async with serve(app):
            pass


async def test_an_endpoint_may_be_annotated_with_the_result_of_a_run(app, serve, order_saga):
    @app.post("/")
    async def endpoint(saga: Annotated[object, Depends(saga_factory(order_saga))]) -> SagaRun:
        return await saga.run({"order_id": 1})

    async with serve(app) as client:
        assert (await client.post("/")).json()["order_id"] == 1
    assert "$ref" not in str(app.openapi()["paths"]["/"]["post"]["responses"]["200"])


async def test_a_run_that_a_plain_endpoint_does_not_await_says_so(app, serve, order_saga):
    @app.get("/")
    def endpoint(saga: Annotated[object, Depends(saga_factory(order_saga))]):
        saga.run({})

    async with serve(app) as client:
        with pytest.raises(UsageError, match="Make the endpoint `async def`"):
            await client.get("/")


async def test_a_synchronous_start_in_a_coroutine_is_a_mistake_of_the_code_and_no_outage(app, serve, order_saga):
    @app.get("/")
    async def endpoint(start: Annotated[SagaStarter, Depends()]):
        start.sync(order_saga, {})

    async with serve(app) as client:
        with pytest.raises(UsageError, match="await the asynchronous form, whose name has no sync"):
            await client.get("/")


async def test_a_saga_that_is_given_by_its_name_is_named(app, serve):
    @app.get("/")
    async def endpoint(start: Annotated[SagaStarter, Depends()]):
        await start("OrderSaga", {})

    async with serve(app) as client:
        with pytest.raises(SagaDefinitionError, match="Pass the class itself"):
            await client.get("/")


def test_a_dependency_of_the_factory_has_a_signature_as_any_other(order_saga):
    assert list(inspect.signature(saga_factory(order_saga)).parameters) == ["connection"]


MODULE = """
from fastapi import FastAPI
from fastapi_sagaz import create_lifespan
app = FastAPI(lifespan=create_lifespan())
def make(name): return app
class Thing: ...
async def bare(scope, receive, send): raise ValueError(scope["type"])
def wsgi(environ, start_response): ...
"""


@pytest.fixture
def fastapi_sagaz(tmp_path, monkeypatch):
    """Runs a command inside this process, in a folder that has `MODULE`."""
    from click.testing import CliRunner

    from fastapi_sagaz.cli import main

    (tmp_path / "mistaken.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("SAGAZ_STORAGE_URL", f"sqlite:///{tmp_path}/sagas.db")

    def run(*words):
        done = CliRunner().invoke(main, words)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    return run


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("list", "mistaken"), "names no application"),
        (("list", "mistaken:"), "names no application"),
        (("list", "..:app"), "names no application"),
        (("list", "\udcff:app"), "names no application"),
        (("list", "missing:app"), "There is no module 'missing'"),
        (("list", "mistaken:nope"), "the module 'mistaken' has no 'nope'"),
        (("list", "mistaken:FastAPI"), "is the class 'FastAPI'"),
        (("list", "mistaken:wsgi"), "is the function 'wsgi'"),
        (("list", "mistaken:MODULE"), "has no 'MODULE'"),
        (("list", "mistaken:bare"), "does not know the ASGI lifespan protocol"),
        (("list", "mistaken:make", "--factory"), "without arguments"),
        (("check", "mistaken:app", "--max-age", "nan"), "expected a number of seconds"),
        (("check", "mistaken:app", "--max-age", "inf"), "expected a number of seconds"),
        (("check", "mistaken:app", "--max-failed", "1" + "0" * 20), "expected a whole number"),
        (("worker", "mistaken:app", "--concurrency", "1" + "0" * 20), "expected a whole number of runs"),
        (("list", "mistaken:app", "--runs", "--limit", "1" + "0" * 20), "expected a whole number"),
        (("events", "mistaken:app", "--limit", "0"), "expected a whole number"),
        (("events", "mistaken:app", "\udcff"), "characters that no text has"),
        (("prune", "mistaken:app", "--older-than", "999999d"), "before the year 1"),
        (("prune", "mistaken:app", "--older-than", "999999999d"), "before the year 1"),
        (("prune", "mistaken:app", "--older-than", "\udcff"), "is no age"),
        (("show", "mistaken:app", "\udcff\x1b[2J"), r"There is no run \udcff\x1b[2J"),
        (("retry", "mistaken:app", "a\nb", "--reason", "\udcff"), r"There is no run a\nb"),
        (("resolve", "mistaken:app", "a", "--as", "completed", "--reason", "\udcff", "--by", "\udcff"), "no run a"),
    ],
)
def test_what_a_command_cannot_use_is_told_in_one_message(fastapi_sagaz, words, told):
    code, said = fastapi_sagaz(*words)
    assert code in (1, 2)
    assert told in said
    assert "Traceback" not in said
