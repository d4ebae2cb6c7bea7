"""What became of leased events, recorded for many of them at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sagaz_durable.concurrency.batcher import Batcher
from sagaz_integration_core.contract.events import EventOutcome, OutboxRecord
from sagaz_integration_core.errors import StoreUnavailable

if TYPE_CHECKING:
    from sagaz_integration_core.contract.events import EventStore

__all__ = ["Settlements"]

logger = logging.getLogger(__name__)

_PAUSES = (0.1, 0.5, 1.0, 2.0, 4.0, 0.0)


class Settlements:
    """Records outcomes; what cannot be recorded is published again when its lease ends: at least once."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._batcher: Batcher[EventOutcome, None] = Batcher(self._commit)
        self.patient = True

    async def record(self, outcome: EventOutcome) -> None:
        """Record an outcome; who is cancelled meanwhile has it recorded all the same."""
        await asyncio.shield(self._batcher.submit(outcome))

    async def give_back(self, events: Iterable[OutboxRecord]) -> None:
        """End leases: the events are due at once, for whoever reaches a broker."""
        await asyncio.gather(*(self.record(EventOutcome(event.id, "pending")) for event in events))

    async def finish(self) -> None:
        """Return when everything has been recorded; an unreachable store is not waited for."""
        self.patient = False
        await self._batcher.idle()
        self.patient = True

    async def _commit(self, outcomes: list[EventOutcome]) -> list[None]:
        for pause in _PAUSES:
            try:
                await self._store.settle_events(outcomes)
            except StoreUnavailable as error:
                logger.warning("What became of %d events cannot be recorded now: %s", len(outcomes), error)
                await asyncio.sleep(pause if self.patient else 0)
            else:
                break
        return [None] * len(outcomes)
