"""What a database's refusal of a transactional step means, whatever driver or library reports it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any, Literal

from sagaz_integration_core.errors import StoreUnavailable, UnstorableValue, WriteLockHeld, WriteRefused

__all__ = ["Meaning", "meaning"]

Meaning = Literal["again", "aborted", "ended", "value", "other"]
"""``again``: another transaction was in the way, or the server went away; nothing was committed, so that all of it may
be done again. ``aborted``: an earlier error has ended the transaction. ``ended``: it was committed or rolled back
meanwhile. ``value``: the database can never store this value. ``other``: the statement is refused, as by a
constraint."""

_AGAIN = ("08", "40", "53", "57P", "55P03")
"""How PostgreSQL's codes begin for a lost connection, a conflict, exhausted resources, a shutdown and a locked row."""

_BY_CODE: dict[str, Meaning] = {"25P02": "aborted", "3B001": "ended"}

_MYSQL: dict[int, Meaning] = {
    **dict.fromkeys((1205, 1213, 1020, 2006, 2013), "again"),
    1305: "ended",
    **dict.fromkeys((1264, 1366, 1406, 3140), "value"),
}
"""MySQL's for locks that were waited for too long, deadlocks, rows that changed and lost connections; for a savepoint
that is not there; and for values that do not fit."""


def meaning(error: BaseException) -> Meaning:
    """Return what an error means; ``other`` for one that no database has raised."""
    if isinstance(error, UnstorableValue):
        return "value"
    if isinstance(error, StoreUnavailable | WriteRefused):
        # The step's own transaction holds that lock.
        return "other" if isinstance(error, WriteLockHeld) else "again"
    for one in _reports(error):
        if (found := _of_report(one)) is not None:
            return found
    return "other"


def _reports(error: BaseException) -> Iterator[BaseException]:
    """Return the error, and what a library has made it of: SQLAlchemy keeps that as ``orig``, Django as its cause."""
    one: Any = error
    while isinstance(one, BaseException):
        yield one
        by_django = type(one).__module__ == "django.db.utils"
        one = one.__cause__ if by_django else getattr(one, "orig", None)


def _of_report(error: BaseException) -> Meaning | None:
    code = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if isinstance(code, str):
        return _of_code(code)
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(error)
    if error.args and isinstance(number := error.args[0], int):
        return _MYSQL.get(number, "other")
    # psycopg, which has no code for a connection that broke.
    if type(error).__module__.startswith("psycopg") and type(error).__name__ in ("OperationalError", "InterfaceError"):
        return "again"
    return None


def _of_code(code: str) -> Meaning:
    if code in _BY_CODE:
        return _BY_CODE[code]
    if code.startswith(_AGAIN):
        return "again"
    return "value" if code[:2] in ("22", "54") else "other"


def _of_sqlite(error: sqlite3.Error) -> Meaning:
    name = str(getattr(error, "sqlite_errorname", ""))
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR", "SQLITE_FULL", "SQLITE_CANTOPEN")):
        return "again"
    return "ended" if str(error).startswith("no such savepoint") else "other"
