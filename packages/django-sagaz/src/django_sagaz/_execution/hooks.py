"""A project's own functions, plain or ``async def``, for synchronous and for asynchronous views."""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async

__all__ = ["asynchronous_hook", "synchronous_hook"]

Hook = Callable[..., Any]


def synchronous_hook(hook: Hook | None) -> Hook | None:
    """Return a hook for synchronous views, which wait for an ``async def`` function."""
    if hook is None or (asynchronous := _asynchronous(hook)) is None:
        return hook
    return async_to_sync(asynchronous)


def asynchronous_hook(hook: Hook | None) -> Hook | None:
    """Return a hook for asynchronous views; a plain function may use the ORM, and ``request.user``."""
    return hook if hook is None or _asynchronous(hook) is not None else sync_to_async(_ending(hook))


def _ending(hook: Hook) -> Hook:
    """Have a plain function raise no StopIteration, which no future takes: whoever awaits it would wait for ever."""

    def call(*given: Any, **named: Any) -> Any:
        try:
            return hook(*given, **named)
        except StopIteration as error:
            # As Python itself has it of coroutines.
            raise RuntimeError("a plain function raised StopIteration") from error

    return call


def _asynchronous(hook: Hook) -> Hook | None:
    call = getattr(hook, "__call__", None)  # noqa: B004 - of an object whose class has an asynchronous one
    return next((one for one in (hook, call) if iscoroutinefunction(one)), None)
