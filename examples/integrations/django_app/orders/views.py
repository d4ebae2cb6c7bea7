"""Every way to start a saga: now, in a synchronous or asynchronous view, and with the database's transaction."""

from __future__ import annotations

import re
from typing import Any

from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from django_sagaz import (
    InvalidInput,
    RunFailed,
    RunInProgress,
    RunInterrupted,
    async_saga_factory,
    atomic_saga_start,
    create_saga,
    read_json,
    run_saga,
    saga_context,
    saga_id_of,
)
from django_sagaz.models import Run, Step
from orders.models import Order
from orders.sagas import OrderSaga
from orders.services import PaymentDeclinedError

# Bearer tokens are no cookies: nobody's browser sends them along by itself, so that CSRF needs no protection.


@csrf_exempt
@require_POST
def create_order(request: HttpRequest) -> JsonResponse:
    """Run the saga now; the answer tells how it ended. Sent again with its key, an order is not ordered again."""
    body, key = read_body(request), customers_key(request)
    saga_id = saga_id_of(OrderSaga, key)
    save_order(body)
    saga = create_saga(OrderSaga)
    try:
        run = run_saga(saga, body, idempotency_key=key)
    except PaymentDeclinedError as declined:
        # By now the stock has been released again.
        return refusal(402, saga_id, str(declined))
    except RunFailed:
        return refusal(409, saga_id, "this order has failed; order anew")
    except RunInProgress:
        return refusal(409, saga_id, "the order is still being processed")
    except RunInterrupted:
        # This server is shutting down, and a worker finishes the order.
        return refusal(503, saga_id, "the order is still being processed")
    return JsonResponse({"saga_id": run.saga_id, "status": run.status.value, "parcel": run["parcel"]}, status=201)


@csrf_exempt
@require_POST
async def create_order_async(request: HttpRequest) -> JsonResponse:
    """Do the same in an asynchronous view."""
    body, key = read_body(request), customers_key(request)
    saga_id = saga_id_of(OrderSaga, key)
    await Order.objects.aget_or_create(
        customer=body["customer"], number=body["order_id"], defaults={"amount": body["amount"]}
    )
    saga = await async_saga_factory(OrderSaga)
    try:
        run = await saga.run(body, idempotency_key=key)
    except PaymentDeclinedError as declined:
        return refusal(402, saga_id, str(declined))
    except RunFailed:
        return refusal(409, saga_id, "this order has failed; order anew")
    except RunInProgress:
        return refusal(409, saga_id, "the order is still being processed")
    except RunInterrupted:
        return refusal(503, saga_id, "the order is still being processed")
    return JsonResponse({"saga_id": run.saga_id, "status": run.status.value, "parcel": run["parcel"]}, status=201)


@csrf_exempt
@require_POST
def create_order_for_later(request: HttpRequest) -> JsonResponse:
    """Save the order and start its saga in one transaction; a worker runs it after the commit."""
    body, key = read_body(request), customers_key(request)
    with transaction.atomic():
        save_order(body)
        saga_id = atomic_saga_start(
            OrderSaga,
            context=body,
            connection=transaction.get_connection(),
            idempotency_key=key,
        )
    return JsonResponse({"saga_id": saga_id, "status": "accepted"}, status=202)


@csrf_exempt
@require_POST
@transaction.atomic
@saga_context
def create_order_decorated(request: HttpRequest) -> JsonResponse:
    """Do the same with decorators; the commit comes before the response is sent."""
    body, key = read_body(request), customers_key(request)
    save_order(body)
    saga = OrderSaga()
    saga_id = saga.run_deferred(body, idempotency_key=key)
    return JsonResponse({"saga_id": saga_id, "status": "accepted"}, status=202)


@csrf_exempt
@require_POST
def create_order_and_fail(request: HttpRequest) -> JsonResponse:
    """Roll back after the saga was started: neither the order nor its saga exist then."""
    body, key = read_body(request), customers_key(request)
    with transaction.atomic():
        save_order(body)
        saga_id = atomic_saga_start(OrderSaga, context=body, idempotency_key=key)
        transaction.set_rollback(True)
    return refusal(409, saga_id, "rolled back on purpose")


@require_GET
def read_order(request: HttpRequest, saga_id: str) -> JsonResponse:
    """Tell a customer how far an order is; what went wrong inside is for the log and the admin."""
    # No text of a database has NUL.
    run = None if "\0" in saga_id else Run.objects.filter(pk=saga_id).first()
    if run is None or run.context.get("customer") != request.customer:  # type: ignore[attr-defined]
        return JsonResponse({"detail": "There is no such order."}, status=404)
    return JsonResponse(
        {
            "saga_id": saga_id,
            "order_id": run.context["order_id"],
            "status": run.status,
            "steps": [
                f"{step.step} ({step.phase}): {step.status}"
                for step in Step.objects.filter(saga_id=saga_id).order_by("started_at")
            ],
        }
    )


def save_order(body: dict[str, Any]) -> None:
    """Keep the order; one that is sent again is kept once."""
    given = {"customer": body["customer"], "number": body["order_id"]}
    Order.objects.get_or_create(**given, defaults={"amount": body["amount"]})


def refusal(status: int, saga_id: str, reason: str) -> JsonResponse:
    """Return why an order was not, or not yet, made."""
    return JsonResponse({"detail": {"saga_id": saga_id, "reason": reason}}, status=status)


def customers_key(request: HttpRequest) -> str:
    """Return the key of a request: the customer's own, so that nobody can use up another's."""
    key = request.headers.get("Idempotency-Key", "")
    if not 0 < len(key) <= 100:
        raise InvalidInput("Expected an Idempotency-Key of 1 to 100 characters.")
    return f"{request.customer}:{key}"  # type: ignore[attr-defined]


def read_body(request: HttpRequest) -> dict[str, Any]:
    """Return the order that a request carries, and whose it is; nothing else of its body gets any further."""
    match read_json(request.body):
        case {"order_id": str(order_id), "amount": int(amount)} if amount is not True and 0 < amount < 2**31:
            if re.fullmatch(r"[A-Za-z0-9-]{1,40}", order_id):
                return {"order_id": order_id, "amount": amount, "customer": request.customer}  # type: ignore[attr-defined]
    raise InvalidInput("Expected an order_id of letters, digits and hyphens, and a positive amount.")
