"""What a store asks of a caller's own connection so that runs join its transaction; how it is asked is the driver's."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator, Sequence
from dataclasses import field
from typing import Any, Literal, Protocol, TypeAlias

from sagaz_durable.transactions.insertion import Insertion
from sagaz_integration_core.contract.events import NewEvent
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.contract.records import Inserted, NewRun, RunWrite
from sagaz_integration_core.contract.request_keys import NewKey
from sagaz_integration_core.contract.waits import NewSignal, Sent
from sagaz_integration_core.errors import TransactionRequired, WrongDatabase

__all__ = [
    "Caller",
    "Joining",
    "KnownDatabases",
    "Rows",
    "Statement",
    "check_caller",
    "conversation",
    "publication",
    "signalling",
]

Rows: TypeAlias = Sequence[Sequence[Any]]


@record
class Statement:
    """A statement with ``%s`` where its values belong (and no other percent sign)."""

    text: str
    values: tuple[Any, ...] = field(default=(), repr=False)


class KnownDatabases:
    """The engines, and addresses, that were seen to lead to a store's own database."""

    def __init__(self) -> None:
        self._engines: weakref.WeakSet[Any] = weakref.WeakSet()
        self._addresses: set[str] = set()

    def __contains__(self, key: object) -> bool:
        return key in self._addresses if isinstance(key, str) else key in self._engines

    def add(self, key: object) -> None:
        """Remember an engine as long as it lives, or the text of an address."""
        if isinstance(key, str):
            self._addresses.add(key)
        else:
            self._engines.add(key)


@record
class Joining:
    """One open store's side of a start in a caller's transaction.

    Attributes:
        database: Which kind of database the caller must be connected to.
        shown: The store's address, without a password.
        probe: Returns a row if the store's tables are visible to the caller.
        identify: Returns the random id of the tables that the caller sees.
        insert: Inserts runs, skips those that are there, and returns the saga_ids of the others.
        find: Returns saga_id and fingerprint of those that are there.
        publish: Inserts events, skips those that are there, and returns the event_ids of the others.
        send: Inserts signals, skips those that are there or whose run has ended, and returns the ids of the others.
        note: Notes signals that persons have sent in the audit of their runs.
        find_signals: Returns id and fingerprint of those that are there.
        claim_key: Claims the key of a request; returns saga_id and whether somebody had it before, or nothing.
        find_key: Returns fingerprint, saga_id, answer and the seconds that are left of a lease.
        answer_key: Keeps the answer under a key that the caller's transaction holds, and returns its id.
        record: Says what records the end of a step, and then whether it was recorded, as `SagaStore.write` has it.
        lock: Takes the lock without which a transaction that has read might find that it can never write.
    """

    database: Literal["postgresql", "sqlite"]
    shown: str
    store_id: str
    probe: Statement
    identify: Statement
    insert: Callable[[Sequence[NewRun]], Statement]
    find: Callable[[Sequence[str]], Statement]
    publish: Callable[[Sequence[NewEvent]], Statement]
    send: Callable[[Sequence[NewSignal]], Statement]
    note: Callable[[Sequence[NewSignal]], Statement]
    find_signals: Callable[[Sequence[str]], Statement]
    claim_key: Callable[[NewKey], Statement]
    find_key: Callable[[str], Statement]
    answer_key: Callable[[str, str], Statement]
    record: Callable[[RunWrite], Generator[Statement, Rows, bool | None]]
    lock: Statement | None = None
    known: KnownDatabases = field(default_factory=KnownDatabases)


class Caller(Protocol):
    """The caller's connection, whatever library it belongs to."""

    @property
    def database(self) -> str:
        """What kind of database it is connected to, as SQLAlchemy names it."""
        ...

    @property
    def shown(self) -> str:
        """Its address, without a password."""
        ...

    @property
    def key(self) -> object:
        """What connections to the same database have in common: an engine, or an address; None for nothing."""

    @property
    def outside(self) -> str | None:
        """Why a statement would be committed at once, and what to do; None inside a transaction."""


def conversation(
    joining: Joining, caller: Caller, runs: Sequence[NewRun]
) -> Generator[Statement, Rows, list[Inserted]]:
    """Say what to execute, take its rows, and so on; the last word is what became of the runs.

    Raises:
        TransactionRequired: The caller is in no transaction.
        WrongDatabase: The caller's connection does not lead to the store's database.
    """
    if any(run.lease_owner is not None for run in runs):
        raise ValueError("A run with an owner is executed at once, and cannot wait for the caller's commit.")
    yield from check_caller(joining, caller, "run")
    insertion = Insertion(runs)
    while missing := insertion.missing:
        insertion.made((yield joining.insert(missing)))
        # Mostly empty: one statement has done it.
        if taken := insertion.taken:
            insertion.found((yield joining.find(taken)))
    return insertion.answers()


def publication(joining: Joining, caller: Caller, events: Sequence[NewEvent]) -> Generator[Statement, Rows, list[bool]]:
    """Do as `conversation` with events of the application; False for each that was there already.

    Raises:
        TransactionRequired: The caller is in no transaction.
        WrongDatabase: The caller's connection does not lead to the store's database.
    """
    yield from check_caller(joining, caller, "event")
    made = {row[0] for row in (yield joining.publish(events))}
    return [event.event_id in made for event in events]


def signalling(
    joining: Joining, caller: Caller, signals: Sequence[NewSignal]
) -> Generator[Statement, Rows, list[Sent]]:
    """Do as `conversation` with signals.

    Raises:
        TransactionRequired: The caller is in no transaction.
        WrongDatabase: The caller's connection does not lead to the store's database.
    """
    yield from check_caller(joining, caller, "signal")
    made = {row[0] for row in (yield joining.send(signals))}
    if noted := [signal for signal in signals if signal.id in made and signal.actor is not None]:
        yield joining.note(noted)
    found = {}
    # Mostly empty: one statement has done it.
    if others := [signal.id for signal in signals if signal.id not in made]:
        found = {row[0]: row[1] for row in (yield joining.find_signals(others))}
    return [
        Sent(signal.id in made, signal.fingerprint if signal.id in made else found.get(signal.id)) for signal in signals
    ]


def check_caller(joining: Joining, caller: Caller, what: str) -> Generator[Statement, Rows, None]:
    """Check that what is to be inserted can be part of the caller's transaction.

    Raises:
        TransactionRequired: The caller is in no transaction.
        WrongDatabase: The caller's connection does not lead to the store's database.
    """
    if caller.database != joining.database:
        raise _wrong(joining, caller, what, "is another kind of database")
    if caller.outside is not None:
        raise TransactionRequired(f"The {what} is to be part of a transaction, and {caller.outside}.")
    if caller.key is None or caller.key not in joining.known:
        yield from _compare(joining, caller, what)


def _compare(joining: Joining, caller: Caller, what: str) -> Generator[Statement, Rows, None]:
    if not (yield joining.probe):
        raise _wrong(joining, caller, what, "has no sagaz tables there")
    rows = yield joining.identify
    if [row[0] for row in rows] != [joining.store_id]:
        raise _wrong(joining, caller, what, "has the tables of another store")
    if caller.key is not None:
        joining.known.add(caller.key)


def _wrong(joining: Joining, caller: Caller, what: str, why: str) -> WrongDatabase:
    return WrongDatabase(
        f"The {what} is to be part of a transaction on {caller.shown}, which {why}; the store is {joining.shown}. Pass "
        "a session that is bound to the store's database, or let SAGAZ_STORAGE_URL name the session's (and "
        "SAGAZ_SCHEMA its schema, if that is not the same)."
    )
