"""Which runs a claim is for, as the contract's arguments say it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from sagaz_integration_core.contract.records import FirstSteps

__all__ = ["Wanted", "beside_woken", "half_of"]

Row = TypeVar("Row")


class Wanted(NamedTuple):
    """Runs of these sagas, perhaps only some, and those for everybody or those to run alone."""

    sagas: FirstSteps
    saga_ids: Sequence[str] | None
    alone: bool


def half_of(limit: int) -> int:
    """Return half of what a claim may take, rounded by chance: where it is one run, now these have it, now those."""
    return (limit + random.getrandbits(1)) // 2


def beside_woken(oldest: Sequence[Row], young: Sequence[Row], limit: int, half: int) -> list[Row]:
    """Return what a claim takes where the oldest run that is due has waited: thousands may wake up at the same moment.

    Of the oldest it takes half of what it may, so that a worker has places left for runs that become due later.

    Args:
        oldest: The oldest ones that are due.
        young: Of those that have not waited, the youngest ones; at most half.
    """
    return [*young, *(row for row in oldest if row not in young)][: min(limit, max(half, 1) + len(young))]
