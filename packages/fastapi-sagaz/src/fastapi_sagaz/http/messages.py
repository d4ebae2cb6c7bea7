"""Starlette's requests and responses, as the routes have them."""

from __future__ import annotations

from collections.abc import Callable
from inspect import isawaitable, iscoroutinefunction
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from sagaz_durable.http.messages import HttpRequest, HttpResponse

__all__ = ["handler_of", "hook_of", "native_response", "neutral_request"]


async def neutral_request(request: Request, most_bytes: int = 0) -> HttpRequest:
    """Return a request with its body, of which one byte more is read than it may have, at most."""
    scope = request.scope
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
    body = await _body(request, most_bytes) if most_bytes else b""
    return HttpRequest(scope["method"], scope["path"], scope["query_string"].decode("latin-1"), headers, body, request)


async def _body(request: Request, most_bytes: int) -> bytes:
    pieces, size = [], 0
    try:
        async for piece in request.stream():
            pieces.append(piece)
            size += len(piece)
            if size > most_bytes:
                break
    except ClientDisconnect:
        # Half a body decides nothing, and nobody reads the answer: it is no error of the server's either.
        raise HTTPException(400, "The client left before it had sent the body.") from None
    return b"".join(pieces)[: most_bytes + 1]


def native_response(answer: HttpResponse) -> Response:
    """Return the framework's response."""
    return Response(answer.body, answer.status, dict(answer.headers))


def handler_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a saga's method that is called as `hook_of` has it."""
    return hook_of(function) or function


def hook_of(function: Callable[..., Any] | None) -> Callable[..., Any] | None:
    """Return a hook that is called as FastAPI calls dependencies: a plain function in a thread."""
    if function is None or not callable(function) or iscoroutinefunction(function):
        return function

    async def call(*given: Any) -> Any:
        returned = await run_in_threadpool(function, *given)
        return await returned if isawaitable(returned) else returned

    return call
