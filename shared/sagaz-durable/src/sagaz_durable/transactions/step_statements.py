"""What is said to a database around a transactional step, whatever connection says it."""

from __future__ import annotations

from collections.abc import Generator

from sagaz_durable.transactions.statements import Caller, Joining, Rows, Statement, check_caller
from sagaz_integration_core.contract.records import RunWrite

__all__ = ["RELEASE", "RETURN", "SAVEPOINT", "beginning", "ending", "recording", "returning"]

SAVEPOINT = "SAVEPOINT sagaz_step"
RELEASE = "RELEASE SAVEPOINT sagaz_step"
"""Refused if the step has committed or rolled back: the savepoint went with its transaction."""

RETURN = "ROLLBACK TO SAVEPOINT sagaz_step"
"""Refused in the same case, and not in a transaction that an error has ended."""


def beginning(joining: Joining, caller: Caller, _: None) -> Generator[Statement, Rows, None]:
    """Begin, in a transaction on the store's database.

    Raises:
        TransactionRequired: The connection commits every statement by itself.
        WrongDatabase: It leads to another database than the store's.
    """
    yield from check_caller(joining, caller, "step")
    if joining.lock is not None:
        yield joining.lock
    yield Statement(SAVEPOINT)


def ending(joining: Joining, caller: Caller, _: None) -> Generator[Statement, Rows, None]:
    """End what the step has done; what is refused here is its own."""
    yield Statement(RELEASE)


def returning(joining: Joining, caller: Caller, _: None) -> Generator[Statement, Rows, None]:
    """Take back what the step has done."""
    yield Statement(RETURN)


def recording(joining: Joining, caller: Caller, write: RunWrite) -> Generator[Statement, Rows, bool | None]:
    """Record the end of a step; False when the run is not its owner's any more, None when its row is locked."""
    return (yield from joining.record(write))
