"""The correlation id on ``flask.g``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import g

from sagaz_integration_core.context.correlation import correlation_id

__all__ = ["globals_class", "on_g"]


def globals_class(base: type[Any]) -> type[Any]:
    """Return a class for an application's ``g`` that begins with the id of the request, or run, at hand."""

    class Globals(base):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            known = correlation_id()
            if known is not None:
                self.correlation_id = known

    return Globals


@contextmanager
def on_g(known: str) -> Iterator[None]:
    """Have the id on the ``g`` at hand within the block, which may be there before and after it."""
    # Itself, not the proxy: what happens within the block may end its context.
    own: Any = g._get_current_object()  # noqa: SLF001 - documented by Flask
    before = own.get("correlation_id")
    own.correlation_id = known
    try:
        yield
    finally:
        if before is None:
            own.pop("correlation_id", None)
        else:
            own.correlation_id = before
