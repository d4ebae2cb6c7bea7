"""The signals' part of the store over Django's ORM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Concatenate, ParamSpec, TypeVar

from django_sagaz._stores.orm import signals as orm_signals
from django_sagaz._stores.orm import waits as orm_waits
from sagaz_integration_core.contract.waits import NewSignal, Sent, SignalFilter, SignalRecord, WaitRecord

__all__ = ["ORMSignals"]

T = TypeVar("T")
P = ParamSpec("P")


class ORMSignals:
    """Keeps waits and signals in the same database."""

    async def _do(self, work: Callable[Concatenate[Any, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        raise NotImplementedError

    def wake(self) -> None:
        """Make `wait` return now; callable from any thread."""
        raise NotImplementedError

    async def send(self, signals: Sequence[NewSignal]) -> list[Sent]:
        """Insert signals in one transaction."""
        sent = await self._do(orm_signals.send, signals)
        self.wake()
        return sent

    async def load_waits(self, saga_id: str) -> list[WaitRecord]:
        """Return the waits of a run."""
        return (await self._do(orm_waits.load_waits, [saga_id]))[saga_id]

    async def find_signals(self, query: SignalFilter) -> list[SignalRecord]:
        """Return signals, the newest first."""
        return await self._do(orm_signals.find_signals, query)

    async def count_untaken(self) -> int:
        """Return how many signals nobody has taken."""
        return await self._do(orm_signals.count_untaken)

    async def prune_signals(self, taken_before: datetime, untaken_before: datetime, limit: int) -> int:
        """Delete old signals; return how many."""
        return await self._do(orm_signals.prune_signals, taken_before, untaken_before, limit)
