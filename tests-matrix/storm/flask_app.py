"""The Flask application of the storm, served by gunicorn and worked on by ``flask sagaz worker``."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from uuid import uuid4

from flask import Flask, Response, request

from flask_sagaz import RunInterrupted, RuntimeNotOpen, RunWaiting, SagazExtension, StoreUnavailable
from flask_sagaz.webhooks import webhook_blueprint
from storm.sagas import KNOWN, PlannedError, StormSaga, saga_of
from storm.webhooks import SOURCES, die_before_the_answer

app = Flask("storm")
sagaz = SagazExtension(app, sagas=KNOWN)
app.register_blueprint(webhook_blueprint(SOURCES))


@app.after_request
def die(response: Response) -> Response:
    die_before_the_answer(request.headers, response.status_code)
    return response


@app.errorhandler(StoreUnavailable)
@app.errorhandler(RuntimeNotOpen)
def unavailable(error: Exception) -> Any:
    return {"error": str(error)}, 503


@app.get("/up")
def up() -> str:
    return str(sagaz.config is not None)


@app.post("/inline")
def inline() -> Any:
    saga_id = str(uuid4())
    # It ended as planned, waits, or goes on elsewhere: recorded in each case.
    with suppress(PlannedError, RunInterrupted, RunWaiting):
        sagaz.run_sync(sagaz.create_saga(StormSaga), request.get_json(), saga_id=saga_id)
    return {"saga_id": saga_id}


@app.post("/background")
def background() -> Any:
    saga = sagaz.create_saga(StormSaga)
    return {"saga_id": sagaz.run_background(saga, request.get_json(), idempotency_key=_key())}, 202


@app.post("/deferred")
def deferred() -> Any:
    context = request.get_json()
    return {"saga_id": sagaz.start(saga_of(context), context, idempotency_key=_key())}, 202


@app.post("/signal")
def signal() -> Any:
    given = request.get_json()
    return {"new": sagaz.send_signal("go", given["payload"], key=given["key"], signal_id=given["signal_id"])}


def _key() -> str:
    return request.headers["Idempotency-Key"]
