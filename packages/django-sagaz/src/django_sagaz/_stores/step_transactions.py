"""The transactions in which transactional steps are called: Django's own, on the database that runs are kept in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django.db import connections, transaction

from django_sagaz._stores.errors import translated
from sagaz_durable.transactions.database_errors import meaning
from sagaz_durable.transactions.step_statements import RELEASE, RETURN, SAVEPOINT
from sagaz_durable.transactions.step_transactions import AsyncStepTransaction
from sagaz_integration_core.errors import StepError, UsageError

if TYPE_CHECKING:
    from django_sagaz._stores.factory import DjangoStore
    from sagaz_integration_core.contract.records import RunWrite

__all__ = ["DjangoStepTransactions"]


class DjangoStepTransactions:
    """Calls a step inside of ``transaction.atomic()``, on the connection of its thread.

    Args:
        alias: The database that runs are kept in; None when they are kept outside of Django's.
        store: Returns a store that works on this thread's connection.
    """

    def __init__(self, alias: str | None, store: Callable[[], DjangoStore]) -> None:
        self._alias = alias
        self._store = store

    def lacks(self, *, is_async: bool) -> str | None:
        """Return why a step cannot be called inside of one, and the fix; None if it can."""
        if self._alias is None:
            return (
                'SAGAZ["STORAGE_URL"] keeps runs outside of Django\'s databases, so that they could not commit '
                "together. Leave it out, and run python manage.py migrate"
            )
        if is_async:
            return (
                "Django's transactions are synchronous. Make it a `def` step: it is called in a thread, and keeps no "
                "event loop"
            )
        if not connections.settings[self._alias]["AUTOCOMMIT"]:
            return (
                f"database {self._alias!r} has AUTOCOMMIT=False, where transaction.atomic() commits nothing. Leave "
                "AUTOCOMMIT out"
            )
        return None

    def begin(self, store: object) -> _Transaction:
        """Begin one, on this thread's connection."""
        if self._alias is None:
            raise UsageError(f"A step is transactional, and {self.lacks(is_async=False)}.")
        begun = _Transaction(self._alias, self._store())
        try:
            begun.begin()
        except BaseException:
            begun.end()
            raise
        return begun

    async def begin_async(self, store: object) -> AsyncStepTransaction:
        """Refuse it."""
        raise UsageError(f"A step is transactional, and {self.lacks(is_async=True)}.")


class _Transaction:
    session: Any = None

    def __init__(self, alias: str, store: DjangoStore) -> None:
        self._connection: Any = connections[alias]
        self._store = store
        self._block: Any = None
        self._depth = 0, 0

    def begin(self) -> None:
        connection = self._connection
        with translated(connection):
            # Not inside of another one, which would commit later.
            block = transaction.atomic(using=connection.alias, durable=True)
            block.__enter__()
            self._block = block
            self._depth = len(connection.savepoint_ids), len(connection.atomic_blocks)
            if connection.vendor == "sqlite":
                from sagaz_durable.stores.sqlite.joining import LOCK

                self._execute(LOCK)
            self._execute(SAVEPOINT)

    def finish(self) -> None:
        if self._connection.closed_in_transaction:
            raise StepError(
                "A transactional step has closed its database connection, and its transaction with it. Leave that out."
            )
        if len(self._connection.atomic_blocks) != self._depth[1]:
            raise StepError(
                "A transactional step has entered a transaction.atomic() that it has not left, so that nothing can be "
                "committed. Use it in a `with` statement."
            )
        if self._connection.needs_rollback:
            raise StepError(
                "A transactional step went on after an error inside of its transaction, which can only be rolled back "
                "now. Let the error go, or put what may fail into a `with transaction.atomic():` of its own."
            )
        self._execute(RELEASE)

    def may_have_committed(self) -> bool:
        self._connection.needs_rollback = False
        try:
            self._execute(RETURN)
        except Exception as error:
            return meaning(error) == "ended"
        finally:
            self._connection.needs_rollback = True
        return False

    def record(self, write: RunWrite) -> bool | None:
        return self._store.write_here(write)

    def commit(self) -> None:
        block, self._block = self._block, None
        block.__exit__(None, None, None)

    def end(self) -> None:
        block, self._block = self._block, None
        if block is not None:
            # What the step has left open would take the end of this block for its own.
            del self._connection.savepoint_ids[self._depth[0] :]
            del self._connection.atomic_blocks[self._depth[1] :]
            error = StepError("The step was rolled back.")
            with suppress(Exception):
                block.__exit__(type(error), error, None)

    def _execute(self, statement: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
