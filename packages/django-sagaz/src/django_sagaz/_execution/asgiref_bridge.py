"""Where asgiref sends synchronous work that belongs to a context; the only module that touches its switches."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from types import FrameType

from asgiref.sync import AsyncToSync, SyncToAsync

__all__ = ["has_waiting_parent", "is_async_to_sync", "own_loop", "thread_sensitive_in"]

_CALL = AsyncToSync.__call__.__code__.co_filename


def has_waiting_parent() -> bool:
    """Whether a synchronous thread waits for this coroutine, and makes its calls (``async_to_sync``)."""
    return getattr(AsyncToSync.executors, "current", None) is not None


def is_async_to_sync(frame: FrameType) -> bool:
    """Whether ``async_to_sync`` makes this call: it does so before there is a loop, and awaits what it returns."""
    return frame.f_code.co_filename == _CALL


@contextmanager
def thread_sensitive_in(executor: Executor) -> Iterator[None]:
    """Have ``sync_to_async``, and with it the asynchronous ORM, make its calls in this executor, in this context."""
    before = getattr(AsyncToSync.executors, "current", None)
    if before is executor:
        # asgiref's local copies a dictionary into a context variable for each change.
        yield
        return
    AsyncToSync.executors.current = executor
    try:
        yield
    finally:
        AsyncToSync.executors.current = before


@contextmanager
def own_loop() -> Iterator[None]:
    """Have ``async_to_sync`` on this thread find, afterwards, the event loop that it would have found before."""
    local = SyncToAsync.threadlocal
    before = dict(local.__dict__)
    try:
        yield
    finally:
        local.__dict__.clear()
        local.__dict__.update(before)
