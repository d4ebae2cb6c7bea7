"""Its views: an order within its transaction, and an asynchronous one, which has none."""

import asyncio
import json
import os
import threading

from asgiref.sync import sync_to_async
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from django_sagaz import atomic_saga_start, idempotent
from kills.holding import is_held
from kills.repeated_django.sagas import Order

once = idempotent(Order, caller=None, location="/orders/{saga_id}")


def up(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


@once
def create(request: HttpRequest) -> HttpResponse:
    saga_id = atomic_saga_start(Order, json.loads(request.body))
    if is_held():
        threading.Event().wait()
    return _accepted(saga_id)


@once
async def acreate(request: HttpRequest) -> HttpResponse:
    saga_id = await sync_to_async(transaction.atomic(atomic_saga_start))(Order, json.loads(request.body))
    if is_held():
        await asyncio.sleep(3_600)
    return _accepted(saga_id)


def _accepted(saga_id: str) -> HttpResponse:
    return JsonResponse({"saga_id": saga_id, "pid": os.getpid()}, status=202)


urlpatterns = [path("up", up), path("orders", create), path("async/orders", acreate)]
