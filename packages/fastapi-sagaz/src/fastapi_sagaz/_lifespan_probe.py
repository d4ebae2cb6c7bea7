"""How the commands get hold of an application's runtime: through its lifespan, which is entered without serving."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sagaz_durable.runtime.runtime import SagazRuntime

__all__ = ["Visit", "VisitOver", "current_visit", "visiting"]


class VisitOver(Exception):
    """Ends an application's start-up: the command has what it came for, and none of the application's resources."""


class Visit:
    """One command's visit to an application.

    Args:
        enter: Whether the whole lifespan is wanted, or only the runtime, not opened.
        only_reads: Whether the command writes nothing, and needs no right to.

    Attributes:
        runtime: That of the first `create_lifespan` that the start-up came to.
    """

    def __init__(self, *, enter: bool, only_reads: bool = False) -> None:
        self._enter = enter
        self._only_reads = only_reads
        self.runtime: SagazRuntime | None = None

    def meet(self, runtime: SagazRuntime) -> None:
        """Take the runtime that a lifespan is about to open.

        Raises:
            VisitOver: Nothing more is wanted.
        """
        if self.runtime is None:
            self.runtime = runtime
            runtime.only_reads = self._only_reads
        if not self._enter:
            raise VisitOver


_visit: ContextVar[Visit | None] = ContextVar("fastapi_sagaz_visit", default=None)


def current_visit() -> Visit | None:
    """Return the command that has this lifespan entered, if it is not a server."""
    return _visit.get()


@contextmanager
def visiting(visit: Visit) -> Iterator[None]:
    """Have lifespans that are entered within the block know that a command does it."""
    token = _visit.set(visit)
    try:
        yield
    finally:
        _visit.reset(token)
