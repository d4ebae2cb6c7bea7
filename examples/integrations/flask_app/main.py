"""An order application: sagas run inline, in the background and started for later, each for its customer alone.

Run it with ``flask --app main run`` in this folder; the README has requests to try.
"""

from __future__ import annotations

import os
import re
from typing import Any

from customers import customer_of
from flask import Flask, request
from sagas import OrderSaga
from services import PaymentDeclinedError
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import BadRequest, Unauthorized

from flask_sagaz import (
    IdempotencyConflict,
    InvalidInput,
    Overloaded,
    RunFailed,
    RunInProgress,
    RunInterrupted,
    RuntimeNotOpen,
    SagazExtension,
    StoreUnavailable,
    read_json,
    saga_id_of,
)

# A file, so that runs survive a restart; SAGAZ_STORAGE_URL=postgresql://… is for several machines.
os.environ.setdefault("SAGAZ_STORAGE_URL", "sqlite:///orders.db")

ORDER_ID = re.compile(r"[A-Za-z0-9-]{1,40}")

app = Flask(__name__)
app.json.sort_keys = False  # type: ignore[attr-defined]
app.config["MAX_CONTENT_LENGTH"] = 1_000_000

# worker=True: this process also resumes what an earlier one left, and runs what was started for later.
sagaz = SagazExtension(app, sagas=[OrderSaga], worker=True)


def customer() -> str:
    """Return who sends the request."""
    found = customer_of(request.headers.get("Authorization"))
    if found is None:
        raise Unauthorized("Who are you?", www_authenticate=WWWAuthenticate("bearer"))
    return found


def customers_key() -> str:
    """Return the key of a request: the customer's own, so that nobody can use up another's."""
    key = request.headers.get("Idempotency-Key", "")
    if not 0 < len(key) <= 100:
        raise BadRequest("Idempotency-Key: 1 to 100 characters")
    return f"{customer()}:{key}"


def ordered() -> dict[str, Any]:
    """Return what a customer sends, and who it is, or refuse it."""
    match read_json(request.get_data()):
        case {"order_id": str(order_id), "amount": int(amount)} if amount is not True and 0 < amount < 2**31:
            if ORDER_ID.fullmatch(order_id):
                return {"order_id": order_id, "amount": amount, "customer": customer()}
    raise InvalidInput("Expected an order_id of letters, digits and hyphens, and a positive amount.")


@app.post("/orders")
def create_order() -> tuple[dict[str, Any], int]:
    """Run the saga now; the answer tells how it ended. Sent again with its key, an order is not ordered again."""
    key = customers_key()
    saga_id, saga = saga_id_of(OrderSaga, key), sagaz.create_saga(OrderSaga)
    try:
        run = sagaz.run_sync(saga, ordered(), idempotency_key=key)
    except PaymentDeclinedError as declined:
        # By now the stock has been released again.
        return {"detail": {"saga_id": saga_id, "reason": str(declined)}}, 402
    except RunFailed:
        return {"detail": {"saga_id": saga_id, "reason": "this order has failed; order anew"}}, 409
    except RunInProgress:
        return {"detail": {"saga_id": saga_id, "reason": "the order is still being processed"}}, 409
    except RunInterrupted:
        # This server is shutting down, and a worker finishes the order.
        return {"detail": {"saga_id": saga_id, "reason": "the order is still being processed"}}, 503
    return {"saga_id": run.saga_id, "status": run.status.value, "parcel": run["parcel"]}, 201


@app.post("/orders/background")
def create_order_in_background() -> tuple[dict[str, Any], int]:
    """Answer at once; this process runs the saga meanwhile."""
    key = customers_key()
    saga_id = sagaz.run_background(sagaz.create_saga(OrderSaga), ordered(), idempotency_key=key)
    return {"saga_id": saga_id, "status": "accepted"}, 202


@app.post("/orders/deferred")
def create_order_for_later() -> tuple[dict[str, Any], int]:
    """Answer at once; any worker runs the saga."""
    key = customers_key()
    return {"saga_id": sagaz.start(OrderSaga, ordered(), idempotency_key=key), "status": "accepted"}, 202


@app.get("/orders/<saga_id>")
def read_order_state(saga_id: str) -> tuple[dict[str, Any], int]:
    """Tell a customer how far an order is; what went wrong inside is for the log."""
    who, run = customer(), sagaz.load_saga_state(saga_id)
    if run is None or run["context"].get("customer") != who:
        return {"detail": "There is no such order."}, 404
    return {
        "saga_id": saga_id,
        "order_id": run["context"]["order_id"],
        "status": run["status"],
        "steps": [f"{step['name']}: {step['status']}" for step in run["steps"]],
    }, 200


# What the client caused is answered with 4xx, and what passes by itself with 503.


@app.errorhandler(IdempotencyConflict)
def other_order(error: IdempotencyConflict) -> tuple[dict[str, Any], int]:
    """Refuse a key that was used before."""
    return {"detail": "This Idempotency-Key was used for another order."}, 422


@app.errorhandler(InvalidInput)
def invalid_input(error: InvalidInput) -> tuple[dict[str, Any], int]:
    """Refuse what cannot be recorded."""
    return {"detail": str(error)}, 422


@app.errorhandler(StoreUnavailable)
@app.errorhandler(RuntimeNotOpen)
@app.errorhandler(Overloaded)
def try_later(error: Exception) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Nothing was recorded."""
    return {"detail": "Try again later."}, 503, {"Retry-After": "5"}
