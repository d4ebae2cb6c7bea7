"""What PostgreSQL's errors mean to whoever runs the application, each with its fix."""

from __future__ import annotations

import re

import psycopg
from psycopg import errors as pg

from sagaz_durable.settings.wording import Wording
from sagaz_durable.stores.grants import WRITING
from sagaz_durable.stores.postgresql.database.address import Address
from sagaz_integration_core.contract.schema import TABLES
from sagaz_integration_core.error_text import visible
from sagaz_integration_core.errors import (
    SagazError,
    StoreNotMigrated,
    StoreRightsMissing,
    StoreUnavailable,
    UnstorableValue,
    WriteRefused,
)

__all__ = [
    "ConnectionLost",
    "RowsLocked",
    "busy",
    "how_to_migrate",
    "lost",
    "may_not_connect",
    "meaning",
    "not_migrated",
    "unavailable",
]

_CONFLICTS = (pg.SerializationFailure, pg.DeadlockDetected)
"""Another transaction was in the way: the server is well."""


# The right's name is the same in every language that a server may speak.
_CONNECT = r"FATAL: .*\n.*\bCONNECT\b"


class ConnectionLost(StoreUnavailable):
    """The connection went away during a statement: whether that was committed is not known."""


class RowsLocked(WriteRefused):
    """Another transaction had locked rows for longer than a statement waits for them; nothing was recorded."""


def how_to_migrate(wording: Wording) -> str:
    """Tell how the tables are created or brought up to date: a sentence without its end."""
    at_opening = f"the store do it when it opens: set {wording.setting('migrate')} to true"
    # A framework's own command knows nothing of what is at a storage URL.
    if wording.migrate is not None:
        return f"Have {at_opening}"
    return f"Run {wording.command('migrate')}, or have {at_opening}"


def not_migrated(address: Address, why: str) -> StoreNotMigrated:
    """Return the error for tables that are missing or too old, with the command that makes them."""
    return StoreNotMigrated(
        f"The PostgreSQL store {address.shown} is not ready: {why}. {how_to_migrate(address.wording)}."
    )


def lost(shown: str, error: psycopg.Error) -> ConnectionLost:
    """Return the error for a connection that broke."""
    return ConnectionLost(
        f"The connection to the PostgreSQL store {shown} was lost: {_text(error)}. It opens again by itself as soon as "
        "the server can be reached. Whether the last statement was committed is not known."
    )


def busy(address: Address, size: int, seconds: float) -> StoreUnavailable:
    """Return the error for a pool that had no connection to spare."""
    shown = address.shown
    return StoreUnavailable(
        f"None of the {size} connections to the PostgreSQL store {shown} became free within {seconds:g} s. Raise "
        f"{address.wording.setting('pool_size')}, or find out what blocks their statements (pg_stat_activity)."
    )


def unavailable(address: Address, error: psycopg.Error) -> StoreUnavailable | None:
    """Return what an error means for the store; None when it is about the statement's values or a mistake of ours."""
    shown = address.shown
    if isinstance(error, (pg.UndefinedTable, pg.InvalidSchemaName, pg.UndefinedColumn)):
        return not_migrated(address, _text(error))
    if isinstance(error, pg.InsufficientPrivilege) or may_not_connect(error):
        return StoreRightsMissing(
            f"The PostgreSQL store {shown} refuses this user: {_text(error)}. Grant it CONNECT on the database, USAGE "
            f"on the schema, and {', '.join(WRITING)} on {', '.join(TABLES)}; only migrating needs more."
        )
    if isinstance(error, pg.ReadOnlySqlTransaction):
        return StoreUnavailable(
            f"The PostgreSQL store {shown} is read-only: {_text(error)}. After a failover the new primary is found by "
            "itself; with several hosts in the URL, add target_session_attrs=read-write."
        )
    if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        return StoreUnavailable(
            f"The PostgreSQL store {shown} cannot be used: {_text(error)}. Check that the server runs and that host, "
            "port, database, user and password are right."
        )
    return None


def may_not_connect(error: BaseException | None) -> bool:
    """Whether a connection was refused because the user has no right to enter the database; no code tells that."""
    return isinstance(error, psycopg.OperationalError) and re.search(_CONNECT, str(error)) is not None


def meaning(address: Address, error: psycopg.Error | UnicodeEncodeError) -> SagazError:
    """Return what the error of a statement means; none of these texts has a value of the statement in it."""
    shown = address.shown
    if isinstance(error, UnicodeEncodeError):
        return _unstorable(shown, "the database's encoding has not all of its characters")
    if isinstance(error, psycopg.DataError | pg.ProgramLimitExceeded):
        known = error.sqlstate is not None
        return _unstorable(
            address.shown, f"{type(error).__name__}, SQLSTATE {error.sqlstate}" if known else "it has a NUL"
        )
    if isinstance(error, pg.LockNotAvailable):
        return RowsLocked(
            f"Another transaction has locked rows of the PostgreSQL store {shown} that a statement would change, and "
            "nothing was recorded. Find out which one does (pg_locks, pg_stat_activity)."
        )
    if not isinstance(error, _CONFLICTS) and (found := unavailable(address, error)) is not None:
        return found
    # The first line: PostgreSQL's DETAIL has values.
    why = visible(error.diag.message_primary or str(error).partition("\n")[0], 2_000)
    return WriteRefused(
        f"The PostgreSQL store {shown} refused a statement, and nothing was recorded: {why} "
        f"({type(error).__name__}, SQLSTATE {error.sqlstate})."
    )


def _unstorable(shown: str, why: str) -> UnstorableValue:
    return UnstorableValue(
        f"The PostgreSQL store {shown} can never store one of the values that it was given ({why}), and nothing was "
        "recorded. What a UTF-8 database cannot store is refused before a step is called; this database may have "
        "another encoding (SHOW server_encoding)."
    )


def _text(error: psycopg.Error) -> str:
    return visible(" ".join(str(error).split()).rstrip("."), 2_000) or type(error).__name__
