"""The routes for synchronous code: nothing is awaited that has not happened already."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from sagaz_integration_core.errors import UsageError

if TYPE_CHECKING:
    from sagaz_durable.engine.registry import SagaRegistry
    from sagaz_durable.operations.scope import ReachableScope
    from sagaz_durable.settings.settings import Settings
    from sagaz_integration_core.contract.store import SagaStore

__all__ = ["BlockingScope", "done_now"]

T = TypeVar("T")


class BlockingScope:
    """A scope whose asynchronous work has been done when it is awaited, on the thread that waits for it.

    Args:
        scope: That of the application, whose ``call`` waits.
    """

    def __init__(self, scope: ReachableScope) -> None:
        self._scope = scope

    @property
    def store(self) -> SagaStore:
        """The store, open."""
        return self._scope.store

    @property
    def registry(self) -> SagaRegistry:
        """The sagas that are known."""
        return self._scope.registry

    @property
    def settings(self) -> Settings:
        """The application's."""
        return self._scope.settings

    @property
    def publishes(self) -> bool:
        """Whether outcomes are written to the outbox."""
        return self._scope.publishes

    async def reach(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do it now."""
        return self.call(work)

    def call(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do it, and wait."""
        return self._scope.call(work)


def done_now(answer: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns that has nothing to wait for: a route over a `BlockingScope`.

    Raises:
        UsageError: It waits for something, as an ``async def`` hook does in a framework that calls it as it is.
    """
    try:
        answer.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    answer.close()
    raise UsageError(
        "authorize= or actor= awaits something, and synchronous code has called it. Make it a def function there."
    )
