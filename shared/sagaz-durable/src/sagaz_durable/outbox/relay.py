"""Publishes the events of the outbox: at least once, in order per saga, patiently while the broker is unreachable."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from datetime import UTC, datetime, timedelta

from sagaz_durable._upstream.broker_connection import BrokerAway, BrokerLine, BrokerRefused, PublishFailed
from sagaz_durable.concurrency.cancellation import cancel_all
from sagaz_durable.outbox.outcome_recorder import Settlements
from sagaz_durable.settings.settings import Settings
from sagaz_integration_core.contract.events import EventOutcome, EventStore, OutboxRecord
from sagaz_integration_core.errors import StoreUnavailable

__all__ = ["Relay"]

logger = logging.getLogger(__name__)

_IN_FLIGHT = 32
_AT_LEAST = 8
"""How many more there must be room for: a look for events costs more than an event."""

_LEASE_SECONDS = 30.0
_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 5.0
_REFUSED_PAUSE = 30.0
"""Seconds until a broker is tried again that refused what is configured: somebody has to mend it first."""

_TIDY_SECONDS = 60.0
_TIDY_BATCH = 1_000


class Relay:
    """Moves events from the store to sagaz's broker; several relays may share a store.

    The store gives out one event of each saga at a time. An event that fails although the broker is there is tried
    again with backoff, and after ``event_attempts`` it is set aside: its saga's later events wait until then. A
    broker that is unreachable charges no event. How the one is told from the other:

    - The event cannot be put into the broker's protocol: its own fault.
    - The connection broke, and everything that was under way failed with it: the events are tried again one by one,
      each with the broker connected afresh; one that breaks the connection again, to a broker that is then there
      again, is charged.
    - No answer in time: the event's fault if others were still published when it had waited for half that time, and
      the broker's if not.

    Attributes:
        is_used: Whether a worker of this process has it run.
    """

    def __init__(self, store: EventStore, settings: Settings, line: BrokerLine) -> None:
        self.is_used = self._running = False
        self._store = store
        self._settings = settings
        self._line = line
        self._settlements = Settlements(store)
        self._flights: set[asyncio.Task[None]] = set()
        self._suspects: list[tuple[OutboxRecord, float]] = []
        self._woken = asyncio.Event()
        self._stopping = False
        self._published_at = 0.0
        self._outages = 0
        self._next_try = 0.0
        self._next_tidying = 0.0
        # Longer than two publications take: nobody publishes an event whose lease has ended.
        self._lease_seconds = max(_LEASE_SECONDS, 3 * line.publish_seconds)

    def nudge(self) -> None:
        """Look for events now; to be called on the event loop."""
        self._woken.set()

    def stop(self) -> None:
        """Begin nothing more; `run` returns when what was leased has been given back."""
        self._stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Publish until `stop`."""
        self.is_used = self._running = True
        try:
            while not self._stopping:
                try:
                    await self._round()
                except Exception:
                    logger.exception("Relaying events failed; trying again.")
                await self._pause()
        finally:
            await self._land()
            self._running = False

    async def _round(self) -> bool:
        self._woken.clear()
        await self._examine()
        launched = await self._launch()
        await self._tidy()
        return launched

    async def publish_all(self) -> None:
        """Publish until nothing is due, or the broker is unreachable; nothing to do while it is running anyway."""
        if self._running:
            return
        self.is_used = self._running = True
        self._stopping = False
        try:
            while True:
                launched = await self._round()
                # What has landed meanwhile may have made its saga's next event due.
                busy = launched or self._flights or self._suspects or self._woken.is_set()
                if self._outages or not busy:
                    return
                await self._pause()
        finally:
            await self._land()
            self._running = False

    async def _land(self) -> None:
        """Give back what is under way, and have all outcomes recorded."""
        self._stopping = True
        # A task that is cancelled before its first step never gets to give its event back.
        await asyncio.sleep(0)
        await cancel_all(self._flights)
        suspects, self._suspects = self._suspects, []
        await self._settlements.give_back([event for event, _ in suspects])
        await self._settlements.finish()

    async def _pause(self) -> None:
        seconds = self._settings.poll_seconds
        if self._outages:
            seconds = max(0.0, self._next_try - time.monotonic())
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            pass

    async def _launch(self) -> bool:
        """Lease what is due, and publish it side by side; after an outage, one event shows whether it is over."""
        free = (1 if self._outages else _IN_FLIGHT) - len(self._flights)
        enough = free >= (1 if self._outages else _AT_LEAST)
        if not enough or self._stopping or not await self._connected():
            return False
        until = time.monotonic() + self._lease_seconds
        try:
            events = await self._store.due_events(free, self._lease_seconds)
        except StoreUnavailable as error:
            logger.warning("Events cannot be read now; trying again: %s", error)
            return False
        for event in events:
            flight = asyncio.get_running_loop().create_task(self._fly(event, until))
            self._flights.add(flight)
            flight.add_done_callback(self._landed)
        return bool(events)

    def _landed(self, flight: asyncio.Task[None]) -> None:
        self._flights.discard(flight)
        self._woken.set()
        if not flight.cancelled() and (error := flight.exception()) is not None:
            logger.error("An event could not be relayed; it is due again when its lease ends.", exc_info=error)

    async def _fly(self, event: OutboxRecord, until: float) -> None:
        outages, patience = self._outages, time.monotonic() + self._line.publish_seconds / 2
        try:
            await self._line.publish(event)
        except asyncio.CancelledError:
            await self._settlements.give_back([event])
            raise
        except PublishFailed as failure:
            if failure.fault == "connection":
                self._suspects.append((event, until))
            elif failure.fault == "event" or (failure.fault == "silence" and self._published_at > patience):
                await self._charge(event, failure)
            else:
                if outages == self._outages:
                    self._away(failure)
                await self._settlements.give_back([event])
        else:
            await self._sent(event)

    async def _sent(self, event: OutboxRecord) -> None:
        self._published_at, self._outages = time.monotonic(), 0
        await self._settlements.record(EventOutcome(event.id, "sent"))

    async def _examine(self) -> None:
        """Try again, one after the other, what failed when the connection broke."""
        if not self._suspects:
            return
        await self._line.close()
        if self._flights:
            await asyncio.wait(self._flights)
        suspects, self._suspects = self._suspects, []
        for n, (event, until) in enumerate(suspects):
            late = time.monotonic() > until - 2 * self._line.publish_seconds
            if self._stopping or late or not await self._is_innocent(event):
                await self._settlements.give_back([event for event, _ in suspects[n:]])
                return

    async def _is_innocent(self, event: OutboxRecord) -> bool:
        """Publish an event, or charge it; False when it is the broker that is to blame."""
        try:
            await self._line.open()
            try:
                await self._line.publish(event)
            except PublishFailed as failure:
                if failure.fault in ("silence", "broker"):
                    raise BrokerAway(str(failure)) from failure
                if failure.fault == "connection":
                    await self._line.close()
                    await self._line.open()
                await self._charge(event, failure)
                return True
        except BrokerAway as error:
            self._away(error)
            return False
        await self._sent(event)
        return True

    async def _connected(self) -> bool:
        if self._outages:
            if time.monotonic() < self._next_try:
                return False
            await self._line.close()
        try:
            await self._line.open()
        except BrokerAway as error:
            self._away(error)
            return False
        return True

    def _away(self, error: Exception) -> None:
        self._outages += 1
        if isinstance(error, BrokerRefused):
            self._next_try = time.monotonic() + _REFUSED_PAUSE
            logger.error(
                "The broker refuses what is configured, and events wait until that is mended: %s. Check user, "
                "password, rights and options of %s, or of SagaConfig's broker.",
                error,
                self._settings.wording.setting("broker_url"),
            )
            return
        pause = min(_FIRST_PAUSE * 2.0 ** min(self._outages - 1, 10), _LONGEST_PAUSE) * random.uniform(0.5, 1.0)
        self._next_try = time.monotonic() + pause
        logger.warning("The broker is unreachable (%d times in a row); events wait: %s", self._outages, error)

    async def _charge(self, event: OutboxRecord, failure: PublishFailed) -> None:
        attempts = event.attempts + 1
        dead = attempts >= self._settings.event_attempts
        logger.log(
            logging.ERROR if dead else logging.WARNING,
            "Event %s (%s) of %s was not published, attempt %d%s: %s",
            event.event_id, event.topic, event.saga_id, attempts, ", and is set aside" if dead else "", failure,
        )  # fmt: skip
        delay = 0.0 if dead else self._settings.backoff(attempts)
        await self._settlements.record(
            EventOutcome(event.id, "dead" if dead else "pending", str(failure), delay, charged=True)
        )

    async def _tidy(self) -> None:
        """Delete what was sent long ago, a little at a time."""
        now = time.monotonic()
        if now < self._next_tidying:
            return
        before = datetime.now(UTC) - timedelta(seconds=self._settings.keep_sent_seconds)
        try:
            deleted = await self._store.prune_events(before, _TIDY_BATCH)
        except StoreUnavailable as error:
            logger.debug("Sent events were not deleted: %s", error)
            deleted = 0
        self._next_tidying = now + (_TIDY_SECONDS if deleted < _TIDY_BATCH else 1.0)
