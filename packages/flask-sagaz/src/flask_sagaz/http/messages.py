"""Flask's requests and responses, as the routes have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Request, Response, current_app

from sagaz_durable.http.messages import HttpRequest, HttpResponse

__all__ = ["hook_of", "native_response", "neutral_request"]


def neutral_request(request: Request, most_bytes: int = 0) -> HttpRequest:
    """Return a request with its body, of which one byte more is read than it may have, at most."""
    body = _body(request, most_bytes + 1) if most_bytes else b""
    path, query = request.root_path + request.path, request.query_string.decode("latin-1")
    return HttpRequest(request.method, path, query, tuple(request.headers.items()), body, request)


def _body(request: Request, most: int) -> bytes:
    pieces, missing = [], most
    while missing and (piece := request.stream.read(missing)):
        pieces.append(piece)
        missing -= len(piece)
    # What the application has read before is kept there.
    return b"".join(pieces) or request.get_data()[:most]


def native_response(answer: HttpResponse) -> Response:
    """Return the framework's response."""
    return Response(answer.body, answer.status, dict(answer.headers))


def hook_of(function: Callable[..., Any] | None) -> Callable[..., Any] | None:
    """Return a hook that is called as Flask calls views: an ``async def`` function is waited for."""
    if function is None or not callable(function):
        return function
    return lambda *given: current_app.ensure_sync(function)(*given)
