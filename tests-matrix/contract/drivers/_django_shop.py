"""The shop as a Django application: its table, its views both ways, and the middleware that keeps the id to itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import wraps
from typing import Any

import django
from asgiref.sync import iscoroutinefunction, sync_to_async
from django.apps import AppConfig
from django.conf import settings
from django.db import models, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import include, path

from contract.driver import (
    Boom,
    Driver,
    accepted,
    once,
    permits,
    pieces,
    raised,
    ran,
    signalled,
    told,
    webhook_sources,
    who,
    whoami,
)
from django_sagaz import (
    approval_token,
    async_saga_factory,
    atomic_saga_start,
    create_saga,
    decide_approval,
    health_urls,
    idempotent,
    run_saga,
    sagaz_urls,
    send_signal,
    webhook_urls,
)
from django_sagaz.middleware import SagaContextMiddleware

if not settings.configured:
    settings.configure(ALLOWED_HOSTS=["testserver"], LOGGING_CONFIG=None, SECRET_KEY="the shop's", USE_TZ=True)
    django.setup()

__all__ = ["ASYNC_URLS", "URLS", "PrivateMiddleware", "ShopConfig", "ShopOrder"]


class ShopConfig(AppConfig):
    """The application whose ``sagas`` module is found; each site makes that anew."""

    name = __name__
    label = "shop"


class ShopOrder(models.Model):
    id = models.TextField(primary_key=True)

    class Meta:
        app_label = "shop"
        db_table = "shop_order"


class PrivateMiddleware(SagaContextMiddleware):
    propagate_to_context = False


def _view(view: Any) -> Any:
    """Answer what a start or a run raises, and let out what the view itself raises."""

    @wraps(view)
    def answer(request: HttpRequest, **named: str) -> JsonResponse:
        try:
            body, status = view(request, _named(**named))
        except Exception as error:
            status, body = told(error)
        return JsonResponse(body, status=status)

    @wraps(view)
    async def aanswer(request: HttpRequest, **named: str) -> JsonResponse:
        try:
            body, status = await view(request, _named(**named))
        except Exception as error:
            status, body = told(error)
        return JsonResponse(body, status=status)

    return aanswer if iscoroutinefunction(view) else answer


def _named(saga: str = "", signal: str = "") -> Any:
    return settings.SHOP_SAGAS[saga] if saga else signal


def _inline(request: HttpRequest, saga_class: type) -> Any:
    return ran(run_saga(create_saga(saga_class), json.loads(request.body), **_ids(request))), 200


async def _ainline(request: HttpRequest, saga_class: type) -> Any:
    saga: Any = await async_saga_factory(saga_class)
    return ran(await saga.run(json.loads(request.body), **_ids(request))), 200


def _ids(request: HttpRequest) -> dict[str, Any]:
    names = {"saga_id": "Run-Id", "idempotency_key": "Idempotency-Key", "owner": "Owner"}
    return {name: request.headers.get(header) for name, header in names.items()}


@transaction.atomic
def _deferred(request: HttpRequest, saga_class: type) -> Any:
    key = request.headers.get("Idempotency-Key")
    deadline = request.headers.get("Deadline")
    saga_id = atomic_saga_start(
        saga_class,
        json.loads(request.body),
        idempotency_key=key,
        deadline=datetime.fromisoformat(deadline) if deadline else None,
        owner=request.headers.get("Owner"),
    )
    return accepted(saga_id), 202


@contextmanager
def _in_transaction(then: str, order_id: str) -> Iterator[Any]:
    with transaction.atomic():
        with transaction.atomic():  # a savepoint
            ShopOrder.objects.create(id=order_id)
            yield transaction.get_connection()
            transaction.set_rollback(then == "savepoint")
        transaction.set_rollback(then == "rollback")


def _joined(request: HttpRequest, saga_class: type) -> Any:
    context = json.loads(request.body)
    with _in_transaction(request.GET["then"], context["id"]) as connection:
        saga_id = atomic_saga_start(saga_class, context, connection=connection, owner=request.headers.get("Owner"))
    return accepted(saga_id), 202


def _signal(request: HttpRequest, name: str) -> Any:
    body = json.loads(request.body)
    if "then" not in request.GET:
        with transaction.atomic():
            return signalled(_sent(name, body)), 200
    with _in_transaction(request.GET["then"], body["payload"]["id"]) as connection:
        new = _sent(name, body, connection)
    return signalled(new), 200


def _sent(name: str, body: Any, connection: Any = None) -> bool:
    if "by" not in body:
        return send_signal(name, body["payload"], **body["to"], connection=connection)
    token = approval_token(name, **body["to"])
    return decide_approval(token, body["payload"], by=body["by"], reason="asked", connection=connection)


def _may(request: HttpRequest, verb: Any, subject: Any) -> bool:
    return permits(request.headers.get("User", ""), verb, subject)


async def _amay(request: HttpRequest, verb: Any, subject: Any) -> bool:
    return _may(request, verb, subject)


def _decides(request: HttpRequest) -> str:
    return who(request.headers["User"])


_RULES: dict[str, Any] = {"actor": _decides, "shows": ["order"], "longest_wait": 5}
_WATCHED = sagaz_urls(authorize=_may, **_RULES)
_AWATCHED = sagaz_urls(authorize=_amay, asynchronous=True, **_RULES)


@transaction.atomic
def _started(request: HttpRequest, saga_class: type) -> str:
    return atomic_saga_start(saga_class, json.loads(request.body), owner=request.headers.get("Owner"))


def _accepted(request: HttpRequest, saga: str) -> HttpResponse:
    saga_class = _named(saga)
    return _WATCHED.accepted(request, saga_class, _started(request, saga_class))


async def _aaccepted(request: HttpRequest, saga: str) -> HttpResponse:
    saga_class = _named(saga)
    return await _AWATCHED.aaccepted(request, saga_class, await sync_to_async(_started)(request, saga_class))


def _unhandled(request: HttpRequest, saga: str) -> HttpResponse:
    if "then" in request.GET:
        raise raised(request.GET["then"])
    key = request.headers.get("Idempotency-Key")
    with transaction.atomic():
        return JsonResponse(accepted(atomic_saga_start(_named(saga), json.loads(request.body), idempotency_key=key)))


async def _aunhandled(request: HttpRequest, saga: str) -> HttpResponse:
    return await sync_to_async(_unhandled)(request, saga)


def _once(request: HttpRequest, saga: str) -> HttpResponse:
    return _once_for(settings.SHOP_SAGAS[saga])(request)


def _once_for(saga_class: type) -> Any:
    @idempotent(saga_class, caller=_user, location="/runs/{saga_id}")
    def view(request: HttpRequest) -> HttpResponse:
        context = json.loads(request.body)
        if "once-joined" in request.path:
            ShopOrder.objects.create(id=context["id"])
        saga_id = atomic_saga_start(saga_class, context)
        Driver.arrived.set()
        Driver.gate.wait(30)
        return _answered(request, saga_id)

    return view


async def _aonce(request: HttpRequest, saga: str) -> HttpResponse:
    return await _aonce_for(settings.SHOP_SAGAS[saga])(request)


def _aonce_for(saga_class: type) -> Any:
    @idempotent(saga_class, caller=_user, location="/runs/{saga_id}")
    async def view(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
        start = transaction.atomic(atomic_saga_start)
        saga_id = await sync_to_async(start)(saga_class, json.loads(request.body))
        Driver.arrived.set()
        while not Driver.gate.is_set():
            await asyncio.sleep(0.01)
        if request.headers.get("Then") == "stream":
            return StreamingHttpResponse(_apieces(), status=202)
        return _answered(request, saga_id)

    return view


def _user(request: HttpRequest) -> str | None:
    return request.headers.get("User")


def _answered(request: HttpRequest, saga_id: str) -> HttpResponse:
    then = request.headers.get("Then", "")
    if then == "stream":
        return StreamingHttpResponse(pieces(), status=202)
    body, status, headers = once(saga_id, then)
    return HttpResponse(body, status=status, headers=headers)


def _who(request: HttpRequest) -> HttpResponse:
    return JsonResponse(whoami())


async def _awho(request: HttpRequest) -> HttpResponse:
    return JsonResponse(whoami())


def _stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(pieces())


async def _astream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(_apieces())


async def _apieces() -> AsyncIterator[bytes]:
    for piece in pieces():
        yield piece


def _boom(request: HttpRequest) -> HttpResponse:
    raise Boom


async def _aboom(request: HttpRequest) -> HttpResponse:
    raise Boom


URLS = (
    path("inline/<saga>", _view(_inline)),
    path("deferred/<saga>", _view(_deferred)),
    path("joined/<saga>", _view(_joined)),
    path("once/<saga>", _once),
    path("once-joined/<saga>", _once),
    path("signals/<signal>", _view(_signal)),
    path("accepted/<saga>", _accepted),
    path("unhandled/<saga>", _unhandled),
    path("sagas/", include(_WATCHED)),
    path("health/", include(health_urls())),
    path("webhooks/", include(webhook_urls(webhook_sources()))),
    path("whoami", _who),
    path("stream", _stream),
    path("boom", _boom),
)
ASYNC_URLS = (
    path("inline/<saga>", _view(_ainline)),
    path("deferred/<saga>", _view(sync_to_async(_deferred))),
    path("joined/<saga>", _view(sync_to_async(_joined))),
    path("once/<saga>", _aonce),
    path("once-joined/<saga>", sync_to_async(_once)),
    path("signals/<signal>", _view(sync_to_async(_signal))),
    path("accepted/<saga>", _aaccepted),
    path("unhandled/<saga>", _aunhandled),
    path("sagas/", include(_AWATCHED)),
    path("health/", include(health_urls(asynchronous=True))),
    path("webhooks/", include(webhook_urls(webhook_sources(), asynchronous=True))),
    path("whoami", _awho),
    path("stream", _astream),
    path("boom", _aboom),
)
