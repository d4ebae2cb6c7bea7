"""Calling a step inside of a transaction that has its journal entry too: both are committed, or neither."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from itertools import chain, repeat
from typing import Any

from sagaz_durable.calls.limits import Limits
from sagaz_durable.calls.step_caller import StepCaller, is_async
from sagaz_durable.calls.step_result import Given, Recordable
from sagaz_durable.calls.thread_call import Function, Outcome
from sagaz_durable.calls.transactional_tries import AsyncTry, BaseTry, ThreadTry
from sagaz_durable.leases.lease import Lease
from sagaz_durable.masked_errors import masked_error
from sagaz_durable.transactions.database_errors import meaning
from sagaz_durable.transactions.step_transactions import StepTransactions
from sagaz_integration_core.contract.records import RunWrite
from sagaz_integration_core.errors import SagaDefinitionError

__all__ = ["NO_WAITS", "TransactionalCall"]

logger = logging.getLogger(__name__)

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
        make: Callable[[Any, Given], tuple[Recordable, RunWrite]],
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
        self,
        caller: StepCaller,
        step: str,
        function: Function,
        fresh: Callable[[], Given],
        timeout: float,
        limits: Limits,
    ) -> Outcome:
        """Make one try of the call.

        Args:
            fresh: Returns what the function is given, anew each time.
            timeout, limits: As for `StepCaller.call`.

        Raises:
            LeaseLost: The run is another process's now; nothing was committed.
            NotCalled: As for `StepCaller.call`; nothing was committed.
            Exception: The database has refused it for as long as patience lasts; nothing was committed.
        """
        self._check(function)
        kind = AsyncTry if is_async(function) else ThreadTry
        until = time.monotonic() + self._patience
        for count, pause in enumerate(chain(_PAUSES, repeat(_PAUSES[-1]))):
            given = fresh()
            one = kind(self, function, given)
            outcome = await caller.call(step, one, given.context, timeout, limits)
            if one.commit_error is not None:
                await self._settle(one, one.commit_error)
            if one.committed:
                self.kept, self.write = one.kept, one.write
                return Outcome(one.value)
            if (refused := one.refused) is None:
                # It was rolled back, so that nothing is in doubt; unless it has committed by itself.
                return Outcome(outcome.value, outcome.error, one.in_doubt)
            passes = meaning(refused) == "again"
            if one.own and (not passes or count >= _CONFLICTS):
                return Outcome(error=refused)
            if not passes or time.monotonic() > until or self.lease.remaining < pause:
                raise refused
            logger.warning("%s was rolled back, and is called again: %s", self.what, masked_error(refused))
            await asyncio.sleep(pause)
        raise RuntimeError("An endless loop has ended.")

    def _check(self, function: Function) -> None:
        if (why := self.transactions.lacks(is_async=is_async(function))) is not None:
            raise SagaDefinitionError(f"{self.what} is transactional, and {why}.")

    async def _settle(self, one: BaseTry, error: Exception) -> None:
        """Find out what became of a commit that was not answered, or answered by an error."""
        recorded = one.write is not None and await self._is_recorded(one.write)
        if recorded:
            logger.warning("%s was committed, although its commit raised %s", self.what, masked_error(error))
        one.settled(recorded=recorded)
