"""Whether tables and rights are there, asked of databases that have no way to tell but trying."""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import Any

from django.db import transaction

from django_sagaz._stores.errors import migrate_command, translated
from sagaz_durable.stores.grants import READING, WRITING, spell_out
from sagaz_integration_core.contract.schema import TABLES
from sagaz_integration_core.errors import StoreNotMigrated, StoreRightsMissing

__all__ = ["check_file", "check_rights", "check_tables"]

# None of them touches a row, and each needs the right of its name.
_TRIALS = {
    "SELECT": "SELECT 1 FROM {table} WHERE 1 = 0",
    # All columns: MariaDB refuses one that leaves out what has no default, row or not.
    "INSERT": "INSERT INTO {table} SELECT * FROM {table} WHERE 1 = 0",
    "UPDATE": "UPDATE {table} SET {column} = {column} WHERE 1 = 0",
    "DELETE": "DELETE FROM {table} WHERE 1 = 0",
}


def check_tables(connection: Any) -> None:
    """Look for the tables.

    Raises:
        StoreNotMigrated: Naming those that are missing.
    """
    with translated(connection):
        unseen = sorted(set(TABLES) - set(connection.introspection.table_names()))
    # MariaDB hides a table from a user who may do nothing with it.
    if missing := [table for table in unseen if not _is_refused(connection, "SELECT", table)]:
        alias = connection.alias
        raise StoreNotMigrated(
            f"Database {alias!r} is not ready: there is no table {', '.join(missing)}. {migrate_command(alias)}."
        )


def check_file(connection: Any) -> None:
    """Look whether this user may write an SQLite file, and what SQLite puts beside it.

    Raises:
        StoreRightsMissing: Naming what it may not write.
    """
    if connection.is_in_memory_db():
        return
    path = os.path.abspath(connection.settings_dict["NAME"])
    for place in (path, os.path.dirname(path)):
        if not os.access(place, os.W_OK):
            raise StoreRightsMissing(
                f"Database {connection.alias!r} is not ready: this user has no right to write {place}. Give it that "
                "right."
            )


def check_rights(connection: Any, *, only_reads: bool) -> None:
    """Try each statement that will be needed, on no row.

    Raises:
        StoreRightsMissing: Naming what is refused.
    """
    lacks = [
        (table, right)
        for table, columns in TABLES.items()
        for right in (READING if only_reads else WRITING)
        if _is_refused(connection, right, table, columns[0])
    ]
    if lacks:
        user = connection.settings_dict["USER"]
        raise StoreRightsMissing(
            f"Database {connection.alias!r} is not ready: its user {user} has not the right to "
            f"{'; '.join(spell_out(lacks))}. GRANT it, table by table."
        )


def _is_refused(connection: Any, right: str, table: str, column: str = "") -> bool:
    """Whether this user may not do it; False also where there is no such table."""
    statement = _TRIALS[right].format(table=table, column=connection.ops.quote_name(column))
    # In a caller's transaction without savepoints: a refused statement does not end it.
    block = nullcontext() if connection.in_atomic_block else transaction.atomic(connection.alias)
    try:
        with translated(connection), block, connection.cursor() as cursor:
            cursor.execute(statement)
    except StoreRightsMissing:
        return True
    except StoreNotMigrated:
        pass
    return False
