"""Django's requests and responses, as the routes have them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse

from sagaz_durable.http import messages as neutral
from sagaz_durable.http.bodies import has_chunks, unreadable
from sagaz_durable.http.problems import Problem
from sagaz_durable.problem_types import TOO_LARGE

__all__ = ["native_response", "neutral_request"]


def neutral_request(request: HttpRequest, most_bytes: int = 0) -> neutral.HttpRequest:
    """Return a request with its body, of which one byte more is read than it may have, at most.

    Raises:
        Problem: The body cannot be read, or has more than the project's own limit.
    """
    body = _body(request, most_bytes + 1) if most_bytes else b""
    if (own := settings.DATA_UPLOAD_MAX_MEMORY_SIZE) is not None and len(body) > own:
        raise Problem(TOO_LARGE)
    query, headers = request.META.get("QUERY_STRING", ""), tuple(request.headers.items())
    return neutral.HttpRequest(request.method or "GET", request.path, query, headers, body, request)


def _body(request: HttpRequest, most: int) -> bytes:
    # Of a WSGI request without a length Django itself reads nothing.
    chunks = request.environ if isinstance(request, WSGIRequest) and has_chunks(request.environ) else None
    try:
        body = request.read(most)
        return body if body or chunks is None else b"".join(_pieces(chunks["wsgi.input"], most))
    except Exception as error:
        # Each server has its own, of whatever base.
        raise unreadable(error) from None


def _pieces(stream: Any, missing: int) -> Iterator[bytes]:
    while missing and (piece := stream.read(missing)):
        yield piece
        missing -= len(piece)


def native_response(answer: neutral.HttpResponse) -> HttpResponse:
    """Return the framework's response."""
    response = HttpResponse(answer.body, status=answer.status, headers=dict(answer.headers))
    if "Content-Type" not in answer.headers:
        del response.headers["Content-Type"]
    return response
