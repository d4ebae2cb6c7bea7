"""What the project's database lacks: said once, by name, and asked for again until it is there."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from django.db import connections

from django_sagaz._stores.connections import in_test_case
from django_sagaz._stores.runners import immediately
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.errors import StoreNotReady

__all__ = ["Lacks"]

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Lacks:
    """Lets a process start sagas when its database was found to lack neither tables nor rights, and not before.

    Args:
        alias: The database; None for a store outside of Django's, which waits for what it lacks by itself.
    """

    def __init__(self, alias: str | None) -> None:
        self._alias = alias
        self._lock = threading.Lock()
        self._told: str | None = None
        self._is_sure = alias is None
        self._vendor = None if alias is None else connections[alias].vendor

    async def check(self, store: SagaStore) -> None:
        """Ask, unless the database was found to lack nothing.

        Raises:
            StoreNotReady: Saying what it lacks.
        """
        if not self._is_sure:
            await self.ask(store)

    async def ask(self, store: SagaStore) -> None:
        """Ask in any case; what is lacking, and that it is there at last, is told to the log once.

        Raises:
            StoreNotReady: Saying what it lacks.
        """
        try:
            await store.check_ready()
        except StoreNotReady as error:
            self._note(str(error))
            raise
        self._note(None)

    def insert(self, store: SagaStore, work: Callable[[], T]) -> T:
        """Do work with the store in the caller's transaction.

        Raises:
            StoreNotReady: Saying what the database lacks.
        """
        if not self._is_sure and self._may_ask():
            immediately(self.ask(store))
        try:
            return work()
        except StoreNotReady:
            self._is_sure = False
            if self._vendor != "postgresql":
                # The transaction goes on, which PostgreSQL's does not.
                immediately(self.ask(store))
            raise

    def _may_ask(self) -> bool:
        if self._told is not None:
            return True
        # Where a transaction read before its first write, SQLite may refuse that write. And a test that counts its
        # queries is not to find another one where it happens to be the first that starts a saga.
        return self._vendor != "sqlite" and not in_test_case(connections[str(self._alias)])

    def _note(self, lack: str | None) -> None:
        with self._lock:
            before, self._told, self._is_sure = self._told, lack, lack is None
        if lack is not None and lack != before:
            logger.error("No saga can be started here until this is mended, which is looked for: %s", lack)
        if lack is None and before is not None:
            logger.warning("Database %r lacks nothing any more: sagas can be started here.", self._alias)
