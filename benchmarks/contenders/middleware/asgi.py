"""Middleware of Starlette and FastAPI."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from benchmarks.contenders.middleware._cost import HEADER, INBOUND, Block, measuring
from benchmarks.harness.model import Measure, Place

_correlation_id: ContextVar[str | None] = ContextVar("correlation_id", default=None)


class ByHand:
    """The least: takes the id or makes one, keeps it in a variable, and sends it back."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        known = next((value for name, value in scope["headers"] if name == b"x-correlation-id"), None)
        if known is None:
            known = uuid.uuid4().hex.encode()
        _correlation_id.set(known.decode())

        def send_with_id(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                message["headers"].append((b"x-correlation-id", known))
            return send(message)

        await self.app(scope, receive, send_with_id)


@contextmanager
def contender(place: Place) -> Iterator[Measure]:
    """Measure the middleware that the options name, in the framework that they name."""
    bare, wrapped = _app(place), _app(place)
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        header = _ADD[place.options["middleware"]](wrapped)
        # As under a server: the lifespan is entered, in which ours opens its runtime.
        runner.run(_enter(stack, wrapped))
        try:
            yield measuring(
                {
                    "with an id": (_block(runner, bare, header, INBOUND), _block(runner, wrapped, header, INBOUND)),
                    "without an id": (_block(runner, bare, header, None), _block(runner, wrapped, header, None)),
                }
            )
        finally:
            runner.run(stack.aclose())


def _app(place: Place) -> Any:
    lifespan = None
    if place.options["middleware"] == "ours":
        from fastapi_sagaz import create_lifespan

        lifespan = create_lifespan({"STORAGE_URL": "memory://"})
    if place.options["framework"] == "starlette":

        async def page(request: Request) -> Response:
            return PlainTextResponse("ok")

        return Starlette(routes=[Route("/page", page)], lifespan=lifespan)
    app = FastAPI(lifespan=lifespan)

    @app.get("/page")
    async def page_of_fastapi() -> Response:
        return PlainTextResponse("ok")

    return app


async def _enter(stack: AsyncExitStack, app: Any) -> None:
    await stack.enter_async_context(app.router.lifespan_context(app))


def _block(runner: asyncio.Runner, app: Any, header: str, given: str | None) -> Block:
    headers = [(b"host", b"127.0.0.1"), (b"user-agent", b"benchmark"), (b"accept", b"*/*")]
    if given is not None:
        headers.append((header.lower().encode(), given.encode()))

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        pass

    async def request() -> None:
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": "/page", "raw_path": b"/page", "query_string": b"", "root_path": "", "headers": list(headers),
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
        }  # fmt: skip
        await app(scope, receive, send)

    async def requests(count: int) -> float:
        began = time.process_time()
        for _ in range(count):
            await request()
        return time.process_time() - began

    return lambda count: runner.run(requests(count))


def _ours(app: Any) -> str:
    from fastapi_sagaz import SagaContextMiddleware

    app.add_middleware(SagaContextMiddleware)
    return HEADER


def _asgi_correlation_id(app: Any) -> str:
    from asgi_correlation_id import CorrelationIdMiddleware

    app.add_middleware(CorrelationIdMiddleware)
    return "X-Request-ID"


def _starlette_context(app: Any) -> str:
    from starlette_context.middleware import RawContextMiddleware
    from starlette_context.plugins import CorrelationIdPlugin

    app.add_middleware(RawContextMiddleware, plugins=(CorrelationIdPlugin(),))
    return HEADER


def _by_hand(app: Any) -> str:
    app.add_middleware(ByHand)
    return HEADER


_ADD: dict[str, Callable[[Any], str]] = {
    "ours": _ours,
    "asgi-correlation-id": _asgi_correlation_id,
    "starlette-context": _starlette_context,
    "hand": _by_hand,
}
