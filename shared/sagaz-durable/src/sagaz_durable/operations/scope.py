"""What decisions and commands are made with: an open runtime, or what stands for one."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from sagaz_durable.engine.registry import SagaRegistry
    from sagaz_durable.settings.settings import Settings
    from sagaz_integration_core.contract.store import SagaStore

__all__ = ["ReachableScope", "Scope"]

T = TypeVar("T")


class Scope(Protocol):
    """The store of an application, and what the application says."""

    @property
    def store(self) -> SagaStore:
        """The store, open."""
        ...

    @property
    def registry(self) -> SagaRegistry:
        """The sagas that are known."""
        ...

    @property
    def settings(self) -> Settings:
        """The application's."""
        ...

    @property
    def publishes(self) -> bool:
        """Whether outcomes are written to the outbox."""
        ...


class ReachableScope(Scope, Protocol):
    """One that does asynchronous work where its store can be used."""

    async def reach(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do it for a coroutine."""
        ...

    def call(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do it for synchronous code, which waits."""
        ...
