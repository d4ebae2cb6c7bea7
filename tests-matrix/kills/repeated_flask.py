"""The Flask application whose clients repeat their orders."""

from __future__ import annotations

import os
import threading
from typing import Any

from flask import Flask, request
from sagaz import Saga, action

from flask_sagaz import SagazExtension, idempotent
from kills.holding import is_held


class Order(Saga):
    @action("reserve")
    async def reserve(self, ctx: dict[str, Any]) -> None: ...


app = Flask(__name__)
sagaz = SagazExtension(app, sagas=[Order])


@app.get("/up")
def up() -> str:
    return ""


@app.post("/orders")
@idempotent(Order, caller=None, location="/orders/{saga_id}")
def create() -> Any:
    saga_id = sagaz.start(Order, request.get_json())
    if is_held():
        threading.Event().wait()
    return {"saga_id": saga_id, "pid": os.getpid()}, 202
