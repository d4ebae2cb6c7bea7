"""Views both ways."""

import json
import threading

from django.apps import apps
from django.db import transaction
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import include, path

from django_sagaz import async_saga_factory, atomic_saga_start, create_saga, run_saga
from django_sagaz.webhooks import Unsigned, webhook_urls
from sagaz_integration_core.context.correlation import correlation_id
from testproject.shop.sagas import OrderSaga


def _answer(run):
    return JsonResponse({"saga_id": run.saga_id, "status": run.status.value, "context": dict(run)})


def run(request):
    return _answer(run_saga(create_saga(OrderSaga), json.loads(request.body)))


async def run_async(request):
    saga = await async_saga_factory(OrderSaga)
    return _answer(await saga.run(json.loads(request.body)))


def run_without_await(request):
    return _answer(create_saga(OrderSaga).run(json.loads(request.body)))


async def run_blocking(request):
    return _answer(run_saga(create_saga(OrderSaga), json.loads(request.body)))


def start(request):
    context = json.loads(request.body)
    with transaction.atomic(context["db"]):
        return JsonResponse({"saga_id": atomic_saga_start(OrderSaga, context)})


def who(request):
    return JsonResponse({"id": correlation_id()})


async def who_async(request):
    return JsonResponse({"id": correlation_id()})


def thread(request):
    return JsonResponse({"thread": threading.get_ident()})


async def thread_async(request):
    return JsonResponse({"thread": threading.get_ident()})


def boom(request):
    raise ZeroDivisionError(correlation_id())


async def boom_async(request):
    raise ZeroDivisionError(correlation_id())


def stream(request):
    return StreamingHttpResponse(str(correlation_id()) for _ in range(2))


urlpatterns = [
    path("webhooks/", include(webhook_urls({"shop": Unsigned(delivery_member="id")}))),
    path("run", run),
    path("run_async", run_async),
    path("run_without_await", run_without_await),
    path("run_blocking", run_blocking),
    path("start", start),
    path("who", who),
    path("who_async", who_async),
    path("thread", thread),
    path("thread_async", thread_async),
    path("boom", boom),
    path("boom_async", boom_async),
    path("stream", stream),
]

if apps.is_installed("django.contrib.admin"):
    from django.contrib import admin

    urlpatterns += [path("admin/", admin.site.urls), path("favicon.ico", lambda request: HttpResponse(status=204))]
