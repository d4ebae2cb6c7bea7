"""PostgreSQL through Django: the engine's statements, each a transaction of its own, and wake-ups at commits."""

from __future__ import annotations

from typing import Any

import psycopg
from django.db import OperationalError, connections

from django_sagaz._stores.errors import ConnectionDied, migrate_command, translated
from django_sagaz._stores.identity import read_store_id
from django_sagaz._stores.listener import Listener
from django_sagaz._stores.runners import DatabaseThread, Runner, immediately
from sagaz_durable.stores.postgresql import request_keys, signals
from sagaz_durable.stores.postgresql.database.errors import ConnectionLost
from sagaz_durable.stores.postgresql.database.rights import LACKING, lacking_values, what_lacks
from sagaz_durable.stores.postgresql.database.session import OWN_SESSION, PREPARE_THRESHOLD
from sagaz_durable.stores.postgresql.database.statements import Database, Row, Values
from sagaz_durable.stores.postgresql.rows import insertion
from sagaz_durable.stores.postgresql.store import PostgresStore
from sagaz_integration_core.contract.records import Inserted, NewRun
from sagaz_integration_core.contract.request_keys import KeyClaim, NewKey
from sagaz_integration_core.contract.waits import NewSignal, Sent

__all__ = ["DjangoPostgresStore"]

CHANNEL = "'sagaz_' || current_schema()"
"""The engine's channel, so that its processes and Django's wake each other."""

_CONFLICTS = ("40001", "40P01")
"""The codes for a transaction that cannot be serialized, where the role's default asks for that, and for a deadlock."""

_TRIES = 10


class DjangoPostgresStore(PostgresStore):
    """The engine's PostgreSQL store on Django's connections, which also starts runs without an event loop.

    Args:
        notify: Whether commits wake workers.
        listen: Whether `wait` listens for that.
    """

    def __init__(self, alias: str, run: Runner, *, notify: bool, listen: bool) -> None:
        self._here = DjangoDatabase(alias, run, f"pg_notify({CHANNEL}, '')" if notify else "NULL")
        super().__init__(self._here, Listener(alias, run, self._here) if notify and listen else None)

    def start(self, run: NewRun) -> Inserted:
        """Insert a run on this thread's connection, here and now."""
        if self._here.execute_here(*insertion([run], 0.0, once=True)):
            return Inserted(run.saga_id, True, run.fingerprint)
        [inserted] = immediately(self.insert([run], 0.0))
        return inserted

    def send_here(self, signal: NewSignal) -> Sent:
        """Insert a signal on this thread's connection, here and now."""
        if self._here.execute_here(*signals.sending([signal])):
            return Sent(True, signal.fingerprint)
        found = self._here.execute_here(signals.FIND_SENT, [[signal.id]])
        return Sent(False, found[0][1] if found else None)

    def claim_key_here(self, key: NewKey) -> KeyClaim:
        """Claim the key of a request on this thread's connection, here and now."""
        return immediately(request_keys.claim_key(self._here, key))

    def answer_key_here(self, key_id: str, answer: str) -> bool:
        """Keep the answer under a key that the transaction on this thread's connection holds."""
        return bool(self._here.execute_here(request_keys.ANSWER, (answer, key_id, None)))


class DjangoDatabase(Database):
    """Executes the engine's statements on the connection that Django has where the runner makes its calls.

    A `DatabaseThread`'s connection executes nothing else. There they are prepared, and planned once, as the engine has
    it: Django's own cursors send each with its values in its text, so that PostgreSQL plans it each time.
    """

    kind = "django"
    shown: str | None = None

    def __init__(self, alias: str, run: Runner, wake: str) -> None:
        super().__init__()
        self._alias = alias
        self._run = run
        self._wake = wake
        self._session: Any = None
        self._prepares = False

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
        return template.replace("{schema}.", "").replace("{wake}", self._wake)

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
        with translated(connection), self._cursor(connection) as cursor:
            for left in reversed(range(_TRIES)):
                try:
                    cursor.execute(statement, values)
                    break
                except OperationalError as error:
                    conflicts = getattr(error.__cause__, "sqlstate", None) in _CONFLICTS
                    # In a transaction it is the caller's to begin anew. Else nothing was committed, and who won, ended.
                    if not (left and conflicts) or connection.in_atomic_block or not connection.get_autocommit():
                        raise
            rows: list[Row] = cursor.fetchall()
            return rows

    def _cursor(self, connection: Any) -> Any:
        if not isinstance(self._run, DatabaseThread) or connection.settings_dict["OPTIONS"].get("pool"):
            return connection.cursor()
        if connection.connection is not self._session:
            self._prepares = _prepared(connection)
            self._session = connection.connection
        if not self._prepares:
            return connection.cursor()
        cursor = psycopg.Cursor(self._session)
        return connection.make_debug_cursor(cursor) if connection.queries_logged else connection.make_cursor(cursor)


def _prepared(connection: Any) -> bool:
    """Have a new session prepare statements and plan them once, unless a pooler is in between."""
    session = connection.connection
    with connection.cursor() as cursor:
        cursor.execute(OWN_SESSION, [session.info.backend_pid])
        if not cursor.fetchall():
            return False
    session.prepare_threshold = PREPARE_THRESHOLD
    return True
