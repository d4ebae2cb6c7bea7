"""sagaz's storage interfaces over Django's connections, for code that is written for sagaz itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from asgiref.sync import sync_to_async
from django.db import DEFAULT_DB_ALIAS, connections

from django_sagaz._stores.factory import open_store
from sagaz_durable.sagaz_storage import StoreOutboxStorage, StoreSagaStorage
from sagaz_integration_core.errors import SettingsError

__all__ = ["DjangoOutboxStorage", "DjangoPostgreSQLSagaStorage", "DjangoSagaStorage"]

T = TypeVar("T")


class DjangoSagaStorage(StoreSagaStorage):
    """Reads every run in a Django database; what sagaz saves through it is marked foreign, and never executed.

    Args:
        using: The database alias.

    Raises:
        SettingsError: The database is of a kind that is not supported.
    """

    def __init__(self, using: str | None = None) -> None:
        self.using = DEFAULT_DB_ALIAS if using is None else using
        super().__init__(open_store(self.using, _Wherever()))


class DjangoPostgreSQLSagaStorage(DjangoSagaStorage):
    """A `DjangoSagaStorage` that insists on PostgreSQL, where claims skip locked rows and commits wake workers."""

    def __init__(self, using: str | None = None) -> None:
        alias = DEFAULT_DB_ALIAS if using is None else using
        if connections[alias].vendor != "postgresql":
            raise SettingsError(
                f"DjangoPostgreSQLSagaStorage was given database {alias!r}, which is "
                f"{connections[alias].display_name}. Use DjangoSagaStorage, which takes every database."
            )
        super().__init__(using)


class DjangoOutboxStorage(StoreOutboxStorage):
    """The outbox in a Django database: what sagaz inserts joins the transaction that is open on this thread.

    Args:
        using: The database alias.

    Raises:
        SettingsError: The database is of a kind that is not supported.
    """

    def __init__(self, using: str | None = None) -> None:
        self.using = DEFAULT_DB_ALIAS if using is None else using
        super().__init__(open_store(self.using, _Wherever()))


class _Wherever:
    """On the context's own thread in asynchronous code, and otherwise here and now."""

    async def __call__(self, work: Callable[[], T]) -> T:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return work()
        return await sync_to_async(work, thread_sensitive=True)()

    async def close(self) -> None:
        """Nothing was opened: the connection is the caller's."""
