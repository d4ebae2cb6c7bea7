"""PostgreSQL through Django: the engine's statements, each a transaction of its own, and wake-ups at commits."""

from __future__ import annotations

from django_sagaz._stores.listener import Listener
from django_sagaz._stores.loop_database import LoopDatabase
from django_sagaz._stores.postgresql_database import DjangoDatabase
from django_sagaz._stores.runners import DatabaseThread, Runner, immediately
from sagaz_durable.stores.postgresql import journal, request_keys, signals
from sagaz_durable.stores.postgresql.database.notifications import wake_ups
from sagaz_durable.stores.postgresql.rows import insertion
from sagaz_durable.stores.postgresql.store import PostgresStore
from sagaz_integration_core.contract.records import Inserted, NewRun, RunWrite
from sagaz_integration_core.contract.request_keys import KeyClaim, NewKey
from sagaz_integration_core.contract.waits import NewSignal, Sent

__all__ = ["DjangoPostgresStore"]

CHANNEL = "'sagaz_' || current_schema()"
"""The engine's channel, so that its processes and Django's wake each other."""


class DjangoPostgresStore(PostgresStore):
    """The engine's PostgreSQL store on Django's connections, which also starts runs without an event loop.

    Args:
        notify: Whether commits wake workers.
        listen: Whether `wait` listens for that.
    """

    def __init__(self, alias: str, run: Runner, *, notify: bool, listen: bool) -> None:
        wakes = wake_ups(CHANNEL, notify=notify)
        self._here: DjangoDatabase
        if isinstance(run, DatabaseThread):
            self._here = LoopDatabase(alias, run, wakes)
        else:
            self._here = DjangoDatabase(alias, run, wakes)
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

    def write_here(self, write: RunWrite) -> bool | None:
        """Write into the journal on this thread's connection, as a part of the transaction that is open there."""
        rows = self._here.execute_here(*journal.recording(write))
        return rows[0][1] if rows else False
