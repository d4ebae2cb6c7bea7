"""What is asked of Django's connections: whose transaction is open, is it healthy, and what do its errors mean."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.db import DEFAULT_DB_ALIAS, DatabaseError, DataError, InterfaceError, OperationalError, connections

from django_sagaz._stores.session_state import has_changed
from django_sagaz.errors import AtomicBlockError
from sagaz_integration_core.contract.schema import TABLES, WRITING
from sagaz_integration_core.error_text import visible, without_rows
from sagaz_integration_core.errors import (
    StoreNotMigrated,
    StoreRightsMissing,
    StoreUnavailable,
    UnstorableValue,
    WriteRefused,
)

__all__ = [
    "ConnectionDied", "commit_by_themselves", "distrust", "healthy", "in_test_case", "in_transaction",
    "migrate_command", "refuse_transaction", "translated",
]  # fmt: skip

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

_UNSTORABLE = ("22", "54")
"""The classes of PostgreSQL's codes for a value that it cannot store, or that is too large."""

_UNSTORABLE_IN_MYSQL = frozenset({1264, 1366, 1406, 3140})
"""Its codes for a number out of range, characters that are not in the column's encoding, too long a text, no JSON."""


class ConnectionDied(StoreUnavailable):
    """The connection went away during a statement: whether that was committed is not known."""


def migrate_command(alias: str) -> str:
    """Return how the tables are made in this database."""
    return "Run: manage.py migrate" + ("" if alias == DEFAULT_DB_ALIAS else f" --database {alias}")


def in_transaction(connection: Any) -> bool:
    """Whether the user's own code has a transaction open; the atomic blocks of a ``TestCase`` are not the user's."""
    if connection.in_atomic_block:
        # The innermost first: mostly, it is the answer. Not any(), which takes three times as long.
        for block in reversed(connection.atomic_blocks):  # noqa: SIM110
            if not getattr(block, "_from_testcase", False):
                return True
        return False
    if connection.connection is None:
        # With the first statement there will be one.
        return not connection.settings_dict["AUTOCOMMIT"]
    return not connection.get_autocommit()


def refuse_transaction(alias: str | None) -> None:
    """Refuse to run a saga on this thread's connections while a transaction is open on one of them.

    Args:
        alias: The database that the journal is in; None when neither journal nor steps use this thread.

    Raises:
        AtomicBlockError: With the reason and the ways out.
    """
    if alias is None:
        return
    if in_transaction(connections[alias]):
        raise _refusal(alias, "the journal of steps that were really done")
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block and in_transaction(connection):
            raise _refusal(connection.alias, "there what its steps did, and the journal would still call them done")


def _refusal(alias: str, loss: str) -> AtomicBlockError:
    return AtomicBlockError(
        f"A transaction is open on database {alias!r}, and a saga cannot run inside it: a rollback would take back "
        f"{loss}. Start it instead with atomic_saga_start(…), for a worker to run after the commit; or run it before "
        f"or after the atomic block (under ATOMIC_REQUESTS, decorate the view with {_non_atomic(alias)})."
        + ("" if connections[alias].settings_dict["AUTOCOMMIT"] else " With AUTOCOMMIT=False there always is one.")
    )


def _non_atomic(alias: str) -> str:
    return "@transaction.non_atomic_requests" + ("" if alias == DEFAULT_DB_ALIAS else f"(using={alias!r})")


def in_test_case(connection: Any) -> bool:
    """Whether only this thread sees what is in the database: in a ``TestCase``, or in a database in memory."""
    if any(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks):
        return True
    return bool(connection.vendor == "sqlite" and connection.is_in_memory_db())


def healthy() -> None:
    """Close this thread's connections that a step left broken, changed or in a transaction; the others are kept.

    Django's own ``close_old_connections`` would, by its defaults, close them all, after every step.
    """
    for connection in connections.all(initialized_only=True):
        if connection.connection is None:
            continue
        if connection.in_atomic_block or not connection.get_autocommit() or has_changed(connection):
            # What was not committed is not to be committed by the next step, which is another run's.
            _discard(connection)
        elif connection.errors_occurred:
            if connection.is_usable():
                connection.errors_occurred = False
            else:
                connection.close()


class _LastUse:
    """When a connection last executed something: one of its ``execute_wrappers``."""

    def __init__(self) -> None:
        self.at = float("-inf")

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        try:
            return execute(sql, params, many, context)
        finally:
            self.at = time.monotonic()


def distrust(idle_seconds: float) -> None:
    """Have Django replace what is dead of this thread's connections when a step uses them, rather than fail the step.

    Args:
        idle_seconds: After so long without a statement also those without ``CONN_HEALTH_CHECKS``: a server may have
            ended what was idle, however busy the thread was.
    """
    connection: Any
    now = time.monotonic()
    for connection in connections.all(initialized_only=True):
        use = next((wrapper for wrapper in connection.execute_wrappers if isinstance(wrapper, _LastUse)), None)
        if use is None:
            use = _LastUse()
            connection.execute_wrappers.insert(0, use)
        if connection.settings_dict["CONN_HEALTH_CHECKS"] or now - use.at > idle_seconds:
            connection.health_check_enabled, connection.health_check_done = True, False


def commit_by_themselves() -> None:
    """Have this thread's connections commit each statement, whatever ``AUTOCOMMIT`` says: they are ours alone.

    One that is open already is left as it is.
    """
    for alias in connections:
        connection: Any = connections[alias]
        if connection.connection is None and not connection.settings_dict["AUTOCOMMIT"]:
            connection.settings_dict = {**connection.settings_dict, "AUTOCOMMIT": True}


def _discard(connection: Any) -> None:
    connection.close()
    # The wrapper would stay in its transaction until a block is left that nobody will leave.
    del connections[connection.alias]


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
        is_outage = isinstance(error, OperationalError | InterfaceError) and _code(error) not in _CONFLICTS
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
    if connection.in_atomic_block or connection.connection is None:
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
