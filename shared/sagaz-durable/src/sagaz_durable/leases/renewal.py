"""Renewing leases on the keeper's thread, which no error may end."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar

from sagaz_durable.leases.lease import Lease
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.errors import StoreUnavailable

__all__ = ["KeeperConnection", "quietly", "renew_all"]

logger = logging.getLogger(__name__)

T = TypeVar("T")


class KeeperConnection(Protocol):
    """A store that the keeper's thread has for itself."""

    def call(self, work: Callable[[SagaStore], Awaitable[T]], seconds: float) -> T:
        """Ask it something, on the calling thread; connects when it is first asked.

        Raises:
            StoreUnavailable: It is away, or did not answer within ``seconds``.
        """
        ...

    def close(self) -> None:
        """Disconnect."""
        ...


def renew_all(asked: Sequence[Lease], renew: Callable[[Sequence[Lease]], None]) -> None:
    """Renew leases in one statement; one by one if that is refused.

    Raises:
        StoreUnavailable: It is away.
    """
    try:
        renew(asked)
    except StoreUnavailable:
        raise
    except Exception:
        if len(asked) == 1:
            raise
        # One row that the database refuses must not cost the others their leases.
        for lease in asked:
            quietly(f"The lease of run {lease.saga_id} could not be renewed", partial(renew, [lease]))


def quietly(complaint: str, work: Callable[[], None]) -> None:
    """Do something, and only log what it raises."""
    try:
        work()
    except StoreUnavailable as error:
        logger.warning("%s, trying again: %s", complaint, error)
    except Exception:
        # Whatever it is: the thread must not end, for leases that nobody watches would not be given up in time.
        logger.exception("%s, trying again", complaint)
