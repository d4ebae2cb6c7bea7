"""Its views."""

import json
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any
from uuid import uuid4

from django.db import DatabaseError, InterfaceError, transaction
from django.http import HttpRequest, JsonResponse
from django.urls import include, path

from django_sagaz import (
    RunInterrupted,
    RunWaiting,
    StoreUnavailable,
    atomic_saga_start,
    create_saga,
    run_saga,
    send_signal,
)
from django_sagaz.webhooks import webhook_urls
from storm.django_site.sagas import REGISTERED, Registered
from storm.sagas import PlannedError, saga_of
from storm.webhooks import SOURCES

View = Callable[[HttpRequest], JsonResponse]


def unavailable(view: View) -> View:
    @wraps(view)
    def answer(request: HttpRequest) -> JsonResponse:
        try:
            return view(request)
        except (StoreUnavailable, DatabaseError, InterfaceError) as error:
            return JsonResponse({"error": str(error)}, status=503)

    return answer


def up(request: HttpRequest) -> JsonResponse:
    return JsonResponse({})


@unavailable
def inline(request: HttpRequest) -> JsonResponse:
    saga_id = str(uuid4())
    # It ended as planned, waits, or goes on elsewhere: recorded in each case.
    with suppress(PlannedError, RunInterrupted, RunWaiting):
        run_saga(create_saga(Registered), _body(request), saga_id=saga_id)
    return JsonResponse({"saga_id": saga_id})


@unavailable
def deferred(request: HttpRequest) -> JsonResponse:
    context = _body(request)
    saga = REGISTERED[saga_of(context).saga_name]
    with transaction.atomic():
        saga_id = atomic_saga_start(saga, context, idempotency_key=request.headers["Idempotency-Key"])
    return JsonResponse({"saga_id": saga_id}, status=202)


@unavailable
def signal(request: HttpRequest) -> JsonResponse:
    given = _body(request)
    with transaction.atomic():
        new = send_signal("go", given["payload"], key=given["key"], signal_id=given["signal_id"])
    return JsonResponse({"new": new})


def _body(request: HttpRequest) -> Any:
    return json.loads(request.body)


urlpatterns = [
    path("up", up),
    path("inline", inline),
    path("background", deferred),
    path("deferred", deferred),
    path("signal", signal),
    path("webhooks/", include(webhook_urls(SOURCES))),
]
