"""Where runs are kept: the implementations of `SagaStore`, and the choice among them by the storage URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sagaz_durable.settings.urls import parse_storage_url
from sagaz_integration_core.errors import SettingsError

if TYPE_CHECKING:
    from sagaz_durable.settings.settings import Settings
    from sagaz_integration_core.contract.store import SagaStore

__all__ = ["create_store", "migrate"]


def create_store(settings: Settings, *, only_reads: bool = False) -> SagaStore:
    """Build the store that ``settings.storage_url`` names; it is not opened yet.

    Args:
        only_reads: Nothing will be written: PostgreSQL is not asked for the rights to do so.

    Raises:
        SettingsError: The URL is wrong, or its driver is not installed.
    """
    url = parse_storage_url(settings.storage_url)
    if url.kind == "memory":
        from sagaz_durable.stores.memory.store import MemoryStore

        return MemoryStore(keep_finished=settings.keep_finished)
    if url.path is not None:
        from sagaz_durable.stores.sqlite.database.thread import ConnectionThread
        from sagaz_durable.stores.sqlite.store import SQLiteStore

        return SQLiteStore(
            ConnectionThread(url.path, busy_seconds=settings.sqlite_busy_seconds, wording=settings.wording)
        )
    return _postgres(settings, only_reads=only_reads)


def _postgres(settings: Settings, *, only_reads: bool) -> SagaStore:
    try:
        from sagaz_durable.stores.postgresql.database.address import read_address
        from sagaz_durable.stores.postgresql.database.listener import Listener
        from sagaz_durable.stores.postgresql.database.pool import Connections
        from sagaz_durable.stores.postgresql.store import PostgresStore
    except ModuleNotFoundError as error:
        raise _without_driver(error, settings) from error
    address = read_address(settings.storage_url, settings.wording)
    database = Connections(
        address,
        schema=settings.schema,
        size=settings.pool_size,
        notify=settings.notify,
        migrate=settings.migrate and not only_reads,
        only_reads=only_reads,
    )
    return PostgresStore(database, Listener(database) if settings.notify and not address.pgbouncer else None)


def _without_driver(error: ModuleNotFoundError, settings: Settings) -> Exception:
    if error.name is None or error.name.partition(".")[0] not in ("psycopg", "psycopg_pool"):
        return error
    return SettingsError(
        f"The storage URL names PostgreSQL, and the module {error.name!r} is not installed. "
        f"Install it with: {settings.wording.install('postgres')}"
    )


async def migrate(settings: Settings) -> list[str]:
    """Create a PostgreSQL store's tables, or bring them up to date; return the names of the migrations that did.

    Any number of processes may do it at once. It needs the right to create tables (and the schema, if that is
    missing); using them afterwards does not.

    Raises:
        StoreUnavailable: The server cannot be reached, or the user lacks these rights.
    """
    from sagaz_durable.stores.postgresql.database.address import read_address
    from sagaz_durable.stores.postgresql.database.schema import migrate_tables

    return await migrate_tables(read_address(settings.storage_url, settings.wording), settings.schema)
