"""Publishes the events of the outbox: at least once, in order per saga, and patiently while the broker is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sagaz_integration_core._upstream.publishing import publish
from sagaz_integration_core.errors import StoreUnavailable
from sagaz_integration_core.protocols import OutboxRecord
from sagaz_integration_core.texts import error_text

if TYPE_CHECKING:
    from sagaz_integration_core.lifecycle import SagazRuntime

__all__ = ["Relay"]

logger = logging.getLogger(__name__)

_BATCH = 100
_LEASE_SECONDS = 30.0
_LONGEST_PAUSE = 30.0


class Relay:
    """Moves events from the store to sagaz's broker.

    An event that the broker refuses although it is healthy is tried again with backoff, and after
    ``event_attempts`` tries it is set aside. A broker that is down costs no event a try.
    """

    def __init__(self, runtime: SagazRuntime) -> None:
        self._runtime = runtime
        self._broker = runtime.broker
        self._outages = 0

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            try:
                published = await self.publish_due()
            except StoreUnavailable as error:
                logger.warning("Events cannot be read now; trying again: %s", error)
                published = 0
            if self._outages:
                await asyncio.sleep(min(0.5 * 2**self._outages, _LONGEST_PAUSE))
            elif not published:
                await self._runtime.store.wait(self._runtime.settings.poll_seconds)

    async def publish_all(self) -> None:
        """Publish until nothing is due or the broker is away."""
        while await self.publish_due() and not self._outages:
            continue

    async def publish_due(self) -> int:
        """Publish one batch; return how many events were sent."""
        if not await self._connected():
            return 0
        events = await self._runtime.store.due_events(_BATCH, _LEASE_SECONDS)
        if not events:
            return 0
        return await self._publish(events)

    async def _connected(self) -> bool:
        if self._broker.is_connected and not self._outages:
            return True
        try:
            if self._broker.is_connected:
                # connect() on a connected client would orphan it.
                await self._broker.close()
            await self._broker.connect()
        except Exception as error:
            self._away(error)
            return False
        self._outages = 0
        return True

    def _away(self, error: Exception) -> None:
        self._outages += 1
        logger.warning("The broker is away (%d times in a row); events wait: %s", self._outages, error_text(error))

    async def _publish(self, events: Sequence[OutboxRecord]) -> int:
        sent: list[int] = []
        failed: list[tuple[int, str, float, bool]] = []
        for event in events:
            try:
                await publish(self._broker, event)
            except Exception as error:
                if not await self._healthy():
                    self._away(error)
                    # Those that were leased and not tried are due again when their lease ends; none is charged.
                    break
                failed.append(self._failure(event, error))
            else:
                sent.append(event.id)
        await self._runtime.store.settle_events(sent, failed)
        return len(sent)

    async def _healthy(self) -> bool:
        try:
            return bool(await self._broker.health_check())
        except Exception:
            return False

    def _failure(self, event: OutboxRecord, error: Exception) -> tuple[int, str, float, bool]:
        dead = event.attempts + 1 >= self._runtime.settings.event_attempts
        logger.log(
            logging.ERROR if dead else logging.WARNING,
            "Event %s (%s) of saga %s was refused by the broker%s: %s",
            event.event_id, event.topic, event.saga_id, " and is set aside" if dead else "", error_text(error),
        )  # fmt: skip
        return event.id, error_text(error), self._runtime.backoff(event.attempts + 1), dead
