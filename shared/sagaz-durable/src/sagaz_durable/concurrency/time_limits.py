"""Awaiting user code for a limited time."""

from __future__ import annotations

import asyncio
import inspect
import types
from collections.abc import Awaitable, Coroutine, Generator
from typing import Any, TypeVar

__all__ = ["TimeIsUp", "within"]

T = TypeVar("T")


class TimeIsUp(Exception):
    """The time was over before what was awaited had ended; not a `TimeoutError`, which it may raise by itself."""


async def within(seconds: float, awaitable: Awaitable[T]) -> T:
    """Await something for at most ``seconds``.

    A coroutine that never waits for anything, as most hooks do, costs no timer: it is begun before one is set.

    Raises:
        TimeIsUp: It took longer, and was cancelled.
    """
    if inspect.iscoroutine(awaitable):
        try:
            first = awaitable.send(None)
        except StopIteration as end:
            value: T = end.value
            return value
        awaitable = _rest(awaitable, first)
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await awaitable
    except TimeoutError:
        if limit.expired():
            raise TimeIsUp from None
        raise


@types.coroutine
def _rest(coroutine: Coroutine[Any, Any, T], waits_for: Any) -> Generator[Any, Any, T]:
    """Go on with a coroutine that has begun and waits, as ``await`` does (PEP 380) with one that has not."""
    try:
        while True:
            try:
                sent = yield waits_for
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as error:
                waits_for = coroutine.throw(error)
            else:
                waits_for = coroutine.send(sent)
    except StopIteration as end:
        value: T = end.value
        return value
