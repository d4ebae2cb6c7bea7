"""Middleware of Django, under WSGI and under ASGI."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from benchmarks.contenders._django import django_environment, set_up
from benchmarks.contenders.middleware._cost import HEADER, INBOUND, Block, measuring
from benchmarks.harness.model import Measure, Place

_MIDDLEWARE = {
    "ours": "django_sagaz.middleware.SagaContextMiddleware",
    "sagaz": "sagaz.integrations.django.SagaDjangoMiddleware",
    "django-guid": "django_guid.middleware.guid_middleware",
    "hand": "benchmarks.contenders.middleware.django.by_hand",
}
_APPS = {"ours": ["django_sagaz"], "django-guid": ["django_guid"]}
_KEY = "HTTP_" + HEADER.upper().replace("-", "_")
_correlation_id: ContextVar[str | None] = ContextVar("correlation_id", default=None)


def by_hand(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the least: takes the id or makes one, keeps it in a variable, and sends it back."""
    if inspect.iscoroutinefunction(get_response):

        async def on_loop(request: Any) -> Any:
            known = _known(request)
            response = await get_response(request)
            response.headers[HEADER] = known
            return response

        return on_loop

    def in_thread(request: Any) -> Any:
        known = _known(request)
        response = get_response(request)
        response.headers[HEADER] = known
        return response

    return in_thread


def _known(request: Any) -> str:
    known: str = request.META.get(_KEY) or uuid.uuid4().hex
    _correlation_id.set(known)
    return known


# Django asks for this before it hands a coroutine function to a middleware.
by_hand.sync_capable = by_hand.async_capable = True  # type: ignore[attr-defined]


@contextmanager
def contender(place: Place) -> Iterator[Measure]:
    """Measure the middleware that the options name, under what they name."""
    name = place.options["middleware"]
    set_up(django_environment("sqlite://", _APPS.get(name, [])), migrate=False)
    if name == "ours":
        import sagaz  # noqa: F401 - as in a process that has started a saga
    # Under its default logging django-guid writes a line for each request, and so would the others.
    logging.disable(logging.INFO)
    from django.test import override_settings

    with asyncio.Runner() as runner:

        def blocks(given: str | None) -> tuple[Block, Block]:
            with override_settings(MIDDLEWARE=[]):
                bare = _handler(place, runner, given)
            with override_settings(MIDDLEWARE=[_MIDDLEWARE[name]]):
                return bare, _handler(place, runner, given)

        yield measuring({"with an id": blocks(INBOUND), "without an id": blocks(None)})


def _handler(place: Place, runner: asyncio.Runner, given: str | None) -> Block:
    return _on_loop(runner, given) if place.options["asgi"] else _in_thread(given)


def _in_thread(given: str | None) -> Block:
    from django.core.handlers.wsgi import WSGIHandler

    application = WSGIHandler()
    environ = _environ(given)

    def requests(count: int) -> float:
        began = time.process_time()
        for _ in range(count):
            application(dict(environ), _start_response).close()
        return time.process_time() - began

    return requests


def _start_response(*arguments: Any) -> Any:
    return None


def _environ(given: str | None) -> dict[str, Any]:
    from django.test import RequestFactory

    environ: dict[str, Any] = RequestFactory().get("/page").environ
    return {**environ, **({_KEY: given} if given else {})}


def _on_loop(runner: asyncio.Runner, given: str | None) -> Block:
    """Make requests of the chain of middleware and view; what is around them under ASGI costs many times as much."""
    from django.core.handlers.asgi import ASGIHandler
    from django.test import AsyncRequestFactory

    handler = ASGIHandler()
    factory = AsyncRequestFactory(headers={HEADER: given} if given else {})

    async def requests(count: int) -> float:
        made = [factory.get("/async") for _ in range(count)]
        began = time.process_time()
        for request in made:
            await handler.get_response_async(request)
        return time.process_time() - began

    return lambda count: runner.run(requests(count))
