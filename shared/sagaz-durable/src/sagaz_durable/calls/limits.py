"""What a call is limited by besides its own time limit, and that it is not made any more."""

from __future__ import annotations

import asyncio
from typing import Protocol

from sagaz_durable.leases.lease import Lease
from sagaz_integration_core.errors import LeaseLost, StepError

__all__ = ["NO_LIMITS", "Limits", "NotCalled", "check_call"]


class Limits(Protocol):
    """What limits a call besides its own time limit."""

    def shorten(self, seconds: float) -> float:
        """Return how many of these seconds an async function has."""
        ...

    def is_over(self) -> bool:
        """Whether nothing is called any more, not for another try either; callable from any thread."""
        ...

    async def pause(self, seconds: float) -> None:
        """Return after these seconds, or earlier when nothing is called any more."""
        ...


class _NoLimits:
    def shorten(self, seconds: float) -> float:
        return seconds

    def is_over(self) -> bool:
        return False

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


NO_LIMITS = _NoLimits()


class NotCalled(StepError):
    """The run has turned back before a call of it began."""


def check_call(name: str, lease: Lease, limits: Limits) -> None:
    """Refuse a call that may not begin any more.

    Raises:
        LeaseLost: The lease has ended.
        NotCalled: The limits are over.
    """
    if lease.remaining <= 0:
        raise LeaseLost(f"Run {lease.saga_id}: its lease ended before step {name!r} was called.")
    if limits.is_over():
        raise NotCalled(f"Step {name!r} was not called: the run had turned back by then.")
