"""Transactions of steps on the application's own sessions, each made by a factory that was given at set-up."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from sagaz_durable.transactions.session_transactions import AsyncTransaction, SyncTransaction
from sagaz_durable.transactions.sessions import is_instance
from sagaz_integration_core.error_text import type_name
from sagaz_integration_core.errors import UsageError

__all__ = ["SessionTransactions"]

_SYNC = (("sqlalchemy.orm", "Session"), ("psycopg", "Connection"))
_ASYNC = (("sqlalchemy.ext.asyncio", "AsyncSession"), ("psycopg", "AsyncConnection"))
_SCOPED = (("sqlalchemy.orm", "scoped_session"), ("sqlalchemy.ext.asyncio", "async_scoped_session"))
_MAKERS = {False: ("sqlalchemy.orm", "sessionmaker"), True: ("sqlalchemy.ext.asyncio", "async_sessionmaker")}


class SessionTransactions:
    """Makes a session for each call, commits it together with the call's journal entry, and closes it.

    Args:
        factory: Returns a new session or connection, or a context manager around one, as a pool's ``connection()`` is.
    """

    def __init__(self, factory: Callable[[], Any]) -> None:
        self._factory = factory

    def lacks(self, *, is_async: bool) -> str | None:
        """Tell of a factory that makes the other kind of sessions."""
        if is_instance(self._factory, *_MAKERS[not is_async]):
            return f"its session_factory {_mismatch(is_async=is_async)}"
        return None

    def begin(self, store: object) -> SyncTransaction:
        """Make a session, and begin its transaction."""
        session, close, registry = self._open()
        transaction = SyncTransaction(session, close, store, registry)
        try:
            transaction.begin()
        except BaseException:
            transaction.end()
            raise
        return transaction

    async def begin_async(self, store: object) -> AsyncTransaction:
        """Make a session, and begin its transaction."""
        session, close, registry = await self._open_async()
        transaction = AsyncTransaction(session, close, store, registry)
        try:
            await transaction.begin()
        except BaseException:
            await transaction.end()
            raise
        return transaction

    def _open(self) -> tuple[Any, Callable[[], Any], Any]:
        given, registry = _current(self._factory(), self._factory)
        if _is_any(given, _SYNC):
            return given, given.close, registry
        if inspect.isawaitable(given) or _is_any(given, _ASYNC) or hasattr(given, "__aenter__"):
            if inspect.iscoroutine(given):
                given.close()
            raise UsageError(f"The session_factory {_mismatch(is_async=False)}.")
        if not hasattr(given, "__enter__"):
            raise _unknown(given)
        session = given.__enter__()

        def close() -> None:
            given.__exit__(None, None, None)

        if not _is_any(session, _SYNC):
            close()
            raise _unknown(session)
        return session, close, None

    async def _open_async(self) -> tuple[Any, Callable[[], Awaitable[Any]], Any]:
        made = self._factory()
        # A session of SQLAlchemy, and a pool's block, can be awaited themselves.
        given, registry = _current(await made if inspect.iscoroutine(made) else made, self._factory)
        if _is_any(given, _ASYNC):
            return given, given.close, registry
        if _is_any(given, _SYNC):
            given.close()
            raise UsageError(f"The session_factory {_mismatch(is_async=True)}.")
        if not hasattr(given, "__aenter__"):
            raise _unknown(given)
        session = await given.__aenter__()

        async def close() -> None:
            await given.__aexit__(None, None, None)

        if not _is_any(session, _ASYNC):
            await close()
            raise _unknown(session)
        return session, close, None


def _current(made: Any, factory: Any) -> tuple[Any, Any]:
    """Return the session at hand, and the registry that it is of, if any; as ``db.session`` is one, and a factory."""
    if _is_any(made, _SCOPED):
        return made(), made
    return made, factory if _is_any(factory, _SCOPED) else None


def _is_any(value: object, places: tuple[tuple[str, str], ...]) -> bool:
    return any(is_instance(value, *place) for place in places)


def _mismatch(*, is_async: bool) -> str:
    if is_async:
        return (
            "makes synchronous sessions, which would block the event loop of an `async def` step: make it a `def` "
            "step, or give an async_sessionmaker"
        )
    return "makes asynchronous sessions, and a `def` step cannot await: make it an `async def` step"


def _unknown(given: object) -> UsageError:
    return UsageError(
        f"The session_factory returned a {type_name(given)}. It has to return a new Session or AsyncSession of "
        "SQLAlchemy, or a Connection or AsyncConnection of psycopg, or a context manager around one."
    )
