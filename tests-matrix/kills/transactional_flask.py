"""A Flask application whose step and compensation are transactional, and which is killed at one of their statements.

``python -m kills.transactional_flask URL AT`` sends it an order; with AT = -1, it only ends what was left.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_sagaz import Saga, SagazExtension, action, compensate, effect
from kills.transactional import END, Killer

URL, AT = sys.argv[1], int(sys.argv[2])
app = Flask("till")
app.config.update(
    SQLALCHEMY_DATABASE_URI=URL.replace("postgresql:", "postgresql+psycopg:"),
    SAGAZ_STORAGE_URL=URL, SAGAZ_MIGRATE=True, SAGAZ_POLL_SECONDS=0.05,
)  # fmt: skip
db = SQLAlchemy(app)
killer = Killer(AT)


class Till(Saga):
    saga_name = "till"

    @action("charge")
    @effect("transactional")
    def charge(self, ctx: dict[str, Any]) -> dict[str, Any]:
        db.session.execute(sa.text("INSERT INTO charges VALUES ('book')"))
        return {"charged": "book"}

    @compensate("charge")
    @effect("transactional")
    def refund(self, ctx: dict[str, Any]) -> None:
        db.session.execute(sa.text("INSERT INTO refunds VALUES ('book')"))

    @action("ship", depends_on=["charge"])
    def ship(self, ctx: dict[str, Any]) -> None:
        raise ValueError("no truck")


sagaz = SagazExtension(app, sagas=[Till], worker=AT < 0, session_factory=db.session)


@app.post("/orders")
def order() -> tuple[str, int]:
    try:
        sagaz.run_sync(sagaz.create_saga(Till), {}, END)
    except ValueError as error:
        return str(error), 409
    return "", 200


@app.get("/orders")
def status() -> str:
    return sagaz.sagas.status_sync(END).run.status


with app.app_context():
    killer.watch(db.engine)
client = app.test_client()
if AT >= 0:
    client.post("/orders")
    sys.stdout.write(f"{killer.count}\n")
else:
    end = time.monotonic() + 40
    while client.get("/orders").text != "rolled_back":
        assert time.monotonic() < end
        time.sleep(0.05)
with app.app_context():
    sagaz.close()
    db.engine.dispose()
