"""The blueprint of webhooks in Flask applications: what is taken, and that Flask-WTF leaves it alone."""

from __future__ import annotations

import io
import time

import flask_wtf.csrf
import pytest
from flask import Blueprint
from sagaz.core.triggers import trigger

from flask_sagaz import Saga, SettingsError, action, current_step
from flask_sagaz.webhooks import Delivery, Stripe, Unsigned, resumes, webhook_blueprint

SHOP = {"shop": Unsigned(delivery_member="id")}


class FlaskWebhook(Saga):
    saga_name = "flask-webhook"

    @trigger(source="shop", idempotency_key="order")
    def on_order(self, event):
        return {"order": event["order"]} if "order" in event else None

    @resumes("shop", signal="paid", key="payment")
    def on_paid(self, event):
        return {} if "payment" in event else None

    @action("pay")
    async def pay(self, ctx):
        await current_step().signal("paid", key=ctx["order"])


def taken(answer):
    assert (answer.status_code, answer.json) == (200, {"received": True}), answer.text


def test_events_start_and_resume_a_run(make_app, storage_url):
    app, sagaz = make_app(storage_url, sagas=[FlaskWebhook], worker=True)
    app.register_blueprint(webhook_blueprint(SHOP))
    client, deadline = app.test_client(), time.monotonic() + 20
    for _ in range(2):
        taken(client.post("/webhooks/shop", json={"id": "1", "order": "o1"}))
    taken(client.post("/webhooks/shop", json={"id": "2", "payment": "o1"}))
    with app.app_context():
        while [run.status for run in sagaz.sagas.list_runs_sync().runs] != ["completed"]:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_problems_are_documents(make_app):
    app, _ = make_app(config={"SAGAZ_MAX_WEBHOOK_BYTES": 4_096})
    app.register_blueprint(webhook_blueprint(SHOP, prefix="/hooks"))
    client = app.test_client()
    answer = client.post("/hooks/nobody", json={})
    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")
    assert client.post("/hooks/shop", data=b" " * 5_000).status_code == 413
    assert client.post("/hooks/shop", data=b"{", content_type="application/json").status_code == 422
    assert client.get("/hooks/shop").status_code == 405


def test_a_body_that_cannot_be_read_or_is_beyond_the_applications_limit_is_a_problem(make_app):
    app, _ = make_app()
    app.register_blueprint(webhook_blueprint(SHOP))
    cut = {"wsgi.input": io.BytesIO(b"{"), "CONTENT_LENGTH": "20"}
    answer = app.test_client().post("/webhooks/shop", environ_overrides=cut, content_type="application/json")
    assert (answer.status_code, answer.json["type"].rpartition("#")[2]) == (400, "body-unreadable")
    app.config["MAX_CONTENT_LENGTH"] = 10
    answer = app.test_client().post("/webhooks/shop", data=b" " * 20)
    assert (answer.status_code, answer.json["type"].rpartition("#")[2]) == (413, "body-too-large")


class Own:
    """A sender of another kind."""

    delivery_member = event_member = None

    def verify(self, headers, body, now):
        return Delivery(dict(headers)["X-Id"], None)


def test_a_sender_may_be_of_the_applications_own_kind(make_app):
    app, _ = make_app()
    app.register_blueprint(webhook_blueprint({"own": Own()}))
    taken(app.test_client().post("/webhooks/own", json={}, headers={"X-Id": "1"}))


def test_a_forged_webhook_is_refused(make_app):
    app, _ = make_app()
    app.register_blueprint(webhook_blueprint({"stripe": Stripe(["whsec_0123456789abcdef0123456789"])}))
    answer = app.test_client().post("/webhooks/stripe", json={}, headers={"Stripe-Signature": "t=1,v1=0"})
    assert answer.status_code == 400


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("nested", [True, False])
def test_flask_wtf_leaves_webhooks_alone_and_nothing_else(make_app, first, nested):
    app, _ = make_app(sagas=[FlaskWebhook])
    app.config["SECRET_KEY"] = "s"
    app.add_url_rule("/form", view_func=lambda: "ok", endpoint="form", methods=["POST"])
    hooks = webhook_blueprint(SHOP)
    if nested:
        outer = Blueprint("outer", __name__)
        outer.register_blueprint(hooks)
        hooks = outer
    if first:
        flask_wtf.csrf.CSRFProtect(app)
    app.register_blueprint(hooks)
    if not first:
        flask_wtf.csrf.CSRFProtect(app)
    client = app.test_client()
    taken(client.post("/webhooks/shop", json={"id": "1"}))
    assert client.post("/form").status_code == 400


def test_a_source_that_no_blueprint_takes_is_refused(make_app):
    app, sagaz = make_app(sagas=[FlaskWebhook])
    app.register_blueprint(webhook_blueprint({"bank": Unsigned()}))
    with app.app_context(), pytest.raises(SettingsError, match="is resumed by webhooks of 'shop'"):
        sagaz.start(FlaskWebhook, {})


@pytest.mark.parametrize("sources", [{}, {"shop": "secret"}])
def test_sources_that_are_none_are_refused(sources):
    with pytest.raises(SettingsError, match="expected"):
        webhook_blueprint(sources)
