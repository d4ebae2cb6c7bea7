"""What a database's refusal means, whatever driver or library reports it, and what of it is shown to nobody."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any, Literal, TypeVar

from sagaz_integration_core.errors import StoreUnavailable, UnstorableValue, WriteLockHeld, WriteRefused

__all__ = ["Meaning", "meaning", "without_rows"]

E = TypeVar("E", bound=BaseException)

Meaning = Literal["again", "aborted", "ended", "value", "other"]
"""``again``: another transaction was in the way, or the server went away; nothing was committed, so that all of it may
be done again. ``aborted``: an earlier error has ended the transaction. ``ended``: it was committed or rolled back
meanwhile. ``value``: the database can never store this value. ``other``: the statement is refused, as by a
constraint."""

_AGAIN = ("08", "40", "53", "57P", "55P03")
"""How PostgreSQL's codes begin for a lost connection, a conflict, exhausted resources, a shutdown and a locked row."""

_BY_CODE: dict[str, Meaning] = {"25P01": "ended", "25P02": "aborted", "3B001": "ended"}

_MYSQL: dict[int, Meaning] = {
    **dict.fromkeys((1205, 1213, 1020, 2006, 2013), "again"),
    1305: "ended",
    **dict.fromkeys((1264, 1366, 1406, 3140), "value"),
}
"""MySQL's for locks that were waited for too long, deadlocks, rows that changed and lost connections; for a savepoint
that is not there; and for values that do not fit."""

_OF_MYSQL = ("MySQLdb", "pymysql", "mysql", "mariadb", "asyncmy", "aiomysql")
"""Whose errors have them: an application's own `KeyError(1305)` is none of them."""


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
    # Whoever has raised one of its errors has loaded it.
    if (sqlite := sys.modules.get("sqlite3")) is not None and isinstance(error, sqlite.Error):
        return _of_sqlite(error)
    library = type(error).__module__.partition(".")[0]
    if library in _OF_MYSQL and error.args and isinstance(number := error.args[0], int):
        return _MYSQL.get(number, "other")
    # psycopg, which has no code for a connection that broke.
    if library.startswith("psycopg") and type(error).__name__ in ("OperationalError", "InterfaceError"):
        return "again"
    return None


def _of_code(code: str) -> Meaning:
    if code in _BY_CODE:
        return _BY_CODE[code]
    if code.startswith(_AGAIN):
        return "again"
    return "value" if code[:2] in ("22", "54") else "other"


def _of_sqlite(error: BaseException) -> Meaning:
    name = str(getattr(error, "sqlite_errorname", ""))
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR", "SQLITE_FULL", "SQLITE_CANTOPEN")):
        return "again"
    return "ended" if str(error).startswith("no such savepoint") else "other"


def without_rows(error: E) -> E:
    """Take the rows and values of a refused statement from a driver's exception and its causes, and return it.

    PostgreSQL tells of a whole row in a DETAIL, and SQLAlchemy of all parameters: with them, of a run's context. What
    was being handled when it was raised (``__context__``) is the caller's, and left alone.
    """
    chain: list[Any] = [error]
    seen: set[int] = set()
    while chain:
        one = chain.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        chain += [one.__cause__, getattr(one, "orig", None)]
        one.args = tuple(_first_part(value) if isinstance(value, str) else value for value in one.args)
        if hasattr(one, "hide_parameters"):
            one.hide_parameters = True
        if isinstance(getattr(one, "detail", None), str):
            one.detail = None
    return error


_DETAILS = r"(?s)\n[^\W\d_]{2,15}\s?:.*"
"""DETAIL, CONTEXT, QUERY and so on, in whatever language the server speaks; HINT goes with them."""


def _first_part(text: str) -> str:
    return re.sub(_DETAILS, "", text)
