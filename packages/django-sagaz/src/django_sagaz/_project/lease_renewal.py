"""Keeping the leases of a Django process, on a database connection of its own, whoever executes the runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar, cast

from django.db import connections

from django_sagaz._stores.connections import commit_by_themselves, distrust, healthy
from django_sagaz._stores.factory import DjangoStore, open_store
from django_sagaz._stores.runners import Directly, immediately
from sagaz_durable.leases.keeper import LeaseKeeper

if TYPE_CHECKING:
    from sagaz_durable.engine.registry import SagaRegistry
    from sagaz_durable.settings.settings import Settings
    from sagaz_integration_core.contract.store import SagaStore

__all__ = ["new_keeper"]

T = TypeVar("T")


class _OwnConnection:
    """The store on the connection that Django has for the keeper's thread, which has no event loop."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._store: DjangoStore | None = None
        # Of another thread after a fork, which Django would close together with the parent's session.
        self._kept: Any = None

    def call(self, work: Callable[[SagaStore], Awaitable[T]], seconds: float) -> T:
        """Ask the store something; how long that may take, the database's own time limits decide."""
        if self._store is None:
            commit_by_themselves()
            self._store = open_store(self._alias, Directly(), notify=False)
            self._kept = connections[self._alias]
        distrust(0.0)
        try:
            return immediately(cast("Coroutine[Any, Any, T]", work(self._store)))
        finally:
            healthy()

    def close(self) -> None:
        """Disconnect."""
        connections.close_all()


def new_keeper(alias: str, settings: Settings, registry: SagaRegistry) -> LeaseKeeper:
    """Return the keeper of a process whose runs are in the database of this alias; it connects when it is needed."""
    return LeaseKeeper(
        lambda: _OwnConnection(alias),
        lease_seconds=settings.lease_seconds,
        renew_seconds=settings.renew_seconds,
        step_limit=registry.step_limit,
        backoff=settings.backoff,
    )
