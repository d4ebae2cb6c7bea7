"""The tables of an SQLite store: made when they are missing, and refused when they are newer than this release."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable
from typing import Any

from sagaz_durable.stores.sqlite.database.tables import CREATE
from sagaz_integration_core.contract.schema import SCHEMA_VERSION
from sagaz_integration_core.errors import StoreNotMigrated

__all__ = ["prepare", "read_store_id"]

Transaction = Callable[[Callable[[sqlite3.Connection], Any]], Any]


def prepare(path: str, read: Transaction, write: Transaction) -> None:
    """Make the tables unless they are there; processes that do so at once wait for one another.

    Raises:
        StoreNotMigrated: A newer release made them.
    """
    version = read(_version)
    if version is None:
        version = write(_create)
    if version > SCHEMA_VERSION:
        raise StoreNotMigrated(
            f"The SQLite store {path} has tables of version {version}, and this release knows {SCHEMA_VERSION}: a "
            "newer release of sagaz-durable made them. Upgrade this installation, or name another file."
        )


def read_store_id(sqlite: sqlite3.Connection) -> str:
    """Return the random id that the store was given with its tables."""
    row = sqlite.execute("SELECT value FROM sagaz_meta WHERE key = 'store_id'").fetchone()
    return str(row[0])


def _version(sqlite: sqlite3.Connection) -> int | None:
    if sqlite.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'sagaz_meta'").fetchone() is None:
        return None
    row = sqlite.execute("SELECT value FROM sagaz_meta WHERE key = 'schema_version'").fetchone()
    return None if row is None else int(row[0])


def _create(sqlite: sqlite3.Connection) -> int | None:
    # Another process may have made them, perhaps a newer one, while this one waited for the lock.
    if _version(sqlite) is None:
        for statement in CREATE:
            sqlite.execute(statement)
        sqlite.executemany(
            "INSERT OR IGNORE INTO sagaz_meta VALUES (?, ?)",
            [("schema_version", str(SCHEMA_VERSION)), ("store_id", uuid.uuid4().hex)],
        )
    return _version(sqlite)
