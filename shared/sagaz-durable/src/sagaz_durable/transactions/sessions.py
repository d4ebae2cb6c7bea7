"""Inserting inside the caller's own transaction: a run or event exists if and only if its other rows do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from sagaz_durable.transactions.connections import (
    AsyncCaller,
    AsyncPsycopgCaller,
    AsyncSQLAlchemyCaller,
    AsyncSQLiteCaller,
    PsycopgCaller,
    SQLAlchemyCaller,
    SQLiteCaller,
    SyncCaller,
)
from sagaz_durable.transactions.database_errors import without_rows
from sagaz_durable.transactions.statements import (
    Caller,
    Joining,
    Rows,
    Statement,
    conversation,
    publication,
    signalling,
)
from sagaz_integration_core.contract.events import NewEvent
from sagaz_integration_core.contract.records import Inserted, NewRun
from sagaz_integration_core.contract.waits import NewSignal, Sent
from sagaz_integration_core.errors import SagazError, UsageError

__all__ = [
    "JoinableStore",
    "UnsupportedSession",
    "is_instance",
    "join",
    "join_events",
    "join_events_sync",
    "join_signals",
    "join_signals_sync",
    "join_sync",
    "talk",
    "talk_sync",
]

R = TypeVar("R")
A = TypeVar("A")
Talk: TypeAlias = Generator[Statement, Rows, A]

_ACCEPTED_SYNC = (
    "SQLAlchemy's Session, scoped_session and Connection (with psycopg, psycopg2 or sqlite3), psycopg.Connection and "
    "sqlite3.Connection"
)
_ACCEPTED_ASYNC = (
    "SQLAlchemy's AsyncSession and AsyncConnection (with psycopg, asyncpg or aiosqlite), psycopg.AsyncConnection and "
    "aiosqlite.Connection"
)


class UnsupportedSession(UsageError):
    """What was passed as ``session`` is nothing that rows can be inserted through."""


class JoinableStore(Protocol):
    """A store whose rows can be inserted through somebody else's connection."""

    @property
    def joining(self) -> Joining:
        """The statements that do it; the store must be open."""
        ...


async def join(session: Any, store: object, runs: Sequence[NewRun]) -> list[Inserted]:
    """Insert runs through the caller's session, as part of its transaction; one statement, however many they are.

    Args:
        session: A session or connection of SQLAlchemy, psycopg, sqlite3 or aiosqlite. A synchronous one is taken too,
            and blocks the event loop while it executes.
        store: The open store that the session's database belongs to.

    Returns:
        An answer for each run, in the same order. A run that was there already (committed) is left as it is.

    Raises:
        TransactionRequired: The connection commits every statement by itself.
        WrongDatabase: The session leads to another database than the store's.
        UnsupportedSession: It is nothing of the kind.
    """
    return await talk(session, store, runs, conversation)


def join_sync(session: Any, store: object, runs: Sequence[NewRun]) -> list[Inserted]:
    """Do as `join`, with a synchronous session."""
    return talk_sync(session, store, runs, conversation)


async def join_events(session: Any, store: object, events: Sequence[NewEvent]) -> list[bool]:
    """Do as `join`, with events of the application; False for each that was there already."""
    return await talk(session, store, events, publication)


def join_events_sync(session: Any, store: object, events: Sequence[NewEvent]) -> list[bool]:
    """Do as `join_events`, with a synchronous session."""
    return talk_sync(session, store, events, publication)


async def join_signals(session: Any, store: object, signals: Sequence[NewSignal]) -> list[Sent]:
    """Do as `join`, with signals."""
    return await talk(session, store, signals, signalling)


def join_signals_sync(session: Any, store: object, signals: Sequence[NewSignal]) -> list[Sent]:
    """Do as `join_signals`, with a synchronous session."""
    return talk_sync(session, store, signals, signalling)


async def talk(session: Any, store: object, rows: R, words: Callable[[Joining, Caller, R], Talk[A]]) -> A:
    """Execute what ``words`` says, through the caller's connection, and return its last word."""
    joining = _joining(store)
    caller = await _async_caller(session)
    if caller is None:
        return talk_sync(session, store, rows, words)
    talk = words(joining, caller, rows)
    try:
        statement = next(talk)
        while True:
            statement = talk.send(await caller.execute(statement))
    except StopIteration as end:
        answers: A = end.value
        return answers
    except SagazError:
        raise
    except Exception as error:
        without_rows(error)
        raise


def talk_sync(session: Any, store: object, rows: R, words: Callable[[Joining, Caller, R], Talk[A]]) -> A:
    """Do as `talk`, with a synchronous session."""
    joining = _joining(store)
    caller = _sync_caller(session)
    if caller is None:
        raise _unsupported(session)
    talk = words(joining, caller, rows)
    try:
        statement = next(talk)
        while True:
            statement = talk.send(caller.execute(statement))
    except StopIteration as end:
        answers: A = end.value
        return answers
    except SagazError:
        raise
    except Exception as error:
        without_rows(error)
        raise


