"""The engine's statements on Django's connections to PostgreSQL: how one is executed, and what its errors mean."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import OperationalError, connections

from django_sagaz._stores.errors import ConnectionDied, migrate_command, translated
from django_sagaz._stores.identity import read_store_id
from django_sagaz._stores.runners import Runner
from sagaz_durable.stores.postgresql.database.errors import ConnectionLost
from sagaz_durable.stores.postgresql.database.rights import LACKING, lacking_values, what_lacks
from sagaz_durable.stores.postgresql.database.statements import Database, Row, Values

__all__ = ["CONFLICTS", "TRIES", "DjangoDatabase"]

CONFLICTS = ("40001", "40P01")
"""The codes for a transaction that cannot be serialized, where the role's default asks for that, and for a deadlock."""

TRIES = 10


class DjangoDatabase(Database):
    """Executes the engine's statements on the connection that Django has where the runner makes its calls."""

    kind = "django"
    shown: str | None = None

    def __init__(self, alias: str, run: Runner, wakes: Mapping[str, str]) -> None:
        super().__init__()
        self._alias = alias
        self._run = run
        self._names = wakes

    async def open(self) -> None:
        """Django connects when there is something to ask."""

    async def close(self) -> None:
        """Disconnect what is not the caller's."""
        await self._run.close()

    def check_process(self) -> None:
        """Django opens connections when they are needed."""

    def check(self) -> None:
        """Django opens connections when they are needed, on any thread."""

    async def check_ready(self, *, only_reads: bool) -> None:
        """Ask whether tables and rights are there."""
        rows = await self.fetch(LACKING, lacking_values(None, only_reads=only_reads))
        subject, migrate = f"Database {self._alias!r}", migrate_command(self._alias)
        if lack := what_lacks(subject, rows, only_reads=only_reads, migrate=migrate):
            raise lack

    async def store_id(self) -> str:
        """Return the store's random id."""
        return await self._run(lambda: read_store_id(connections[self._alias]))

    def fill_in(self, template: str) -> str:
        """Leave out the schema: the tables are found by the search path, as Django finds its own."""
        return super().fill_in(template.replace("{schema}.", ""))

    async def mend(self) -> None:
        """The dead connection has been closed, and the next statement opens another."""

    async def execute_once(self, template: str, values: Values = ()) -> list[Row]:
        """Execute a statement where the runner makes its calls, and return its rows."""
        try:
            return await self._run(lambda: self.execute_here(template, values))
        except ConnectionDied as error:
            raise ConnectionLost(str(error)) from error

    def execute_here(self, template: str, values: Values) -> list[Row]:
        """Execute a statement on this thread's connection, and return its rows."""
        statement, connection = self.text(template), connections[self._alias]
        with translated(connection), connection.cursor() as cursor:
            for left in reversed(range(TRIES)):
                try:
                    cursor.execute(statement, values)
                    break
                except OperationalError as error:
                    conflicts = getattr(error.__cause__, "sqlstate", None) in CONFLICTS
                    # In a transaction it is the caller's to begin anew. Else nothing was committed, and who won, ended.
                    if not (left and conflicts) or connection.in_atomic_block or not connection.get_autocommit():
                        raise
            rows: list[Row] = cursor.fetchall()
            return rows
