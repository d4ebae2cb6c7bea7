"""An order application: sagas run inline, in the background and started for later.

Run it with ``flask --app main run`` in this folder; the README has requests to try.
"""

from __future__ import annotations

import os
import re
from typing import Any
from uuid import uuid4

from flask import Flask, request
from sagas import OrderSaga
from services import PaymentDeclinedError
from werkzeug.exceptions import UnprocessableEntity

from flask_sagaz import IdempotencyConflict, RunInterrupted, SagazExtension

# A file, so that runs survive a restart; SAGAZ_STORAGE_URL=postgresql://… is for several machines.
os.environ.setdefault("SAGAZ_STORAGE_URL", "sqlite:///orders.db")

ORDER_ID = re.compile(r"[A-Za-z0-9-]{1,40}")

app = Flask(__name__)
app.json.sort_keys = False  # type: ignore[attr-defined]

# worker=True: this process also resumes what an earlier one left, and runs what was started for later.
sagaz = SagazExtension(app, sagas=[OrderSaga], worker=True)


def read_order() -> dict[str, Any]:
    """Return what a customer sends, or refuse it."""
    match request.get_json():
        case {"order_id": str(order_id), "amount": int(amount)} if ORDER_ID.fullmatch(order_id) and amount > 0:
            return {"order_id": order_id, "amount": amount}
    raise UnprocessableEntity("Expected an order_id of letters, digits and hyphens, and a positive amount.")


@app.post("/orders")
def create_order() -> tuple[dict[str, Any], int]:
    """Run the saga now; the answer tells how it ended."""
    order, saga_id = read_order(), str(uuid4())
    saga = sagaz.create_saga(OrderSaga)
    try:
        run = sagaz.run_sync(saga, order, saga_id=saga_id)
    except PaymentDeclinedError as declined:
        # By now the stock has been released again.
        return {"detail": {"saga_id": saga_id, "reason": str(declined)}}, 402
    except RunInterrupted:
        # This server is shutting down, and a worker finishes the order.
        return {"detail": {"saga_id": saga_id, "reason": "the order is still being processed"}}, 503
    return {"saga_id": run.saga_id, "status": run.status.value, "parcel": run["parcel"]}, 201


@app.post("/orders/background")
def create_order_in_background() -> tuple[dict[str, Any], int]:
    """Answer at once; this process runs the saga meanwhile."""
    saga_id = sagaz.run_background(sagaz.create_saga(OrderSaga), read_order())
    return {"saga_id": saga_id, "status": "accepted"}, 202


@app.post("/orders/deferred")
def create_order_for_later() -> tuple[dict[str, Any], int]:
    """Answer at once; any worker runs the saga. The same Idempotency-Key means the same order."""
    key = request.headers.get("Idempotency-Key")
    try:
        saga_id = sagaz.start(OrderSaga, read_order(), idempotency_key=key)
    except IdempotencyConflict:
        return {"detail": "This Idempotency-Key was used for another order."}, 409
    return {"saga_id": saga_id, "status": "accepted"}, 202


@app.get("/orders/<saga_id>")
def read_order_state(saga_id: str) -> tuple[dict[str, Any], int]:
    """Tell how far an order is."""
    run = sagaz.load_saga_state(saga_id)
    if run is None:
        return {"detail": "There is no such order."}, 404
    return {
        "saga_id": saga_id,
        "order_id": run["context"]["order_id"],
        "status": run["status"],
        "error": run["metadata"]["error"],
        "steps": [f"{step['name']}: {step['status']}" for step in run["steps"]],
    }, 200
