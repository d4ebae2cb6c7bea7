"""An endpoint that clients may repeat, called where its framework would call it: what its decorators do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from sagaz_durable.http.idempotency.requests import RepeatableRequest
from sagaz_durable.http.messages import HttpResponse
from sagaz_durable.http.problems import Problem, problem_response
from sagaz_durable.http.synchronous import done_now

__all__ = ["Answerer", "answer", "answer_sync"]

R = TypeVar("R")


class Answerer(Protocol[R]):
    """How a framework's own responses are read and made."""

    def read(self, response: R) -> tuple[HttpResponse | None, int]:
        """Return a response as it is kept, None if its body cannot be, and its status."""
        ...

    def make(self, response: HttpResponse) -> R:
        """Return the framework's own response."""
        ...


async def answer(
    begin: Callable[[], RepeatableRequest], answerer: Answerer[R], call: Callable[[], Awaitable[R]], header: str | None
) -> R:
    """Return the answer that was given before, or that an asynchronous endpoint gives now.

    Args:
        begin: Makes the request, of which a problem is answered as such.
        call: Calls the endpoint.
        header: The correlation id that the request has brought.
    """
    try:
        request = begin()
        given = await request.begin()
    except Problem as problem:
        return answerer.make(problem_response(problem, header))
    if given is not None:
        return answerer.make(given)
    try:
        with request.starting():
            response = await call()
        instead = await request.end(*answerer.read(response))
    except BaseException:
        await asyncio.shield(request.abandon())
        raise
    return response if instead is None else answerer.make(instead)


def answer_sync(
    begin: Callable[[], RepeatableRequest], answerer: Answerer[R], call: Callable[[], R], header: str | None
) -> R:
    """Do as `answer`, with a synchronous endpoint, and a place whose work is done when it is awaited."""
    try:
        request = begin()
        given = done_now(request.begin())
    except Problem as problem:
        return answerer.make(problem_response(problem, header))
    if given is not None:
        return answerer.make(given)
    try:
        with request.starting():
            response = call()
        instead = done_now(request.end(*answerer.read(response)))
    except BaseException:
        done_now(request.abandon())
        raise
    return response if instead is None else answerer.make(instead)
