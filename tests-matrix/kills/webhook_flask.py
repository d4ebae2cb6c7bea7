"""The Flask application that is told of orders and payments by webhooks."""

from __future__ import annotations

from flask import Flask

from flask_sagaz import SagazExtension, webhook_blueprint
from kills.webhook_saga import SOURCES, WebhookOrder, held_wsgi

app = Flask(__name__)
SagazExtension(app, sagas=[WebhookOrder])
app.register_blueprint(webhook_blueprint(SOURCES))
app.wsgi_app = held_wsgi(app.wsgi_app)  # type: ignore[method-assign,assignment]


@app.get("/up")
def up() -> str:
    return ""
