"""The Flask application of the storm, served by gunicorn and worked on by ``flask sagaz worker``."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from uuid import uuid4

from flask import Flask, request

from flask_sagaz import RunInterrupted, RuntimeNotOpen, SagazExtension, StoreUnavailable
from storm.sagas import KNOWN, PlannedError, StormSaga, saga_of

app = Flask("storm")
sagaz = SagazExtension(app, sagas=KNOWN)


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
    with suppress(PlannedError, RunInterrupted):  # It ended as planned, or goes on elsewhere: recorded in either case.
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


def _key() -> str:
    return request.headers["Idempotency-Key"]
