"""The run that a request with an ``Idempotency-Key`` starts: the same one however often the request is executed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sagaz_integration_core.context.current_step import current as current_call

__all__ = ["is_started_again", "key_of_request", "starting_under"]


class _RequestRun:
    def __init__(self, saga_class: type, key: str) -> None:
        self.saga_class, self.key = saga_class, key
        self.starts = 0


_of_request: ContextVar[_RequestRun | None] = ContextVar("sagaz_request_run", default=None)


@contextmanager
def starting_under(saga_class: type | None, key: str) -> Iterator[None]:
    """Have a start of this saga within the block get this key, unless it is given another one."""
    token = _of_request.set(None if saga_class is None else _RequestRun(saga_class, key))
    try:
        yield
    finally:
        _of_request.reset(token)


def key_of_request(saga_class: type, given: str | None) -> str | None:
    """Return the idempotency key of a start: what it was given, or that of the request at hand.

    What a step starts is not the request's.
    """
    found = _of_request.get()
    if given is not None or found is None or found.saga_class is not saga_class or current_call.get(None) is not None:
        return given
    found.starts += 1
    return found.key


def is_started_again(key: str | None) -> bool:
    """Whether this is the key of the request at hand, which has started its run before."""
    found = _of_request.get()
    return found is not None and found.key == key and found.starts > 1