def _joining(store: object) -> Joining:
    # Not isinstance(): that takes longer than all the rest of a start but its statement.
    joining = getattr(store, "joining", None)
    if not isinstance(joining, Joining):
        raise UnsupportedSession(
            f"Nothing of the {getattr(store, 'kind', type(store).__name__)} store can join a transaction: it is in no "
            "database. Use SAGAZ_STORAGE_URL=postgresql://… or sqlite:///…, or leave out session=…."
        )
    return joining


def _sync_caller(session: Any) -> SyncCaller | None:
    if is_instance(session, "sqlalchemy.orm", "scoped_session"):
        session = session()
    if is_instance(session, "sqlalchemy.orm", "Session"):
        session = _connection_of(session)
    if is_instance(session, "sqlalchemy.engine", "Connection"):
        if _begins_late(session):
            session.begin()
        _refuse_two_phases(session)
        return SQLAlchemyCaller(session)
    if is_instance(session, "psycopg", "Connection"):
        _refuse_tpc(session)
        return PsycopgCaller(session)
    if is_instance(session, "sqlite3", "Connection"):
        return SQLiteCaller(session)
    return None


async def _async_caller(session: Any) -> AsyncCaller | None:
    if is_instance(session, "sqlalchemy.ext.asyncio", "async_scoped_session"):
        session = session()
    if is_instance(session, "sqlalchemy.ext.asyncio", "AsyncSession"):
        with _Binds():
            session = await session.connection()
    if is_instance(session, "sqlalchemy.ext.asyncio", "AsyncConnection"):
        if _begins_late(session):
            await session.begin()
        _refuse_two_phases(session.sync_connection)
        return AsyncSQLAlchemyCaller(session)
    if is_instance(session, "psycopg", "AsyncConnection"):
        _refuse_tpc(session)
        return AsyncPsycopgCaller(session)
    if is_instance(session, "aiosqlite", "Connection"):
        return AsyncSQLiteCaller(session)
    return None


def _connection_of(session: Any) -> Any:
    # It joins the session's transaction, or begins it, and does not flush: that is the caller's to decide.
    with _Binds():
        return session.connection()


def _begins_late(connection: Any) -> bool:
    """Whether only a first statement would show if there is a transaction: SQLAlchemy's recipe for SQLite, for one."""
    return bool(connection.dialect.name == "sqlite" and not connection.in_transaction())


def _refuse_two_phases(connection: Any) -> None:
    if is_instance(connection.get_transaction(), "sqlalchemy.engine", "TwoPhaseTransaction"):
        raise _two_phases("This session commits in two phases (twophase=True)", "a session without twophase")


def _refuse_tpc(connection: Any) -> None:
    # psycopg tells of it nowhere else, and PostgreSQL only when the transaction is prepared.
    if getattr(connection, "_tpc", None) is not None:
        raise _two_phases("This connection commits in two phases (tpc_begin)", "a connection without tpc_begin")


def _two_phases(what: str, instead: str) -> UnsupportedSession:
    return UnsupportedSession(
        f"{what}, and a start cannot be part of that: PostgreSQL prepares no transaction that wakes workers by NOTIFY. "
        f"Pass {instead}, whose transaction holds the rows that belong to the saga; what is in another database "
        "belongs into a step."
    )


class _Binds:
    """Translates SQLAlchemy's complaint about a session without a database of its own."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None and is_instance(error, "sqlalchemy.exc", "UnboundExecutionError"):
            raise UnsupportedSession(
                "This session has binds for its models, but none of its own, so that it is not known which of its "
                "transactions is to be joined. Pass that one's connection: session=session.connection("
                "bind_arguments={'bind': engine})."
            ) from error


def is_instance(value: object, module: str, name: str) -> bool:
    """Whether this is an instance of a class whose library somebody has imported; we never do."""
    return isinstance(value, getattr(sys.modules.get(module), name, ()))


def _unsupported(session: Any) -> UnsupportedSession:
    kind = f"{type(session).__module__}.{type(session).__qualname__}"
    if is_instance(session, "sqlalchemy.engine", "Engine") or is_instance(
        session, "sqlalchemy.ext.asyncio", "AsyncEngine"
    ):
        hint = "An engine has no transaction: pass a session or connection made by it"
    elif any(is_instance(session, *place) for place in _ASYNC_CLASSES):
        hint = f"It is asynchronous: use `await`. Without await, accepted are {_ACCEPTED_SYNC}"
    else:
        hint = f"Accepted are {_ACCEPTED_SYNC}; with await also {_ACCEPTED_ASYNC}"
    return UnsupportedSession(f"Nothing can join a transaction through a {kind}. {hint}.")


_ASYNC_CLASSES = (
    ("sqlalchemy.ext.asyncio", "AsyncSession"),
    ("sqlalchemy.ext.asyncio", "async_scoped_session"),
    ("sqlalchemy.ext.asyncio", "AsyncConnection"),
    ("psycopg", "AsyncConnection"),
    ("aiosqlite", "Connection"),
)
