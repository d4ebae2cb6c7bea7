"""What a plugin opens, drains and closes with its application, and what it reads of a request."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Lifecycle", "RequestContext"]


class Lifecycle(Protocol):
    """A runtime as a plugin carries it from its application's start to its end; all on one event loop."""

    async def open(self, *, patient: bool = False) -> None:
        """Acquire what is needed; when it raises, nothing is left open. ``patient`` waits for missing tables."""

    async def begin(self, app_state: Any = None) -> None:
        """Start to work: the application's own resources, which steps see as ``app_state``, are ready."""

    async def drain(self, seconds: float | None = None) -> None:
        """Take no new runs, and let the running ones end within ``seconds``, by default a setting."""

    async def close(self) -> None:
        """Drain, and give everything back; harmless when already closed."""


class RequestContext(Protocol):
    """What a plugin knows of the request at hand."""

    @property
    def correlation_id(self) -> str:
        """The id that ties the request's log records, runs and events together."""
        ...

    @property
    def propagate(self) -> bool:
        """Whether the id is also put into the context of the sagas that the request starts."""
        ...
