"""Which runs a claim is for, as the contract's arguments say it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sagaz_integration_core.contract.records import FirstSteps

__all__ = ["Wanted"]


class Wanted(NamedTuple):
    """Runs of these sagas, perhaps only some, and those for everybody or those to run alone."""

    sagas: FirstSteps
    saga_ids: Sequence[str] | None
    alone: bool
