"""Views that clients may repeat: what is refused at set-up, and what views they may be."""

from __future__ import annotations

from uuid import uuid4

import pytest
from flask import Flask, abort
from sagaz import Saga, action

from flask_sagaz import SagazExtension, UsageError, idempotent

KEY = {"Idempotency-Key": "k-1"}


class PaySaga(Saga):
    @action("pay")
    async def pay(self, ctx):
        return {}


@pytest.fixture
def app(tmp_path):
    app = Flask(__name__)
    sagaz = SagazExtension(app, storage_url=f"sqlite:///{tmp_path / 'shop.db'}")
    yield app
    with app.app_context():
        sagaz.close()


def test_a_view_that_could_be_executed_twice_is_refused_by_name():
    with pytest.raises(UsageError, match=r"\.create is to be idempotent, and neither starts a saga nor"):

        @idempotent(caller=None)
        def create(): ...


def test_a_view_returns_whatever_views_return_and_is_called_once(app):
    called = []

    @app.post("/orders/<kind>")
    @idempotent(PaySaga, caller=None)
    def create(kind):
        called.append(kind)
        return {"id": uuid4().hex, "kind": kind}, 201, {"X-Shop": "1"}

    with app.test_client() as client:
        first, again = (client.post("/orders/book", headers=KEY) for _ in range(2))
    assert (first.status_code, again.status_code, again.data) == (201, 201, first.data)
    assert (again.headers["X-Shop"], again.headers["Idempotent-Replayed"]) == ("1", "true")
    assert called == ["book"]


def test_what_a_view_aborts_with_is_not_kept(app):
    called = []

    @app.post("/orders")
    @idempotent(PaySaga, caller=None)
    def create():
        called.append(1)
        abort(418)

    with app.test_client() as client:
        assert [client.post("/orders", headers=KEY).status_code for _ in range(2)] == [418, 418]
    assert len(called) == 2


def test_a_caller_that_is_refused_claims_no_key(app):
    @app.post("/orders")
    @idempotent(PaySaga, caller=lambda: abort(401))
    def create():
        return "never"

    with app.test_client() as client:
        assert [client.post("/orders", headers=KEY).status_code for _ in range(2)] == [401, 401]
