"""SQLite through Django: the engine's statements, each transaction on a Django connection."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

from django.db import connections, transaction

from django_sagaz._stores.errors import translated
from django_sagaz._stores.identity import read_store_id
from django_sagaz._stores.ready import check_file, check_tables
from django_sagaz._stores.runners import Runner
from sagaz_durable.stores.sqlite import journal, leases, request_keys, signals
from sagaz_durable.stores.sqlite.store import SQLiteStore
from sagaz_integration_core.contract.records import Inserted, NewRun, RunWrite
from sagaz_integration_core.contract.request_keys import KeyClaim, NewKey
from sagaz_integration_core.contract.waits import NewSignal, Sent

__all__ = ["DjangoSQLiteStore"]

T = TypeVar("T")


class DjangoSQLiteStore(SQLiteStore):
    """The engine's SQLite store on Django's connections, which also starts runs without an event loop."""

    def __init__(self, alias: str, run: Runner) -> None:
        self._here = DjangoTransactions(alias, run)
        super().__init__(self._here)

    def start(self, run: NewRun) -> Inserted:
        """Insert a run on this thread's connection, here and now."""
        [inserted] = self._here.write_here(lambda sqlite: leases.insert(sqlite, [run], 0.0))
        return inserted

    def send_here(self, signal: NewSignal) -> Sent:
        """Insert a signal on this thread's connection, here and now."""
        [sent] = self._here.write_here(lambda sqlite: signals.send(sqlite, [signal]))
        return sent

    def claim_key_here(self, key: NewKey) -> KeyClaim:
        """Claim the key of a request on this thread's connection, here and now."""
        return self._here.write_here(lambda sqlite: request_keys.claim_key(sqlite, key))

    def answer_key_here(self, key_id: str, answer: str) -> bool:
        """Keep the answer under a key that the transaction on this thread's connection holds."""
        return self._here.write_here(lambda sqlite: request_keys.answer_key(sqlite, key_id, None, answer))

    def write_here(self, write: RunWrite) -> bool | None:
        """Write into the journal on this thread's connection, as a part of the transaction that is open there."""
        [accepted] = self._here.write_here(lambda sqlite: journal.write(sqlite, [write]))
        return accepted


class DjangoTransactions:
    """Executes the engine's transactions on the connection that Django has where the runner makes its calls."""

    kind = "django"
    path: str | None = None

    def __init__(self, alias: str, run: Runner) -> None:
        self._alias = alias
        self._run = run

    async def open(self) -> None:
        """Django connects when there is something to ask."""

    async def close(self) -> None:
        """Disconnect what is not the caller's."""
        await self._run.close()

    def check(self) -> None:
        """Django opens connections when they are needed."""

    async def check_ready(self, *, only_reads: bool) -> None:
        """Ask whether the tables are there, and the file may be written."""

        def check() -> None:
            check_tables(connections[self._alias])
            if not only_reads:
                check_file(connections[self._alias])

        await self._run(check)

    async def store_id(self) -> str:
        """Return the store's random id."""
        return await self._run(lambda: read_store_id(connections[self._alias]))

    def write_here(self, work: Callable[[Any], T]) -> T:
        """Return what is done on this thread's connection, in the transaction that is open there."""
        connection = connections[self._alias]
        with translated(connection):
            return work(_Statements(connection))

    async def read(self, work: Callable[[Any], T]) -> T:
        """Return what a transaction returns that only reads."""

        def call() -> T:
            connection = connections[self._alias]
            with translated(connection):
                return work(_Statements(connection))

        return await self._run(call)

    async def write(self, work: Callable[[Any], T], *, wary: bool = False) -> T:
        """Return what a transaction returns that has the write lock from its beginning."""

        def call() -> T:
            connection = connections[self._alias]
            with translated(connection), _begun(connection):
                return work(_Statements(connection))

        return await self._run(call)


@contextmanager
def _begun(connection: Any) -> Iterator[None]:
    """A write transaction from the first statement on: one that reads first may find that it can never write."""
    if connection.in_atomic_block:
        yield
        return
    connection.ensure_connection()
    mode, connection.transaction_mode = connection.transaction_mode, "IMMEDIATE"
    try:
        with transaction.atomic(connection.alias):
            yield
    finally:
        connection.transaction_mode = mode


class _Statements:
    """Executes the engine's statements with Django's cursor."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, statement: str, values: Any = ()) -> Any:
        cursor = self._connection.cursor()
        cursor.execute(_for_django(statement), values)
        return cursor

    def executemany(self, statement: str, rows: Iterable[Any]) -> None:
        rows = list(rows)
        if rows:
            self._connection.cursor().executemany(_for_django(statement), rows)


@cache
def _for_django(statement: str) -> str:
    """Write ``?`` and ``:name`` as Django does; as they are, its cursor would take them too, but not under DEBUG."""
    return re.sub(r":(\w+)", r"%(\1)s", statement.replace("%", "%%").replace("?", "%s"))
