"""One transaction of a step on a session of SQLAlchemy or a connection of psycopg."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from sagaz_durable.transactions.database_errors import meaning
from sagaz_durable.transactions.session_guard import SessionGuard
from sagaz_durable.transactions.sessions import talk, talk_sync
from sagaz_durable.transactions.step_statements import beginning, ending, recording, returning
from sagaz_integration_core.contract.records import RunWrite
from sagaz_integration_core.errors import StepError

__all__ = ["AsyncTransaction", "SyncTransaction"]


class SyncTransaction:
    """A ``Session`` or ``psycopg.Connection``, used in one thread."""

    def __init__(self, session: Any, close: Callable[[], Any], store: object, registry: Any = None) -> None:
        self.session = session
        self._close = close
        self._store = store
        self._registry = registry
        self._guard: SessionGuard | None = None
        self._block: Any = None

    def begin(self) -> None:
        """Begin, on the store's database."""
        if not _is_sqlalchemy(self.session):
            # Inside of it, psycopg refuses commit() and rollback().
            block = self.session.transaction()
            block.__enter__()
            self._block = block
        elif not self.session.in_transaction():
            self.session.begin()
        talk_sync(self.session, self._store, None, beginning)
        if self._block is None:
            self._guard = SessionGuard(self.session, self.session.connection())

    def finish(self) -> None:
        """Do what the step has left to do."""
        _check_open(self.session)
        if self._guard is not None:
            _end_parts(self.session)
        talk_sync(self.session, self._store, None, ending)

    def may_have_committed(self) -> bool:
        """Whether the step, which has failed, may have committed something behind the session's back."""
        if self._guard is not None and (self._guard.has_committed or self._guard.rolled_back):
            return self._guard.has_committed or _is_replaced(self.session, self._registry)
        try:
            talk_sync(self.session, self._store, None, returning)
        except Exception as error:
            return meaning(error) == "ended"
        return False

    def record(self, write: RunWrite) -> bool | None:
        """Write the step's end into the journal."""
        return talk_sync(self.session, self._store, write, recording)

    def commit(self) -> None:
        """Make all of it durable."""
        if self._guard is not None:
            self._guard.open = True
            self.session.commit()
        else:
            block, self._block = self._block, None
            block.__exit__(None, None, None)

    def end(self) -> None:
        """Roll back what was not committed, and close the session."""
        # Whatever they raise, what was not committed is rolled back at the latest by the server.
        with suppress(Exception):
            if self._guard is not None:
                self._guard.remove()
        with suppress(Exception):
            if self._block is not None:
                self._block.__exit__(*_a_failure())
        with suppress(Exception):
            self.session.rollback()
        with suppress(Exception):
            self._close()


class AsyncTransaction:
    """An ``AsyncSession`` or ``psycopg.AsyncConnection``."""

    def __init__(self, session: Any, close: Callable[[], Awaitable[Any]], store: object, registry: Any = None) -> None:
        self.session = session
        self._close = close
        self._store = store
        self._registry = registry
        self._guard: SessionGuard | None = None
        self._block: Any = None

    async def begin(self) -> None:
        """Begin, on the store's database."""
        if not _is_sqlalchemy(self.session):
            block = self.session.transaction()
            await block.__aenter__()
            self._block = block
        elif not self.session.in_transaction():
            await self.session.begin()
        await talk(self.session, self._store, None, beginning)
        if self._block is None:
            connection = await self.session.connection()
            self._guard = SessionGuard(self.session.sync_session, connection.sync_connection)

    async def finish(self) -> None:
        """Do what the step has left to do."""
        _check_open(self.session)
        if self._guard is not None:
            await self.session.run_sync(_end_parts)
        await talk(self.session, self._store, None, ending)

    async def may_have_committed(self) -> bool:
        """Do as `SyncTransaction.may_have_committed`."""
        if self._guard is not None and (self._guard.has_committed or self._guard.rolled_back):
            return self._guard.has_committed or _is_replaced(self.session, self._registry)
        try:
            await talk(self.session, self._store, None, returning)
        except Exception as error:
            return meaning(error) == "ended"
        return False

    async def record(self, write: RunWrite) -> bool | None:
        """Write the step's end into the journal."""
        return await talk(self.session, self._store, write, recording)

    async def commit(self) -> None:
        """Make all of it durable."""
        if self._guard is not None:
            self._guard.open = True
            await self.session.commit()
        else:
            block, self._block = self._block, None
            await block.__aexit__(None, None, None)

    async def end(self) -> None:
        """Roll back what was not committed, and close the session."""
        with suppress(Exception):
            if self._guard is not None:
                self._guard.remove()
        with suppress(Exception):
            if self._block is not None:
                await self._block.__aexit__(*_a_failure())
        with suppress(Exception):
            await self.session.rollback()
        with suppress(Exception):
            await self._close()


def _end_parts(session: Any) -> None:
    """Write what is left to write, and end the savepoints of a session that are open, as its own commit() would."""
    session.flush()
    while (part := session.get_nested_transaction()) is not None:
        part.commit()


def _check_open(session: Any) -> None:
    """Refuse a connection of psycopg that the step has closed; one that was lost is ``broken``."""
    if getattr(session, "closed", False) and not getattr(session, "broken", True):
        raise StepError(
            "A transactional step has closed its connection, and its transaction with it. It is closed by itself: "
            "leave that out."
        )


def _is_replaced(session: Any, registry: Any) -> bool:
    """Whether the step went on with another session of its registry, which nobody watches, after a ``remove()``."""
    return registry is not None and registry.registry.has() and registry() is not session


def _is_sqlalchemy(session: Any) -> bool:
    return hasattr(session, "flush")


def _a_failure() -> tuple[type[Exception], Exception, None]:
    """Return what has psycopg's block roll back; it raises it again."""
    error = StepError("The step was rolled back.")
    return type(error), error, None
