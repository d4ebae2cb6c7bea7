"""Background runs that wait for their response to be sent, and what becomes of those whose turn never comes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sagaz_durable.engine.execution import RunExecution
    from sagaz_durable.runtime.runtime import SagazRuntime

__all__ = ["Parked", "parked_of", "parking"]

_ATTRIBUTE = "_fastapi_sagaz_parked"


class Parked:
    """Runs of one request that are recorded and leased, and not executed yet."""

    def __init__(self) -> None:
        self._waiting: list[tuple[SagazRuntime, RunExecution]] = []
        self._over = False

    def add(self, runtime: SagazRuntime, execution: RunExecution) -> None:
        """Keep a run until the request is over; if it is over already, execute it."""
        self._waiting.append((runtime, execution))
        if self._over:
            self.execute_all()

    def execute_all(self) -> None:
        """Hand the runs to the runtime, which may have executed them already because it shuts down."""
        waiting, self._waiting = self._waiting, []
        for runtime, execution in waiting:
            if runtime.runs.is_parked(execution):
                runtime.runs.execute(execution)

    def end(self) -> None:
        """Execute what still waits: the endpoint raised, the client left, or a response of its own had no tasks."""
        self._over = True
        self.execute_all()


@contextmanager
def parking(saga: Any) -> Iterator[None]:
    """Let background runs of this bound saga wait at most until the end of the block."""
    parked = Parked()
    setattr(saga, _ATTRIBUTE, parked)
    try:
        yield
    finally:
        parked.end()


def parked_of(saga: object) -> Parked:
    """Return where background runs of this bound saga wait."""
    parked: Parked = getattr(saga, _ATTRIBUTE)
    return parked
