"""An order application: sagas run inline, in the background and started for later, each for its customer alone.

Run it with ``flask --app main run`` in this folder; the README has requests to try.
"""

from __future__ import annotations

import os
import re
from typing import Any

from customers import customer_of, may
from flask import Flask, Request, request
from flask.typing import ResponseReturnValue
from sagas import OrderSaga
from services import PAYMENTS_SECRET, PaymentDeclinedError
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from flask_sagaz import (
    InvalidInput,
    Overloaded,
    RunFailed,
    RunInProgress,
    RunInterrupted,
    RuntimeNotOpen,
    RunWaiting,
    SagazExtension,
    StoreUnavailable,
    Subject,
    Verb,
    idempotent,
    read_json,
)
from flask_sagaz.webhooks import StandardWebhooks, webhook_blueprint

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


def authorize(request: Request, verb: Verb, subject: Subject) -> bool:
    """Whether somebody may see a run, or decide about it."""
    return may(customer(), verb, subject.owner)


def actor(request: Request) -> str:
    """Return who decides."""
    return customer()


# Status, lists and decisions: /sagas, /sagas/{saga_id}, /sagas/{saga_id}/signal/approval …
routes = sagaz.blueprint(authorize=authorize, actor=actor, shows=["order_id", "amount", "parcel"])


@routes.before_request
def authenticate() -> None:
    """Turn away whoever is not signed in at all."""
    customer()


app.register_blueprint(routes)
app.register_blueprint(sagaz.health_blueprint())

# /webhooks/payments, where the payment provider tells of transfers; what it has signed needs no bearer token.
app.register_blueprint(webhook_blueprint({"payments": StandardWebhooks(PAYMENTS_SECRET)}))

# An order that is sent again with its Idempotency-Key, which is its customer's own, gets the answer that it got before.
once = idempotent(OrderSaga, caller=customer, location="/sagas/{saga_id}")


def ordered() -> dict[str, Any]:
    """Return what a customer sends, or refuse it."""
    match {"payment": "card"} | read_json(request.get_data()):
        case {"order_id": str(order_id), "amount": int(amount), "payment": "card" | "transfer" as payment}:
            if ORDER_ID.fullmatch(order_id) and amount is not True and 0 < amount < 2**31:
                return {"order_id": order_id, "amount": amount, "payment": payment}
    raise InvalidInput("Expected an order_id of letters, digits and hyphens, a positive amount, and a way to pay.")


@app.post("/orders")
@once
def create_order() -> ResponseReturnValue:
    """Run the saga now; the answer tells how it ended, or where its status is."""
    try:
        run = sagaz.run_sync(sagaz.create_saga(OrderSaga), ordered(), owner=customer())
    except RunWaiting as waiting:
        # The payment provider, or a manager, has to answer first, and no process waits for them.
        return routes.accepted(OrderSaga, waiting.saga_id)
    except PaymentDeclinedError as declined:
        # By now the stock has been released again.
        return {"detail": str(declined)}, 402
    except RunFailed:
        return {"detail": "This order has failed: order anew."}, 409
    except (RunInProgress, RunInterrupted):
        # The server that had it was stopped, and a worker finishes the order.
        return {"detail": "The order is being processed."}, 503, {"Retry-After": "1"}
    return {"saga_id": run.saga_id, "status": run.status.value, "parcel": run["parcel"]}, 201


@app.post("/orders/background")
@once
def create_order_in_background() -> ResponseReturnValue:
    """Answer at once; this process runs the saga meanwhile."""
    saga_id = sagaz.run_background(sagaz.create_saga(OrderSaga), ordered(), owner=customer())
    return routes.accepted(OrderSaga, saga_id)


@app.post("/orders/deferred")
@once
def create_order_for_later() -> ResponseReturnValue:
    """Answer at once; any worker runs the saga."""
    return routes.accepted(OrderSaga, sagaz.start(OrderSaga, ordered(), owner=customer()))


# What the client caused is answered with 4xx, and what passes by itself with 503.


@app.errorhandler(InvalidInput)
def invalid_input(error: InvalidInput) -> ResponseReturnValue:
    """Refuse what cannot be recorded."""
    return {"detail": str(error)}, 422


@app.errorhandler(StoreUnavailable)
@app.errorhandler(RuntimeNotOpen)
@app.errorhandler(Overloaded)
def try_later(error: Exception) -> ResponseReturnValue:
    """Nothing was recorded."""
    return {"detail": "Try again later."}, 503, {"Retry-After": "5"}
