"""The Flask sample of ADR-028, as written but for the names that are imported."""

from __future__ import annotations

import pytest

from flask_sagaz import Saga, action


class OrderSaga(Saga):
    @action("reserve")
    async def reserve(self, ctx):
        return {"reserved": ctx["order_id"]}


def test_the_sample_of_the_adr_runs_as_written(storage_url):
    from flask import Flask

    from flask_sagaz import SagazExtension

    app = Flask(__name__)
    sagaz = SagazExtension(app, storage_url=storage_url)

    @app.route("/orders", methods=["POST"])
    def create_order():
        saga = sagaz.create_saga(OrderSaga)
        # Note: Flask is sync, so we use sync wrapper
        result = sagaz.run_sync(saga, {"order_id": "123"})
        return {"saga_id": result.saga_id}

    answer = app.test_client().post("/orders")
    assert answer.status_code == 200
    with app.app_context():
        kept = sagaz.config.storage
        state = app.extensions["sagaz"].process().get().call(lambda: kept.load_saga_state(answer.json["saga_id"]))
        assert (state["status"], state["context"]["order_id"]) == ("completed", "123")
        sagaz.close()


@pytest.mark.parametrize("name", ["Saga", "action", "compensate", "current_step", "current_sagaz", "SagazExtension"])
def test_every_name_of_the_samples_is_there(name):
    import flask_sagaz

    assert name in flask_sagaz.__all__
    assert getattr(flask_sagaz, name) is not None
