"""One try of a transactional step: the function, between the beginning of a transaction and its commit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from sagaz_durable.calls.context_values import likeliest_path
from sagaz_durable.calls.step_result import Given, Recordable
from sagaz_durable.calls.thread_call import Function
from sagaz_durable.leases.lease import Lease
from sagaz_durable.masked_errors import masked_error
from sagaz_durable.transactions.database_errors import meaning, without_rows
from sagaz_durable.transactions.step_transactions import AsyncStepTransaction, StepTransaction, StepTransactions
from sagaz_integration_core.context.current_step import current
from sagaz_integration_core.contract.records import RunWrite
from sagaz_integration_core.errors import LeaseLost, StepError, WriteRefused

__all__ = ["AsyncTry", "BaseTry", "ThreadTry"]

T = TypeVar("T")


class Calling(Protocol):
    """The call that is tried; see `TransactionalCall`."""

    what: str
    transactions: StepTransactions
    store: object
    lease: Lease
    make: Callable[[Any, Given], tuple[Recordable, RunWrite]]


class BaseTry:
    """One try: the function between the beginning of a transaction and its commit.

    Attributes:
        refused: Why it was rolled back and is to be done again, or that the lease was lost.
        own: Whether that came out of the function.
        in_doubt: Whether the function may have committed something without its journal entry.
        committed: Whether all of it is durable.
        commit_error: What the commit has raised, so that it is not known.
    """

    def __init__(self, call: Calling, function: Function, given: Given) -> None:
        self._call = call
        self._given = given
        self._function = function
        self.value: Any = None
        self.kept: Recordable | None = None
        self.write: RunWrite | None = None
        self.refused: Exception | None = None
        self.own = self.in_doubt = False
        self.committed = False
        self.commit_error: Exception | None = None
        self._gate = threading.Lock()

    def expire(self) -> bool:
        """End the try at its time limit; False when its commit has begun, which then counts. Exactly one of them wins.

        Callable from any thread, once.
        """
        return self._gate.acquire(blocking=False)

    def settled(self, *, recorded: bool) -> None:
        """Take what the journal tells of a commit that has raised something."""
        if recorded:
            self.committed = True
            return
        # What the database checks at the commit, the step has done.
        self.refused, self.own = (
            self.commit_error,
            self.commit_error is not None and meaning(self.commit_error) != "again",
        )

    def _failed(self, error: Exception) -> None:
        """Raise what the function, or what it has left to do, came to; unless it is to be done again."""
        kind = meaning(error)
        if kind == "again" and not self.in_doubt:
            self.refused, self.own = error, True
            return
        if kind == "ended":
            raise self._wrong(
                "has ended its own transaction: by a COMMIT, a rollback, a statement that commits, or by closing its "
                "session. The transaction ends with the journal entry: leave that out",
                error,
            )
        if kind == "aborted":
            raise self._wrong(
                "went on after an error of the database, which has ended its transaction. Let the error go, or guard "
                "what may fail by a savepoint",
                error,
            )
        raise error

    def _wrong(self, what: str, error: Exception | None = None) -> StepError:
        failure = StepError(f"{self._call.what} is transactional, and {what}.")
        failure.__cause__ = error
        return failure

    def _may_commit(self) -> bool:
        """Whether the time limit has not won; from then on it cannot."""
        if not self._gate.acquire(blocking=False):
            return False
        if self._call.lease.remaining <= 0:
            self.refused = LeaseLost(f"{self._call.what} was rolled back: the run's lease ended before its commit.")
        return self.refused is None

    def _accepted(self, answer: bool | None) -> bool:
        """Whether the journal has taken the entry."""
        if answer is None:
            self.refused = WriteRefused(f"{self._call.what}: another transaction has locked the run's row.")
        elif not answer:
            self.refused = LeaseLost(f"{self._call.what} was rolled back: the run is another process's now.")
        return bool(answer)

    def _not_recorded(self, error: Exception) -> None:
        """Take what the journal was refused with: it is ours, unless the value is one that no try can store."""
        without_rows(error)
        if meaning(error) == "value" and self.write is not None:
            results = [step.result for step in self.write.steps if step.result is not None]
            path = f", probably at {found}" if (found := likeliest_path(results)) else ""
            raise self._wrong(f"returned what this database can never store{path}", error)
        if meaning(error) == "again":
            self.refused = error
        else:
            self.refused = WriteRefused(
                f"{self._call.what} was rolled back: its journal was refused: {masked_error(error)}"
            )
            self.refused.__cause__ = error


class ThreadTry(BaseTry):
    """In a thread."""

    def __call__(self, context: dict[str, Any]) -> Any:
        """Call the function, and commit what it has done; what the function raises is raised."""
        try:
            transaction = self._call.transactions.begin(self._call.store)
        except Exception as error:
            self.refused = without_rows(error)
            return None
        try:
            if self._ready(transaction, context):
                self._commit(transaction)
            return self.value
        finally:
            transaction.end()

    def _ready(self, transaction: StepTransaction, context: dict[str, Any]) -> bool:
        try:
            with _Lent(transaction.session):
                self.value = self._function(context)
            self.kept, self.write = self._call.make(self.value, self._given)
            transaction.finish()
        except BaseException as error:
            self.in_doubt = transaction.may_have_committed()
            if not isinstance(error, Exception):
                raise
            self._failed(error)
            return False
        return self._may_commit()

    def _commit(self, transaction: StepTransaction) -> None:
        assert self.write is not None  # noqa: S101 - for the type checker
        try:
            if not self._accepted(transaction.record(self.write)):
                return
        except Exception as error:
            self._not_recorded(error)
            return
        try:
            transaction.commit()
        except Exception as error:
            self.commit_error = without_rows(error)
        else:
            self.committed = True


class AsyncTry(BaseTry):
    """On the event loop. What ends a transaction is not cancelled: the time limit waits for it, and then it counts."""

    async def __call__(self, context: dict[str, Any]) -> Any:
        """Call the function, and commit what it has done; what the function raises is raised."""
        try:
            transaction = await self._call.transactions.begin_async(self._call.store)
        except Exception as error:
            self.refused = without_rows(error)
            return None
        try:
            if await self._ready(transaction, context):
                await _to_its_end(self._commit(transaction))
            return self.value
        finally:
            await _to_its_end(transaction.end())

    async def _ready(self, transaction: AsyncStepTransaction, context: dict[str, Any]) -> bool:
        try:
            with _Lent(transaction.session):
                self.value = await self._function(context)
            self.kept, self.write = self._call.make(self.value, self._given)
            await transaction.finish()
        except BaseException as error:
            # Also when it is cancelled at its time limit: what it has committed until then stays.
            self.in_doubt = await _to_its_end(transaction.may_have_committed())
            if not isinstance(error, Exception):
                raise
            self._failed(error)
            return False
        return self._may_commit()

    async def _commit(self, transaction: AsyncStepTransaction) -> None:
        assert self.write is not None  # noqa: S101 - for the type checker
        try:
            if not self._accepted(await transaction.record(self.write)):
                return
        except Exception as error:
            self._not_recorded(error)
            return
        try:
            await transaction.commit()
        except Exception as error:
            self.commit_error = without_rows(error)
        else:
            self.committed = True


class _Lent:
    """Have `current_step` hand the session out within a block; no generator, which would touch what leaves it."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def __enter__(self) -> None:
        self._token = current.set(replace(current.get(), session_given=self._session))

    def __exit__(self, *raised: object) -> None:
        current.reset(self._token)


async def _to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Await something that is not cancelled with the task that awaits it, which is cancelled when it has ended."""
    task = asyncio.get_running_loop().create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return task.result()
