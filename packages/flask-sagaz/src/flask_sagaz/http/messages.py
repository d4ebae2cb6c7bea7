"""Flask's requests and responses, as the routes have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Request, Response, current_app
from flask import request as current_request
from werkzeug.exceptions import RequestEntityTooLarge

from sagaz_durable.http.bodies import has_chunks, unreadable
from sagaz_durable.http.messages import HttpRequest, HttpResponse
from sagaz_durable.http.problems import Problem
from sagaz_durable.problem_types import TOO_LARGE

__all__ = ["hook_of", "native_response", "neutral_request", "readable"]


def neutral_request(request: Request, most_bytes: int = 0) -> HttpRequest:
    """Return a request with its body, of which one byte more is read than it may have, at most.

    Raises:
        Problem: The body cannot be read, or is larger than the application's own limit.
    """
    body = readable(lambda: _body(request, most_bytes + 1)) if most_bytes else b""
    path, query = request.root_path + request.path, request.query_string.decode("latin-1")
    return HttpRequest(request.method, path, query, tuple(request.headers.items()), body, request)


def readable(read: Callable[[], bytes]) -> bytes:
    """Return what is read of the body of the request at hand.

    Raises:
        Problem: It was cut off or is malformed, its end is not known, or it is larger than ``MAX_CONTENT_LENGTH``.
    """
    has_chunks(current_request.environ)
    try:
        return read()
    except RequestEntityTooLarge:
        raise Problem(TOO_LARGE) from None
    except Exception as error:
        # Each server has its own, of whatever base.
        raise unreadable(error) from None


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
