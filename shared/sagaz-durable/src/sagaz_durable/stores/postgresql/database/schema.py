"""The tables of a PostgreSQL store: migrated step by step under a lock, and checked when a store is opened."""

from __future__ import annotations

import uuid

import psycopg
from psycopg import sql

from sagaz_durable.stores.postgresql.database.address import Address
from sagaz_durable.stores.postgresql.database.connection import Connection, connect
from sagaz_durable.stores.postgresql.database.errors import how_to_migrate, lost, not_migrated, unavailable
from sagaz_durable.stores.postgresql.database.migrations import MIGRATIONS, Migration
from sagaz_durable.stores.postgresql.database.rights import LACKING, lacking_values, what_lacks
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.contract.schema import SCHEMA_VERSION, TABLES
from sagaz_integration_core.errors import StoreNotMigrated, StoreUnavailable

__all__ = ["Found", "find_tables", "migrate_tables"]

_LOCK = 7_022_041_985_551_339
"""Whoever migrates holds this advisory lock, whatever the schema, until its transaction ends."""


@record
class Found:
    """The tables that a connection sees: in which schema, with which random id, and in which encoding."""

    schema: str
    store_id: str
    encoding: str


async def find_tables(address: Address, schema: str | None, *, only_reads: bool) -> Found:
    """Check that this release can use the tables, and this user, too.

    Args:
        only_reads: Nothing will be written, so that no right to do so is needed.

    Raises:
        StoreNotMigrated: They are missing, too old, or too new.
        StoreRightsMissing: The user lacks a right.
        StoreUnavailable: The server cannot be reached.
    """
    connection = await connect(address)
    try:
        return await _find(connection, address, schema, only_reads=only_reads)
    except psycopg.Error as error:
        raise _translated(address, connection, error) from error
    finally:
        await connection.close()


async def migrate_tables(address: Address, schema: str | None) -> list[str]:
    """Bring the tables up to date and return the names of what was done; others that do so at once wait.

    Raises:
        StoreUnavailable: The server cannot be reached, or the user may not create tables.
    """
    connection = await connect(address)
    try:
        # A user without the right to create anything may migrate what is up to date.
        if await _is_current(connection, schema):
            return []
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            return await _migrate(connection, address, schema)
    except psycopg.Error as error:
        raise _translated(address, connection, error) from error
    finally:
        await connection.close()


async def _find(connection: Connection, address: Address, schema: str | None, *, only_reads: bool) -> Found:
    await _check_rights(connection, address, schema, only_reads=only_reads)
    place = await _schema_of_tables(connection, schema)
    if place is None:
        setting = address.wording.setting("schema")
        where = f"schema {schema!r}" if schema else f"the search_path of this user (or name a schema with {setting})"
        raise not_migrated(address, f"there are no sagaz tables in {where}")
    meta = await _meta(connection, place)
    version, oldest = int(meta["schema_version"]), int(meta["schema_compatible"])
    if version < SCHEMA_VERSION:
        raise not_migrated(address, f"its tables have version {version}, and this release needs {SCHEMA_VERSION}")
    # Rolling deployment: newer tables say which release they can still be used by. Each migration decides.
    if oldest > SCHEMA_VERSION:
        raise StoreNotMigrated(
            f"The PostgreSQL store {address.shown} has tables of version {version}, which releases that know version "
            f"{oldest} can use; this one knows {SCHEMA_VERSION}. Upgrade sagaz-durable here."
        )
    return Found(place, meta["store_id"], str(await _one(connection, "SHOW server_encoding")))


async def _check_rights(connection: Connection, address: Address, schema: str | None, *, only_reads: bool) -> None:
    rows = await (await connection.execute(LACKING, lacking_values(schema, only_reads=only_reads))).fetchall()
    closed = any(table is None for *_, table, _ in rows)
    if not closed and len({table for *_, table, right in rows if right is None}) == len(TABLES):
        # Without a single table there is more to be said.
        return
    subject = f"The PostgreSQL store {address.shown}"
    if lack := what_lacks(subject, rows, only_reads=only_reads, migrate=how_to_migrate(address.wording)):
        raise lack


async def _migrate(connection: Connection, address: Address, schema: str | None) -> list[str]:
    place = schema or await _default_schema(connection, address)
    if schema is not None and (await _one(connection, "SELECT to_regnamespace(%s)::text", f'"{schema}"')) is None:
        await connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    # Asked again under the lock: another process may have done it meanwhile.
    exists = await _schema_of_tables(connection, place) is not None
    version = int((await _meta(connection, place))["schema_version"]) if exists else 0
    todo = [migration for migration in MIGRATIONS if migration.version > version]
    for migration in todo:
        await _apply(connection, place, migration)
    return [migration.name for migration in todo]


async def _apply(connection: Connection, place: str, migration: Migration) -> None:
    quoted = sql.Identifier(place).as_string(connection)
    for statement in migration.statements:
        await connection.execute(statement.replace("{schema}", quoted).encode())
    rows = {"schema_version": str(migration.version), "schema_compatible": str(migration.compatible)}
    for key, value in rows.items():
        await connection.execute(_in(place, _SET_META), [key, value])
    await connection.execute(_in(place, _SET_META_ONCE), ["store_id", uuid.uuid4().hex])


async def _is_current(connection: Connection, schema: str | None) -> bool:
    place = await _schema_of_tables(connection, schema)
    return place is not None and int((await _meta(connection, place))["schema_version"]) >= SCHEMA_VERSION


async def _default_schema(connection: Connection, address: Address) -> str:
    place = await _one(connection, "SELECT current_schema()")
    if place is None:
        raise StoreUnavailable(
            f"The PostgreSQL store {address.shown} has no schema to create tables in: this user's search_path names "
            f"none that exists. Name one with {address.wording.setting('schema')}."
        )
    return place


async def _schema_of_tables(connection: Connection, schema: str | None) -> str | None:
    """Return where sagaz_meta is, so that what the search_path says is asked for once and for all."""
    name = f'"{schema}".sagaz_meta' if schema else "sagaz_meta"
    return await _one(
        connection,
        "SELECT nspname::text FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
        "WHERE pg_class.oid = to_regclass(%s)",
        name,
    )


async def _meta(connection: Connection, place: str) -> dict[str, str]:
    return dict(await (await connection.execute(_in(place, _READ_META))).fetchall())


async def _one(connection: Connection, statement: str, *values: str) -> str | None:
    row = await (await connection.execute(statement.encode(), values)).fetchone()
    return None if row is None else row[0]


def _in(place: str, statement: sql.SQL) -> sql.Composed:
    return statement.format(sql.Identifier(place))


def _translated(address: Address, connection: Connection, error: psycopg.Error) -> Exception:
    if connection.closed:
        return lost(address.shown, error)
    return unavailable(address, error) or error


_READ_META = sql.SQL(
    "SELECT key, value FROM {}.sagaz_meta WHERE key IN ('schema_version', 'schema_compatible', 'store_id')"
)
_SET_META = sql.SQL("INSERT INTO {}.sagaz_meta VALUES (%s, %s) ON CONFLICT (key) DO UPDATE SET value = excluded.value")
_SET_META_ONCE = sql.SQL("INSERT INTO {}.sagaz_meta VALUES (%s, %s) ON CONFLICT (key) DO NOTHING")
