"""When settings are read: at their first use, so that those that follow the extension count, and late ones are told."""

from __future__ import annotations

import pytest
from flask import Flask, g

from flask_sagaz import SagazExtension, SettingsError


@pytest.fixture
def made(tmp_path, OrderSaga):
    """An application as a module makes it, for a file in production."""
    app = Flask("shop")
    app.config["SAGAZ_STORAGE_URL"] = f"sqlite:///{tmp_path / 'production.db'}"
    sagaz = SagazExtension(app, sagas=[OrderSaga])

    @app.post("/orders")
    def order():
        return {"saga_id": sagaz.start(OrderSaga, {"order_id": "A1"}), "id": g.correlation_id}

    @app.get("/")
    def index():
        return {"id": g.correlation_id}

    yield app, sagaz
    with app.app_context():
        sagaz.close()


def test_flasks_testing_recipe_keeps_tests_out_of_production(made, tmp_path, record_of):
    app, _ = made
    app.config.update(TESTING=True, SAGAZ_STORAGE_URL="memory://")
    saga_id = app.test_client().post("/orders").json["saga_id"]
    assert record_of(app, saga_id).saga_id == saga_id
    assert list(tmp_path.iterdir()) == []


def test_commands_see_settings_that_follow_the_extension(made, tmp_path):
    app, _ = made
    app.config["SAGAZ_STORAGE_URL"] = f"sqlite:///{tmp_path / 'test.db'}"
    assert app.test_cli_runner().invoke(args=["sagaz", "list", "--runs"]).exit_code == 0
    assert [path.name for path in tmp_path.glob("*.db")] == ["test.db"]


def test_a_configuration_that_follows_the_extension_counts(OrderSaga, tmp_path, monkeypatch):
    app = Flask("shop")
    sagaz = SagazExtension(app)
    app.config.update(SAGAZ_HEADER_NAME="X-Request-ID", SAGAZ_STORAGE_URL=f"sqlite:///{tmp_path / 'shop.db'}")
    monkeypatch.setenv("SAGAZ_DRAIN_SECONDS", "3")
    assert "X-Request-ID" in app.test_client().get("/").headers
    with app.app_context():
        sagaz.start(OrderSaga, {"order_id": "A1"})
        assert app.extensions["sagaz"].settings.drain_seconds == 3
        sagaz.close()
    assert (tmp_path / "shop.db").exists()


def test_settings_may_change_until_a_runtime_is_open(OrderSaga, tmp_path):
    app = Flask("shop")
    sagaz = SagazExtension(app)
    app.test_client().get("/")
    app.config.update(SAGAZ_HEADER_NAME="X-Request-ID", SAGAZ_STORAGE_URL=f"sqlite:///{tmp_path / 'shop.db'}")
    with app.app_context():
        sagaz.start(OrderSaga, {"order_id": "A1"})
        sagaz.close()
    assert (tmp_path / "shop.db").exists()
    assert "X-Request-ID" in app.test_client().get("/").headers


def test_a_setting_that_changes_under_an_open_runtime_is_refused_by_name(made, OrderSaga, tmp_path):
    app, sagaz = made
    app.test_client().post("/orders")
    app.config.update(SAGAZ_STORAGE_URL=f"sqlite:///{tmp_path / 'test.db'}", SAGAZ_DRAIN_SECONDS=1)
    with app.app_context():
        for use in (lambda: sagaz.start(OrderSaga, {}), lambda: sagaz.create_saga(OrderSaga), lambda: sagaz.config):
            with pytest.raises(
                SettingsError, match=r"SAGAZ_STORAGE_URL, SAGAZ_DRAIN_SECONDS changed.*sagaz\.close\(\)"
            ):
                use()
        sagaz.close()
        sagaz.start(OrderSaga, {"order_id": "A1"})
    assert (tmp_path / "test.db").exists()


def test_a_setting_that_becomes_wrong_is_told_by_the_first_use(made):
    app, _ = made
    app.config["SAGAZ_STORAGE_ULR"] = "memory://"
    with pytest.raises(SettingsError, match="did you mean SAGAZ_STORAGE_URL"):
        app.test_client().get("/")


def test_a_late_storage_url_does_not_lose_to_the_argument_without_a_word(OrderSaga, tmp_path):
    app = Flask("shop")
    sagaz = SagazExtension(app, storage_url=f"sqlite:///{tmp_path / 'production.db'}")
    app.config.update(TESTING=True, SAGAZ_STORAGE_URL="memory://")
    with app.app_context(), pytest.raises(SettingsError, match=r"after SagazExtension\(storage_url=…\).*Keep one"):
        sagaz.start(OrderSaga, {})
    assert list(tmp_path.iterdir()) == []
