"""The connection that the keeper's thread has for itself, from its first question until nothing is held any more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.errors import StoreUnavailable

__all__ = ["KeeperConnection", "KeeperStore"]

T = TypeVar("T")

_ANSWER_SECONDS = 5.0
"""How long the store may take to answer."""


class KeeperConnection(Protocol):
    """A store that the keeper's thread has for itself."""

    def call(self, work: Callable[[SagaStore], Awaitable[T]], seconds: float) -> T:
        """Ask it something, on the calling thread; connects when it is first asked.

        Raises:
            StoreUnavailable: It is unreachable, or did not answer within ``seconds``.
        """
        ...

    def close(self) -> None:
        """Disconnect."""
        ...


class KeeperStore:
    """The store as the keeper's thread asks it: connected by the first question, and again after `close`.

    Args:
        connect: Makes the connection; None where nobody else can see the runs, so that there is nothing to ask.
        lease_seconds: How long a lease lasts: an answer is to come well within it.
    """

    def __init__(self, connect: Callable[[], KeeperConnection] | None, lease_seconds: float) -> None:
        self._connect = connect
        self._seconds = max(1.0, min(_ANSWER_SECONDS, lease_seconds / 3))
        self._connection: KeeperConnection | None = None

    @property
    def exists(self) -> bool:
        """Whether there is anything to ask."""
        return self._connect is not None

    @property
    def is_connected(self) -> bool:
        """Whether it holds a connection."""
        return self._connection is not None

    def ask(self, work: Callable[[SagaStore], Awaitable[T]]) -> T:
        """Ask the store; on the keeper's thread.

        Raises:
            StoreUnavailable: It is unreachable, did not answer in time, or there is none.
        """
        if self._connect is None:
            raise StoreUnavailable("The runs of this process are seen by nobody else.")
        if self._connection is None:
            self._connection = self._connect()
        return self._connection.call(work, self._seconds)

    def close(self) -> None:
        """Disconnect; harmless when it is not connected."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
