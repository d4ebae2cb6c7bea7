"""Django: views both ways, its own database as the store, and the worker command."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any

from asgiref.sync import sync_to_async
from django.apps import apps
from django.core.asgi import get_asgi_application
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.db import connections, transaction
from django.http import HttpRequest, JsonResponse, StreamingHttpResponse
from django.urls import path

from contract.driver import Boom, Driver, accepted, pieces, ran, told, whoami
from contract.drivers._django_project import project
from django_sagaz import async_saga_factory, atomic_saga_start, create_saga, run_saga
from django_sagaz.project import current_project
from django_sagaz.runners import immediately
from support.answers import Answer, Ask
from support.asgi import AsgiClient
from support.wsgi import WsgiClient

__all__ = ["AsyncDjangoDriver", "DjangoDriver"]


class DjangoDriver(Driver):
    """One Django project, called over WSGI, each request in a thread of its own."""

    name = "django"
    package = "django_sagaz"
    capabilities = frozenset(("inline", "deferred", "streaming", "join_session", "header_name", "propagate"))
    stores = ("sqlite", "postgres")

    def build(self) -> None:
        self._stack = ExitStack()
        self._patterns = [path(f"{kind}/<saga>", view) for kind, view in self.views().items()]
        self._patterns += [path("whoami", who), path("stream", self.stream), path("boom", boom)]

    async def start(self) -> None:
        self.build()
        await asyncio.to_thread(self._start)

    def _start(self) -> None:
        self.alias = self._stack.enter_context(
            project(self.spec.options, self.spec.sagas, self._patterns, propagate=self.spec.propagate)
        )
        self.app = apps
        self.client: Any = self.make_client()

    def make_client(self) -> Any:
        return WsgiClient(get_wsgi_application())

    async def stop(self) -> None:
        await asyncio.to_thread(self._stack.close)

    async def request(self, ask: Ask) -> Answer:
        return await self.client.request(ask)

    async def own_rows(self) -> list[str]:
        return await asyncio.to_thread(self._own_rows)

    def _own_rows(self) -> list[str]:
        with connections[self.alias].cursor() as cursor:
            cursor.execute("SELECT id FROM shop_order")
            rows = [id_ for (id_,) in cursor.fetchall()]
        connections.close_all()
        return rows

    async def work(self) -> None:
        await asyncio.to_thread(call_command, "sagaz_worker", drain=True)

    async def ask(self, question: Callable[[Any], Awaitable[Any]]) -> Any:
        return await asyncio.to_thread(self._ask, question)

    def _ask(self, question: Callable[[Any], Any]) -> Any:
        try:
            return immediately(question(current_project().store))
        finally:
            connections.close_all()

    # The application.

    def views(self) -> dict[str, Any]:
        return {"inline": self.inline, "deferred": self.deferred, "joined": self.joined}

    def inline(self, request: HttpRequest, saga: str) -> JsonResponse:
        try:
            bound = create_saga(self.spec.routes[saga])
            run = run_saga(bound, body(request), saga_id=header(request, "Run-Id"), idempotency_key=key(request))
        except Exception as error:
            return failed(error)
        return JsonResponse(ran(run))

    def deferred(self, request: HttpRequest, saga: str) -> JsonResponse:
        try:
            with transaction.atomic(self.alias):
                saga_id = atomic_saga_start(self.spec.routes[saga], body(request), idempotency_key=key(request))
        except Exception as error:
            return failed(error)
        return JsonResponse(accepted(saga_id), status=202)

    def joined(self, request: HttpRequest, saga: str) -> JsonResponse:
        try:
            with transaction.atomic(self.alias):
                saga_id = self._join(request, self.spec.routes[saga])
        except Exception as error:
            return failed(error)
        return JsonResponse(accepted(saga_id), status=202)

    def _join(self, request: HttpRequest, saga_class: type) -> str:
        then = request.GET["then"]
        if then == "commit":
            return self._add(request, saga_class)
        if then == "rollback":
            saga_id = self._add(request, saga_class)
            transaction.set_rollback(True, self.alias)
            return saga_id
        savepoint = transaction.savepoint(self.alias)
        saga_id = self._add(request, saga_class)
        transaction.savepoint_rollback(savepoint, self.alias)
        return saga_id

    def _add(self, request: HttpRequest, saga_class: type) -> str:
        context = body(request)
        with connections[self.alias].cursor() as cursor:
            cursor.execute("INSERT INTO shop_order (id) VALUES (%s)", [context["id"]])
        return atomic_saga_start(saga_class, context, connection=transaction.get_connection(self.alias))

    def stream(self, request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(pieces())


class AsyncDjangoDriver(DjangoDriver):
    """The same project with asynchronous views, called over ASGI in the test's own event loop."""

    name = "django-async"

    def make_client(self) -> Any:
        return AsgiClient(get_asgi_application())

    def views(self) -> dict[str, Any]:
        return {"inline": self.inline_async, "deferred": self.deferred_async, "joined": self.joined}

    async def inline_async(self, request: HttpRequest, saga: str) -> JsonResponse:
        try:
            bound = await async_saga_factory(self.spec.routes[saga])
            run = await bound.run(body(request), header(request, "Run-Id"), idempotency_key=key(request))
        except Exception as error:
            return failed(error)
        return JsonResponse(ran(run))

    async def deferred_async(self, request: HttpRequest, saga: str) -> JsonResponse:
        return await sync_to_async(self.deferred)(request, saga)

    async def stream(self, request: HttpRequest) -> StreamingHttpResponse:
        async def body() -> Any:
            for piece in pieces():
                yield piece

        return StreamingHttpResponse(body())


def who(request: HttpRequest) -> JsonResponse:
    return JsonResponse(whoami())


def boom(request: HttpRequest) -> JsonResponse:
    raise Boom


def body(request: HttpRequest) -> Any:
    return json.loads(request.body)


def header(request: HttpRequest, name: str) -> str | None:
    return request.headers.get(name)


def key(request: HttpRequest) -> str | None:
    return request.headers.get("Idempotency-Key")


def failed(error: Exception) -> JsonResponse:
    status, told_ = told(error)
    return JsonResponse(told_, status=status)
