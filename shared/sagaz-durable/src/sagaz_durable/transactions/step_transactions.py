"""The transactions in which transactional steps are called, as the engine asks for them."""

from __future__ import annotations

from typing import Any, Protocol

from sagaz_integration_core.contract.records import RunWrite
from sagaz_integration_core.errors import UsageError

__all__ = ["AsyncStepTransaction", "NoTransactions", "StepTransaction", "StepTransactions"]


class StepTransaction(Protocol):
    """One transaction, which has begun; used by one thread.

    Attributes:
        session: What `current_step` hands to the step; None where it needs nothing.
    """

    session: Any

    def finish(self) -> None:
        """Do what the step has left to do, and check that its transaction is the one in which it began.

        What this raises, the step has done.
        """
        ...

    def may_have_committed(self) -> bool:
        """Whether the step may have committed something by itself; asked when it has failed, and takes the rest back.

        Raises nothing.
        """
        ...

    def record(self, write: RunWrite) -> bool | None:
        """Write the step's end into the journal; False when it was fenced out, None when the run's row is locked."""
        ...

    def commit(self) -> None:
        """Make all of it durable."""
        ...

    def end(self) -> None:
        """Roll back what was not committed, and give the connection back; raises nothing."""
        ...


class AsyncStepTransaction(Protocol):
    """The same for the event loop."""

    session: Any

    async def finish(self) -> None:
        """Do as `StepTransaction.finish`."""
        ...

    async def may_have_committed(self) -> bool:
        """Do as `StepTransaction.may_have_committed`."""
        ...

    async def record(self, write: RunWrite) -> bool | None:
        """Do as `StepTransaction.record`."""
        ...

    async def commit(self) -> None:
        """Do as `StepTransaction.commit`."""
        ...

    async def end(self) -> None:
        """Do as `StepTransaction.end`."""
        ...


class StepTransactions(Protocol):
    """Makes the transactions of steps, on the database of the store."""

    def lacks(self, *, is_async: bool) -> str | None:
        """Return why a step cannot be called inside of one, and the fix; None if it can, as far as that is known."""
        ...

    def begin(self, store: object) -> StepTransaction:
        """Begin one, in the thread in which a plain step is called.

        Raises:
            WrongDatabase: It would be on another database than the store's.
            UsageError: It cannot be used in this way.
        """
        ...

    async def begin_async(self, store: object) -> AsyncStepTransaction:
        """Do as `begin`, for an ``async def`` step."""
        ...


class NoTransactions:
    """Makes none.

    Args:
        why: What is the reason, and what helps; a sentence without its end.
    """

    def __init__(self, why: str) -> None:
        self._why = why

    def lacks(self, *, is_async: bool) -> str | None:
        """Return the reason."""
        return self._why

    def begin(self, store: object) -> StepTransaction:
        """Refuse."""
        raise UsageError(f"A step is transactional, and {self._why}.")

    async def begin_async(self, store: object) -> AsyncStepTransaction:
        """Refuse."""
        return self.begin(store)  # type: ignore[return-value]
