"""Statements with the server's own placeholders, so that psycopg need not look for its own at each execution."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import psycopg

from sagaz_durable.stores.postgresql.database.statements import Row, Values

__all__ = ["NumberedStatements"]

_PLACE = re.compile(r"%(?:(%)|s|\((\w+)\)s)")


class _Numbered(NamedTuple):
    """A statement whose placeholders are ``$1``, ``$2`` and so on.

    Attributes:
        names: Those of the values, in this order; empty where they are given in it.
    """

    text: bytes
    names: tuple[str, ...]


class NumberedStatements:
    """Executes statements on asynchronous connections of psycopg, each translated once.

    Args:
        text: Returns a template as it is executed, but for its placeholders: ``%s``, or ``%(name)s``.
    """

    def __init__(self, text: Callable[[str], str]) -> None:
        self._text = text
        self._known: dict[str, _Numbered] = {}

    async def execute(self, connection: psycopg.AsyncConnection[Any], template: str, values: Values) -> list[Row]:
        """Execute a statement, and return its rows."""
        statement = self._known.get(template)
        if statement is None:
            statement = self._known[template] = _numbered(self._text(template))
        given = [values[name] for name in statement.names] if isinstance(values, Mapping) else values
        cursor: psycopg.AsyncRawCursor[Row] = psycopg.AsyncRawCursor(connection)
        return await (await cursor.execute(statement.text, given)).fetchall()


def _numbered(statement: str) -> _Numbered:
    names: list[str] = []
    places = 0

    def place(found: re.Match[str]) -> str:
        nonlocal places
        percent, name = found.groups()
        if percent:
            return "%"
        if name is None:
            places += 1
            return f"${places}"
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return _Numbered(_PLACE.sub(place, statement).encode(), tuple(names))
