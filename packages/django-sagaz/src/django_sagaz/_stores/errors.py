"""What the errors of Django's databases mean to whoever runs the project, each with its fix."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.db import DEFAULT_DB_ALIAS, DatabaseError, DataError, InterfaceError, OperationalError

from django_sagaz._stores.connections import in_transaction
from sagaz_durable.stores.grants import WRITING
from sagaz_durable.transactions.database_errors import without_rows
from sagaz_integration_core.contract.schema import TABLES
from sagaz_integration_core.error_text import visible
from sagaz_integration_core.errors import (
    StoreNotMigrated,
    StoreRightsMissing,
    StoreUnavailable,
    UnstorableValue,
    WriteRefused,
)

__all__ = ["ConnectionDied", "migrate_command", "translated"]

_UNDEFINED = frozenset({"42P01", "42703", "3F000"})
"""PostgreSQL's codes for a missing table, column or schema."""

_NO_SUCH_TABLE = 1146
"""MySQL's."""

_READ_ONLY = "25006"
"""PostgreSQL's code for a server that only reads, as a former primary."""

_FORBIDDEN = ("42501", 1142, 1143, 1044)
"""PostgreSQL's code for a missing privilege, and MySQL's."""

_CONFLICTS = ("40001", "40P01", 1213)
"""The codes for a transaction that cannot be serialized, or waits for one that waits for it: to be begun anew."""

_LOCKED = "55P03"
"""PostgreSQL's code for rows that another transaction has locked for longer than a statement waits."""

_UNSTORABLE = ("22", "54")
"""The classes of PostgreSQL's codes for a value that it cannot store, or that is too large."""

_UNSTORABLE_IN_MYSQL = frozenset({1264, 1366, 1406, 3140})
"""Its codes for a number out of range, characters that are not in the column's encoding, too long a text, no JSON."""

_REFUSED_IN_MYSQL = frozenset({1644, 3819, 4025})
"""Its codes for what a trigger signals, and for a constraint by CHECK, of MySQL and of MariaDB: Django calls some of
these operational, like a server that cannot be reached."""

_NO_OUTAGE = frozenset({*_CONFLICTS, *_REFUSED_IN_MYSQL})


class ConnectionDied(StoreUnavailable):
    """The connection went away during a statement: whether that was committed is not known."""


def migrate_command(alias: str) -> str:
    """Return how the tables are made in this database."""
    return "Run: python manage.py migrate" + ("" if alias == DEFAULT_DB_ALIAS else f" --database {alias}")


class translated:
    """Connect, if need be, and turn Django's database errors into the store's.

    A class rather than a generator: it is on the way of every start.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        if self._connection.connection is None:
            _connect(self._connection)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, UnicodeEncodeError):
            # Not chained: it holds the whole text.
            raise _unstorable(self._connection, "its encoding has not all of its characters") from None
        if not isinstance(error, DatabaseError | InterfaceError):
            return
        without_rows(error)
        if _is_missing(error):
            alias = self._connection.alias
            raise StoreNotMigrated(
                f"Database {alias!r} has not the tables of sagaz: {_text(error)}. {migrate_command(alias)}"
            ) from error
        if _code(error) in _CONFLICTS and in_transaction(self._connection):
            # The caller's transaction is the caller's to begin anew.
            return
        if _is_unstorable(error):
            known = f"code {_code(error)}" if _code(error) else "too long, or characters that it has not"
            raise _unstorable(self._connection, known) from None
        if _code(error) == _LOCKED and not in_transaction(self._connection):
            raise _locked(self._connection) from error
        is_outage = isinstance(error, OperationalError | InterfaceError) and _code(error) not in _NO_OUTAGE
        if is_outage or _code(error) in (_READ_ONLY, *_FORBIDDEN):
            raise _unavailable(self._connection, error) from error
        if not in_transaction(self._connection):
            raise WriteRefused(
                f"Database {self._connection.alias!r} refused a statement, and nothing was recorded: {_text(error)}."
            ) from error


def _is_unstorable(error: Exception) -> bool:
    code = _code(error)
    if isinstance(code, str):
        return code[:2] in _UNSTORABLE
    return isinstance(error, DataError) or code in _UNSTORABLE_IN_MYSQL


def _unstorable(connection: Any, why: str) -> UnstorableValue:
    return UnstorableValue(
        f"Database {connection.alias!r} can never store one of the values that it was given ({why}), and nothing was "
        "recorded."
    )


def _locked(connection: Any) -> Exception:
    # Projects on other databases have no psycopg.
    from sagaz_durable.stores.postgresql.database.errors import RowsLocked

    return RowsLocked(
        f"Another transaction has locked rows in database {connection.alias!r} that a statement would change, and "
        "nothing was recorded. Find out which one does (pg_locks, pg_stat_activity)."
    )


def _connect(connection: Any) -> None:
    try:
        connection.ensure_connection()
    except (DatabaseError, InterfaceError, OSError) as error:
        # Whatever a server says that begins or ends, while the session is set up, it has nothing to do with what was
        # to be asked: one that is shut down may not even know the time zone UTC any more. Half set up, the connection
        # would be used by the next call.
        with suppress(DatabaseError, InterfaceError):
            connection.close()
        failure = _forbidden(connection, error) or StoreUnavailable(_says(connection, error))
    else:
        return
    # Not chained, and outside of the block: the frames of Django and of the driver hold the password.
    raise failure


def _unavailable(connection: Any, error: Exception) -> StoreUnavailable:
    if (failure := _forbidden(connection, error)) is not None:
        return failure
    text = _says(connection, error)
    if connection.connection is None or connection.in_atomic_block or not connection.get_autocommit():
        # In a transaction nothing is done again, on a connection that does not know what died with it.
        return StoreUnavailable(text)
    if _code(error) == _READ_ONLY:
        # The next connection may lead to the new primary.
        connection.close()
        return StoreUnavailable(text)
    if connection.is_usable():
        return StoreUnavailable(text)
    connection.close()
    return ConnectionDied(text)


def _forbidden(connection: Any, error: Exception) -> StoreRightsMissing | None:
    if str(error) == "attempt to write a readonly database":
        wanted = "the right to write the file and its directory"
    elif connection.vendor == "postgresql" and _may_not_connect(error):
        wanted = "CONNECT on the database"
    elif _code(error) in _FORBIDDEN:
        wanted = f"{', '.join(WRITING)} on {', '.join(TABLES)}"
    else:
        return None
    return StoreRightsMissing(f"Database {connection.alias!r} refuses its user: {_text(error)}. Give it {wanted}.")


def _may_not_connect(error: Exception) -> bool:
    # Projects on other databases have no psycopg.
    from sagaz_durable.stores.postgresql.database.errors import may_not_connect

    return may_not_connect(error.__cause__)


def _says(connection: Any, error: Exception) -> str:
    return f"Database {connection.alias!r} cannot be used: {_text(error)}. Nothing is lost; try again."


def _is_missing(error: Exception) -> bool:
    return _code(error) in _UNDEFINED or _code(error) == _NO_SUCH_TABLE or str(error).startswith("no such table")


def _code(error: Exception) -> str | int | None:
    """Return PostgreSQL's code, or MySQL's number."""
    cause = error.__cause__
    code: str | int | None = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    return code or next((code for code in error.args[:1] if isinstance(code, int)), None)


def _text(error: Exception) -> str:
    return visible(" ".join(str(error).split()).rstrip("."), 2_000) or type(error).__name__
