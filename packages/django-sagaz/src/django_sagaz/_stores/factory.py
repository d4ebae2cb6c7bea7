"""The store of each kind of database, over Django's connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from django.db import connections

from sagaz_integration_core.contract.records import Inserted, NewRun, RunWrite
from sagaz_integration_core.contract.request_keys import KeyClaim, NewKey
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.contract.waits import NewSignal, Sent

if TYPE_CHECKING:
    from django_sagaz._stores.runners import Runner

__all__ = ["DjangoStore", "open_store"]


class DjangoStore(SagaStore, Protocol):
    """A store on Django's connections."""

    def start(self, run: NewRun) -> Inserted:
        """Insert a run on this thread's connection, here and now; whoever calls it has a transaction open there.

        It is on the way of every request, and goes it without an event loop's detours.
        """
        ...

    def send_here(self, signal: NewSignal) -> Sent:
        """Insert a signal on this thread's connection, here and now, in the transaction that is open there."""
        ...

    def claim_key_here(self, key: NewKey) -> KeyClaim:
        """Claim the key of a request on this thread's connection, in the transaction that is open there."""
        ...

    def answer_key_here(self, key_id: str, answer: str) -> bool:
        """Keep the answer under a key that the transaction holds; False if it does not."""
        ...

    def write_here(self, write: RunWrite) -> bool | None:
        """Write into the journal on this thread's connection, as a part of the transaction that is open there.

        False when it was fenced out, None when another transaction has locked the run's row.
        """
        ...


def open_store(alias: str, run: Runner, *, notify: bool = True, listen: bool = False) -> DjangoStore:
    """Return a store on the database of this alias; it connects when it is first asked something.

    Args:
        run: Makes its database calls.
        notify: Whether commits wake workers, where the database can do that.
        listen: Whether it waits for that; only a worker does.
    """
    vendor = connections[alias].vendor
    if vendor == "sqlite":
        from django_sagaz._stores.sqlite import DjangoSQLiteStore

        return DjangoSQLiteStore(alias, run)
    if vendor == "postgresql":
        from django_sagaz._stores.postgresql import DjangoPostgresStore

        return DjangoPostgresStore(alias, run, notify=notify, listen=listen)
    from django_sagaz._stores.orm.store import ORMStore

    return ORMStore(alias, run)
