"""Calling a step: async or plain, within its time limit, and telling its own cancellation from ours."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from sagaz_integration_core.errors import StepError

__all__ = ["StepCaller"]

Scope = Callable[[], AbstractContextManager[Any]]


class StepCaller:
    """Calls the functions of one run's steps.

    Args:
        pool: Where plain functions run, so that they do not block the event loop.
        scope: Entered around every call, in the thread that makes it (an application context, connections).
    """

    def __init__(self, pool: Executor, scope: Scope) -> None:
        self._pool = pool
        self._scope = scope
        self._threads: dict[str, Future[Any]] = {}

    async def call(self, name: str, function: Callable[[dict[str, Any]], Any], context: Any, timeout: float) -> Any:
        """Call a step and return what it returns; a call before it that overran its limit in a thread is waited for.

        Raises:
            TimeoutError: It took longer than ``timeout`` seconds. A plain function goes on in its thread.
            StepError: It raised what is no `Exception` (``SystemExit``, a ``CancelledError`` of its own);
                sagaz would take that for success.
        """
        if (thread := self._threads.get(name)) is not None and not thread.done():
            await asyncio.wait([asyncio.wrap_future(thread)])
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                return await self._call(name, function, context)
        except TimeoutError as error:
            if limit.expired():
                raise TimeoutError(f"Step {name!r} timed out after {timeout:g} s.") from error
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise StepError(f"Step {name!r} raised CancelledError without having been cancelled.") from None

    async def _call(self, name: str, function: Callable[[dict[str, Any]], Any], context: Any) -> Any:
        if _is_async(function):
            with self._scope(), _only_exceptions(name):
                return await function(context)
        result = await self._in_thread(name, function, context)
        if inspect.isawaitable(result):
            with self._scope(), _only_exceptions(name):
                return await result
        return result

    def _in_thread(self, name: str, function: Callable[[dict[str, Any]], Any], context: Any) -> Awaitable[Any]:
        def work() -> Any:
            with self._scope(), _only_exceptions(name):
                return function(context)

        # Cancelled while it waits for a thread, it is never called; once it is called, it goes on to its end.
        future = self._threads[name] = self._pool.submit(contextvars.copy_context().run, work)
        return asyncio.wrap_future(future)


@contextmanager
def _only_exceptions(name: str) -> Iterator[None]:
    try:
        yield
    except (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt):
        # Meant for the task or the process; `StepCaller.call` tells a step's own CancelledError from ours.
        raise
    except BaseException as error:
        # StopIteration cannot travel through a future.
        if isinstance(error, Exception) and not isinstance(error, StopIteration | StopAsyncIteration):
            raise
        raise StepError(f"Step {name!r} raised {type(error).__name__}: {error}") from error


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
