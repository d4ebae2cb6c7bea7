"""Where create_lifespan takes its configuration from, and what it refuses."""

import pytest
import sagaz
from fastapi import FastAPI
from sagaz import SagaConfig
from sagaz.core.storage import InMemorySagaStorage
from starlette.requests import HTTPConnection

from fastapi_sagaz import (
    Settings,
    SettingsError,
    create_lifespan,
    liveness,
    readiness,
)
from fastapi_sagaz._app_state import open_app


def runtime_of(app):
    return open_app(app).runtime


async def test_settings_come_from_the_environment_by_default(monkeypatch, storage_url):
    monkeypatch.setenv("SAGAZ_STORAGE_URL", storage_url)
    app = FastAPI()
    async with create_lifespan()(app):
        assert runtime_of(app).store.kind == "sqlite"


async def test_a_mapping_is_completed_by_the_environment(monkeypatch, storage_url):
    monkeypatch.setenv("SAGAZ_STORAGE_URL", "memory://")
    monkeypatch.setenv("SAGAZ_CONCURRENCY", "3")
    app = FastAPI()
    async with create_lifespan({"STORAGE_URL": storage_url})(app):
        assert runtime_of(app).store.kind == "sqlite"
        assert runtime_of(app).settings.concurrency == 3


async def test_settings_are_taken_as_they_are(storage_url):
    app = FastAPI()
    async with create_lifespan(Settings(storage_url=storage_url))(app):
        assert runtime_of(app).store.kind == "sqlite"


async def test_what_was_given_to_sagaz_configure_is_used(monkeypatch):
    config = SagaConfig(storage=InMemorySagaStorage(), metrics=False)
    monkeypatch.setattr("sagaz.core.config._global_config", None)
    sagaz.configure(config)
    app = FastAPI()
    async with create_lifespan()(app):
        assert runtime_of(app).config.metrics is False


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"STORAGE_ULR": "memory://"}, r'config\["STORAGE_ULR"\].*did you mean config\["STORAGE_URL"\]'),
        ({"STORAGE_URL": "mysql://me:secret@db/x"}, r"mysql://…: mysql keeps runs only"),
        ("sqlite:///sagas.db", "was given a str"),
        (create_lifespan, r"create_lifespan\(lifespan=…\)"),
    ],
)
async def test_a_wrong_config_is_one_error_at_start_up(config, message):
    with pytest.raises(SettingsError, match=message) as caught:
        async with create_lifespan(config)(FastAPI()):
            pytest.fail("it started")
    assert "secret" not in str(caught.value)


async def test_a_router_that_is_served_by_itself_is_refused():
    with pytest.raises(SettingsError, match="needs an application"):
        create_lifespan()(None)


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


async def test_what_is_given_as_true_and_has_no_use_yet_is_one_warning(caplog):
    config = {"STORAGE_URL": "memory://", "METRICS": True, "TRACING": "yes"}
    async with create_lifespan(config)(FastAPI()):
        pass
    [told] = warnings_of(caplog)
    assert "SAGAZ_METRICS and SAGAZ_TRACING: accepted, and without use yet: metrics are counted" in told
    assert "no span is made" in told


async def test_a_memory_store_that_nobody_chose_is_one_warning(caplog):
    async with create_lifespan()(FastAPI()):
        pass
    [told] = warnings_of(caplog)
    assert "no setting says where to keep them. Set SAGAZ_STORAGE_URL" in told


@pytest.mark.parametrize("given", [{"STORAGE_URL": "memory://"}, {"STORAGE_URL": "memory://", "METRICS": False}])
async def test_what_was_chosen_is_no_warning(caplog, given):
    async with create_lifespan(given)(FastAPI()):
        pass
    assert warnings_of(caplog) == []


async def test_a_health_route_asks_whether_sagas_can_be_started_and_whether_work_is_done(storage_url):
    app = FastAPI()
    request = HTTPConnection({"type": "http", "app": app, "headers": []})
    assert "No sagaz runtime is open" in (await readiness(request)).problem
    assert not liveness(request)
    async with create_lifespan({"STORAGE_URL": storage_url})(app):
        assert await readiness(request)
        assert liveness(request)
