"""Bare ASGI and WSGI, through the plugin beside this folder: no framework, and no door that others have not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from datetime import datetime
from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qs

from bare_sagaz.plugin import SagazASGI, SagazWSGI
from contract.driver import Boom, Driver, Spec, accepted, pieces, ran, told, whoami
from contract.drivers._orders import Orders
from support.answers import Answer, Ask
from support.asgi import AsgiClient
from support.wsgi import WsgiClient

__all__ = ["BareASGIDriver", "BareWSGIDriver"]

_BOTH = frozenset(
    (
        "inline",
        "background",
        "deferred",
        "embedded_worker",
        "streaming",
        "header_name",
        "propagate",
        "own_store",
        "sagas",
        "several",
    )
)


class BareASGIDriver(Driver):
    """An application that is one coroutine function, called in the test's own event loop."""

    name = "bare-asgi"
    package = "bare_sagaz"
    capabilities = _BOTH | frozenset(
        ("websocket", "disconnect", "lifespan") + (("join_session",) if find_spec("sqlalchemy") else ())
    )

    def build(self) -> None:
        spec = self.spec
        self.orders = Orders(spec.options["STORAGE_URL"])
        self.app = _asgi_app(spec, self.orders)
        self.plugin = SagazASGI(self.app, spec.options, sagas=spec.sagas, worker=spec.worker, propagate=spec.propagate)
        self.runtime = self.plugin.runtime
        self.client = AsgiClient(self.plugin)

    async def start(self) -> None:
        self.build()
        await self.client.startup()

    async def stop(self) -> None:
        if hasattr(self, "client"):
            await self.client.shutdown()
            async with self.orders.lifespan(self.app):
                pass

    async def request(self, ask: Ask) -> Answer:
        return await self.client.request(ask)

    async def websocket(self, ask: Ask) -> tuple[dict[str, Any], list[Any]]:
        return await self.client.websocket(ask)

    async def verb(self, name: str, *args: Any, **options: Any) -> Any:
        return await getattr(self.plugin.sagas(), name)(*args, **options)

    async def own_rows(self) -> list[str]:
        return await self.orders.ids()


def _asgi_app(spec: Spec, orders: Orders) -> Any:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        kind, _, saga = scope["path"].strip("/").partition("/")
        if kind == "ws":
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": json.dumps(whoami())})
            await send({"type": "websocket.close"})
        elif saga:
            query = parse_qs(scope["query_string"].decode())
            await _answer_start(kind, spec.routes[saga], scope, receive, send, query.get("then", [""])[0], orders)
        elif kind == "stream":
            await send({"type": "http.response.start", "status": 200})
            for piece in pieces():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body"})
        elif kind == "whoami":
            await _send(send, 200, whoami())
        else:
            await _send(send, 500 if kind == "boom" else 404, {})
            if kind == "boom":
                raise Boom

    return app


async def _send(send: Any, status: int, body: Any) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


def _deadline(header: str | None) -> dict[str, Any]:
    return {"deadline": datetime.fromisoformat(header)} if header else {}


async def _answer_start(
    kind: str, saga: type, scope: dict[str, Any], receive: Any, send: Any, then: str, orders: Orders
) -> None:
    sagas, given = scope["sagaz"](), {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
    body = (await receive())["body"]
    key, owner = given.get("idempotency-key"), given.get("owner")
    try:
        context = json.loads(body)
        if kind == "inline":
            run = await sagas.run(saga, context, given.get("run-id"), idempotency_key=key, owner=owner)
            status, answer = 200, ran(run)
        elif kind == "joined":
            async with orders.transaction(then) as session:
                await orders.add(session, context["id"])
                status, answer = 202, accepted(await sagas.start(saga, context, session=session, owner=owner))
        else:
            start = sagas.run_background if kind == "background" else sagas.start
            later = _deadline(given.get("deadline"))
            status, answer = 202, accepted(await start(saga, context, idempotency_key=key, owner=owner, **later))
    except Exception as error:
        status, answer = told(error)
    if then == "raise":
        await _send(send, 500, {})
        raise Boom
    await _send(send, status, answer)


class BareWSGIDriver(Driver):
    """An application that is one function, each request in a thread of its own."""

    name = "bare-wsgi"
    package = "bare_sagaz"
    capabilities = _BOTH

    def build(self) -> None:
        spec = self.spec
        self.app = _wsgi_app(spec)
        self.plugin = SagazWSGI(self.app, spec.options, sagas=spec.sagas, worker=spec.worker, propagate=spec.propagate)
        self.client = WsgiClient(self.plugin)

    async def start(self) -> None:
        self.build()
        await asyncio.to_thread(self.plugin.open)
        self.runtime = self.plugin.runtime

    async def stop(self) -> None:
        if hasattr(self, "runtime"):
            await asyncio.to_thread(self.plugin.close)

    async def request(self, ask: Ask) -> Answer:
        return await self.client.request(ask)

    async def verb(self, name: str, *args: Any, **options: Any) -> Any:
        return await asyncio.to_thread(getattr(self.plugin.sagas(), f"{name}_sync"), *args, **options)


def _wsgi_app(spec: Spec) -> Any:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        kind, _, saga = environ["PATH_INFO"].strip("/").partition("/")
        if kind == "boom":
            raise Boom
        if kind == "stream":
            start_response("200 OK", [])
            return pieces()
        if saga:
            status, body = _started(kind, spec.routes[saga], environ)
        else:
            status, body = (200, whoami()) if kind == "whoami" else (404, {})
        if environ["QUERY_STRING"] == "then=raise":
            raise Boom
        start_response(f"{status} Told", [("Content-Type", "application/json")])
        return [json.dumps(body).encode()]

    return app


def _started(kind: str, saga: type, environ: dict[str, Any]) -> tuple[int, Any]:
    sagas, key, owner = environ["sagaz"](), environ.get("HTTP_IDEMPOTENCY_KEY"), environ.get("HTTP_OWNER")
    try:
        context = json.loads(environ["wsgi.input"].read())
        if kind == "inline":
            run_id = environ.get("HTTP_RUN_ID")
            return 200, ran(sagas.run_sync(saga, context, run_id, idempotency_key=key, owner=owner))
        start = sagas.run_background_sync if kind == "background" else sagas.start_sync
        later = _deadline(environ.get("HTTP_DEADLINE"))
        return 202, accepted(start(saga, context, idempotency_key=key, owner=owner, **later))
    except Exception as error:
        return told(error)
