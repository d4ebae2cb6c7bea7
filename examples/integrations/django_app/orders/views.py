"""Every way to start a saga: now, in a synchronous or asynchronous view, and with the database's transaction."""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import uuid4

from django.core.exceptions import BadRequest
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from django_sagaz import (
    IdempotencyConflict,
    RunInterrupted,
    async_saga_factory,
    atomic_saga_start,
    create_saga,
    run_saga,
    saga_context,
)
from django_sagaz.models import Run, Step
from orders.models import Order
from orders.sagas import OrderSaga
from orders.services import PaymentDeclinedError


@csrf_exempt
@require_POST
def create_order(request: HttpRequest) -> JsonResponse:
    """Run the saga now; the answer tells how it ended."""
    body, saga_id = read_body(request), str(uuid4())
    save_order(body)
    saga = create_saga(OrderSaga)
    try:
        run = run_saga(saga, body, saga_id=saga_id)
    except PaymentDeclinedError as declined:
        # By now the stock has been released again.
        return JsonResponse({"detail": {"saga_id": saga_id, "reason": str(declined)}}, status=402)
    except RunInterrupted:
        # This server is shutting down, and a worker finishes the order.
        return still_in_progress(saga_id)
    return JsonResponse({"saga_id": run.saga_id, "status": run.status.value, "parcel": run["parcel"]}, status=201)


@csrf_exempt
@require_POST
async def create_order_async(request: HttpRequest) -> JsonResponse:
    """Do the same in an asynchronous view."""
    body, saga_id = read_body(request), str(uuid4())
    await Order.objects.aget_or_create(number=body["order_id"], defaults={"amount": body["amount"]})
    saga = await async_saga_factory(OrderSaga)
    try:
        run = await saga.run(body, saga_id=saga_id)
    except PaymentDeclinedError as declined:
        return JsonResponse({"detail": {"saga_id": saga_id, "reason": str(declined)}}, status=402)
    except RunInterrupted:
        return still_in_progress(saga_id)
    return JsonResponse({"saga_id": run.saga_id, "status": run.status.value, "parcel": run["parcel"]}, status=201)


@csrf_exempt
@require_POST
def create_order_for_later(request: HttpRequest) -> JsonResponse:
    """Save the order and start its saga in one transaction; a worker runs it after the commit.

    The same Idempotency-Key means the same saga.
    """
    body, key = read_body(request), request.headers.get("Idempotency-Key")
    if key is not None and not 0 < len(key) <= 200:
        raise BadRequest("Idempotency-Key: 1 to 200 characters")
    try:
        with transaction.atomic():
            save_order(body)
            saga_id = atomic_saga_start(
                OrderSaga,
                context=body,
                connection=transaction.get_connection(),
                idempotency_key=key,
            )
    except IdempotencyConflict:
        return JsonResponse({"detail": "This Idempotency-Key was used for another order."}, status=409)
    return JsonResponse({"saga_id": saga_id, "status": "accepted"}, status=202)


@csrf_exempt
@require_POST
@transaction.atomic
@saga_context
def create_order_decorated(request: HttpRequest) -> JsonResponse:
    """Do the same with decorators; the commit comes before the response is sent."""
    body = read_body(request)
    save_order(body)
    saga = OrderSaga()
    saga_id = saga.run_deferred(body)
    return JsonResponse({"saga_id": saga_id, "status": "accepted"}, status=202)


@csrf_exempt
@require_POST
def create_order_and_fail(request: HttpRequest) -> JsonResponse:
    """Roll back after the saga was started: neither the order nor its saga exist then."""
    body = read_body(request)
    with transaction.atomic():
        save_order(body)
        saga_id = atomic_saga_start(OrderSaga, context=body)
        transaction.set_rollback(True)
    return JsonResponse({"detail": {"saga_id": saga_id, "reason": "rolled back on purpose"}}, status=409)


@require_GET
def read_order(request: HttpRequest, saga_id: str) -> JsonResponse:
    """Tell how far an order is: runs and their journals are models like any other."""
    run = Run.objects.filter(pk=saga_id).first()
    if run is None:
        return JsonResponse({"detail": "There is no such order."}, status=404)
    return JsonResponse(
        {
            "saga_id": saga_id,
            "order_id": run.context["order_id"],
            "status": run.status,
            "error": run.error,
            "steps": [
                f"{step.step} ({step.phase}): {step.status}"
                for step in Step.objects.filter(saga_id=saga_id).order_by("started_at")
            ],
        }
    )


def save_order(body: dict[str, Any]) -> None:
    """Keep the order; one that is sent again is kept once."""
    Order.objects.get_or_create(number=body["order_id"], defaults={"amount": body["amount"]})


def still_in_progress(saga_id: str) -> JsonResponse:
    return JsonResponse({"detail": {"saga_id": saga_id, "reason": "the order is still being processed"}}, status=503)


def read_body(request: HttpRequest) -> dict[str, Any]:
    """Return the order that a request carries; nothing else of its body gets any further."""
    try:
        match json.loads(request.body):
            case {"order_id": str(order_id), "amount": int(amount)} if amount is not True and 0 < amount < 2**31:
                if re.fullmatch(r"[A-Za-z0-9-]{1,40}", order_id):
                    return {"order_id": order_id, "amount": amount}
    except ValueError as error:
        raise BadRequest("expected JSON") from error
    raise BadRequest("order_id: 1 to 40 letters, digits and hyphens; amount: a positive whole number")
