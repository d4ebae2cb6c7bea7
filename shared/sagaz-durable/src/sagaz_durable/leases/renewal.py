"""Renewing leases on the keeper's thread, which no error may end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

from sagaz_durable.leases.lease import Lease
from sagaz_integration_core.errors import StoreUnavailable

__all__ = ["quietly", "renew_all"]

logger = logging.getLogger(__name__)


def renew_all(asked: Sequence[Lease], renew: Callable[[Sequence[Lease]], None]) -> None:
    """Renew leases in one statement; one by one if that is refused.

    Raises:
        StoreUnavailable: It is unreachable.
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
