"""Every way to start a saga: with the database's transaction, now in an asynchronous view; and who may see it."""

from __future__ import annotations

import re
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from django_sagaz import (
    InvalidInput,
    RunFailed,
    RunInProgress,
    RunInterrupted,
    RunWaiting,
    Subject,
    Verb,
    async_saga_factory,
    atomic_saga_start,
    idempotent,
    read_json,
    saga_context,
    sagaz_urls,
)
from orders.customers import may
from orders.models import Order
from orders.sagas import OrderSaga
from orders.services import PaymentDeclinedError


def who(request: HttpRequest) -> str:
    """Return who sends a request, as `orders.middleware` has found out."""
    customer: str = request.customer  # type: ignore[attr-defined]
    return customer


def authorize(request: HttpRequest, verb: Verb, subject: Subject) -> bool:
    """Whether somebody may see a run, or decide about it."""
    return may(who(request), verb, subject.owner)


# Status, lists and decisions: /sagas/, /sagas/{saga_id}, /sagas/{saga_id}/signal/approval …
# Bearer tokens are no cookies: nobody's browser sends them along by itself, so that CSRF needs no protection.
sagas = sagaz_urls(authorize=authorize, actor=who, shows=["order_id", "amount", "parcel"], decorator=csrf_exempt)

# An order that is sent again with its Idempotency-Key, which is its customer's own, gets the answer that it got before.
once = idempotent(OrderSaga, caller=who, location="/sagas/{saga_id}")


@csrf_exempt
@require_POST
@once
async def create_order(request: HttpRequest) -> HttpResponse:
    """Run the saga now; the answer tells how it ended, or where its status is."""
    body = read_body(request)
    await Order.objects.aget_or_create(**row_of(body))
    saga = await async_saga_factory(OrderSaga)
    try:
        run = await saga.run(body, owner=who(request))
    except RunWaiting as waiting:
        # The payment provider, or a manager, has to answer first, and no process waits for them.
        return await sagas.aaccepted(request, OrderSaga, waiting.saga_id)
    except PaymentDeclinedError as declined:
        # By now the stock has been released again.
        return JsonResponse({"detail": str(declined)}, status=402)
    except RunFailed:
        return JsonResponse({"detail": "This order has failed: order anew."}, status=409)
    except (RunInProgress, RunInterrupted):
        # The server that had it was stopped, and a worker finishes the order.
        answer = {"detail": "The order is being processed."}
        return JsonResponse(answer, status=503, headers={"Retry-After": "1"})
    return JsonResponse({"saga_id": run.saga_id, "status": run.status.value, "parcel": run["parcel"]}, status=201)


@csrf_exempt
@require_POST
@once
def create_order_for_later(request: HttpRequest) -> HttpResponse:
    """Save the order and start its saga in one transaction, that of the key; a worker runs it after the commit."""
    body = read_body(request)
    Order.objects.get_or_create(**row_of(body))
    return sagas.accepted(request, OrderSaga, atomic_saga_start(OrderSaga, body, owner=who(request)))


@csrf_exempt
@require_POST
@once
@saga_context
def create_order_decorated(request: HttpRequest) -> HttpResponse:
    """Do the same with the saga's own method."""
    body = read_body(request)
    Order.objects.get_or_create(**row_of(body))
    return sagas.accepted(request, OrderSaga, OrderSaga().run_deferred(body, owner=who(request)))


@csrf_exempt
@require_POST
@once
def create_order_and_fail(request: HttpRequest) -> HttpResponse:
    """Roll back after the saga was started: neither the order nor its saga exist then."""
    body = read_body(request)
    with transaction.atomic():
        Order.objects.get_or_create(**row_of(body))
        saga_id = atomic_saga_start(OrderSaga, body, owner=who(request))
        transaction.set_rollback(True)
    return JsonResponse({"saga_id": saga_id, "detail": "rolled back on purpose"}, status=409)


def row_of(body: dict[str, Any]) -> dict[str, Any]:
    """Return the shop's own row of an order; one that is sent again, with another key, is kept once."""
    return {"customer": body["customer"], "number": body["order_id"], "defaults": {"amount": body["amount"]}}


def read_body(request: HttpRequest) -> dict[str, Any]:
    """Return the order that a request carries, and whose it is; nothing else of its body gets any further."""
    match {"payment": "card"} | read_json(request.body):
        case {"order_id": str(order_id), "amount": int(amount), "payment": "card" | "transfer" as payment}:
            if re.fullmatch(r"[A-Za-z0-9-]{1,40}", order_id) and amount is not True and 0 < amount < 2**31:
                return {"order_id": order_id, "amount": amount, "payment": payment, "customer": who(request)}
    raise InvalidInput("Expected an order_id of letters, digits and hyphens, a positive amount, and a way to pay.")
