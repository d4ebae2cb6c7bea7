"""Streamed bodies: made after the request's teardown, and still under its correlation id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext

from flask import has_app_context

from flask_sagaz._flask_g import on_g
from sagaz_integration_core.context.correlation import bound
from sagaz_integration_core.contract.lifecycle import RequestContext

__all__ = ["BoundStream"]


class BoundStream:
    """Binds a request's id while a piece of its body is made, and never in between.

    Args:
        pieces: What the application returned.
        context: The request's own.
    """

    def __init__(self, pieces: Iterable[bytes], context: RequestContext) -> None:
        self._pieces = pieces
        self._iterator = iter(pieces)
        self._context = context

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with self._bound():
            return next(self._iterator)

    def close(self) -> None:
        """Close what the application returned; the server calls it in any case."""
        close = getattr(self._pieces, "close", None)
        if close is not None:
            with self._bound():
                close()

    @contextmanager
    def _bound(self) -> Iterator[None]:
        known = self._context.correlation_id
        with (
            bound(known, propagate=self._context.propagate),
            on_g(known) if has_app_context() else nullcontext(),
        ):
            yield
