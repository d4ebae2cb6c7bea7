"""Calling a step inside of a transaction that has its journal entry too: both are committed, or neither."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, repeat
from typing import Any, TypeVar

from sagaz_durable.calls.context_values import likeliest_path
from sagaz_durable.calls.step_caller import Function, Outcome, StepCaller, is_async
from sagaz_durable.calls.step_result import Recordable
from sagaz_durable.leases.lease import Lease
from sagaz_durable.serialization import codec
from sagaz_durable.transactions.database_errors import meaning
from sagaz_durable.transactions.step_transactions import AsyncStepTransaction, StepTransaction, StepTransactions
from sagaz_integration_core.context.current_step import current
from sagaz_integration_core.contract.records import RunWrite
from sagaz_integration_core.error_text import error_text, without_rows
from sagaz_integration_core.errors import LeaseLost, SagaDefinitionError, StepError, WriteRefused

__all__ = ["NO_WAITS", "TransactionalCall"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0)

_CONFLICTS = 10
"""How often a call is repeated because of what it has raised itself."""

NO_WAITS = (
    "is transactional, and cannot wait for a signal or a time: its transaction would be open meanwhile. Wait in a step "
    "before it."
)


class TransactionalCall:
    """One call of a transactional step or compensation, done again as long as the database is in the way.

    Nothing was committed then, so that the function is called again as if for the first time.

    Args:
        what: The step, or its compensation, in words.
        store: Whose journal it is.
        make: Returns what is kept of what the function returned and of the context that it was given, and what records
            it; raises what is wrong with them.
        is_recorded: Whether the journal has such a record, once no transaction can commit it any more.
        patience: Seconds for which a call is done again that the database refuses.

    Attributes:
        kept, write: What was committed; None until then.
    """

    def __init__(
        self,
        what: str,
        transactions: StepTransactions,
        store: object,
        lease: Lease,
        make: Callable[[Any, dict[str, Any]], tuple[Recordable, RunWrite]],
        is_recorded: Callable[[RunWrite], Awaitable[bool]],
        patience: float,
    ) -> None:
        self.what = what
        self.transactions = transactions
        self.store = store
        self.lease = lease
        self.make = make
        self._is_recorded = is_recorded
        self._patience = patience
        self.kept: Recordable | None = None
        self.write: RunWrite | None = None

    async def tried(
        self, caller: StepCaller, step: str, function: Function, given: dict[str, Any], timeout: float, ends: float
    ) -> Outcome:
        """Make one try of the call.

        Args:
            given: The context, of which the function gets a copy each time.
            timeout, ends: As for `StepCaller.call`.

        Raises:
            LeaseLost: The run is another process's now; nothing was committed.
            Exception: The database has refused it for as long as patience lasts; nothing was committed.
        """
        self._check(function)
        kind = _AsyncTry if is_async(function) else _Try
        until = time.monotonic() + self._patience
        for count, pause in enumerate(chain(_PAUSES, repeat(_PAUSES[-1]))):
            one = kind(self, function)
            outcome = await caller.call(step, one, codec.copy_value(given), timeout, ends)
            if one.commit_error is not None:
                await self._settle(one, one.commit_error)
            if one.committed:
                self.kept, self.write = one.kept, one.write
                return Outcome(one.value)
            if (refused := one.refused) is None:
                # It was rolled back, so that nothing is in doubt; unless it has committed by itself.
                return Outcome(outcome.value, outcome.error, one.in_doubt)
            if one.own and count >= _CONFLICTS:
                return Outcome(error=refused)
            if isinstance(refused, LeaseLost) or time.monotonic() > until or self.lease.remaining < pause:
                raise refused
            logger.warning("%s was rolled back, and is called again: %s", self.what, error_text(refused))
            await asyncio.sleep(pause)
        raise RuntimeError("An endless loop has ended.")

    def _check(self, function: Function) -> None:
        if (why := self.transactions.lacks(is_async=is_async(function))) is not None:
            raise SagaDefinitionError(f"{self.what} is transactional, and {why}.")

    async def _settle(self, one: _BaseTry, error: Exception) -> None:
        """Find out what became of a commit that was not answered, or answered by an error."""
        if one.write is not None and await self._is_recorded(one.write):
            logger.warning("%s was committed, although its commit raised %s", self.what, error_text(error))
            one.committed = True
        elif meaning(error) == "other":
            # What the database checks at the commit, the step has done.
            one.refused, one.own = error, True
        else:
            one.refused = error


class _BaseTry:
    """One try: the function between the beginning of a transaction and its commit.

    Attributes:
        refused: Why it was rolled back and is to be done again, or that the lease was lost.
        own: Whether that came out of the function.
        in_doubt: Whether the function may have committed something without its journal entry.
        committed: Whether all of it is durable.
        commit_error: What the commit has raised, so that it is not known.
    """

    def __init__(self, call: TransactionalCall, function: Function) -> None:
        self._call = call
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
        self.refused = error


class _Try(_BaseTry):
    """In a thread."""

    def __call__(self, context: dict[str, Any]) -> Any:
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
            with _lent(transaction.session):
                self.value = self._function(context)
            transaction.finish()
            self.kept, self.write = self._call.make(self.value, context)
        except Exception as error:
            self.in_doubt = transaction.may_have_committed()
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


class _AsyncTry(_BaseTry):
    """On the event loop. What ends a transaction is not cancelled: the time limit waits for it, and then it counts."""

    async def __call__(self, context: dict[str, Any]) -> Any:
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
            with _lent(transaction.session):
                self.value = await self._function(context)
            await transaction.finish()
            self.kept, self.write = self._call.make(self.value, context)
        except Exception as error:
            self.in_doubt = await transaction.may_have_committed()
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


@contextmanager
def _lent(session: Any) -> Iterator[None]:
    """Have `current_step` hand the session out."""
    token = current.set(replace(current.get(), session_given=session))
    try:
        yield
    finally:
        current.reset(token)


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
