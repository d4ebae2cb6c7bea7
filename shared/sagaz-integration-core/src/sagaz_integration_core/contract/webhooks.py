"""Webhooks: events that a sender delivers, perhaps several times, and what each of them starts or resumes.

The ``repr`` of records has no bodies and fingerprints: logs and error reports have it, and a body is as secret as a
context.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from sagaz_integration_core.contract.record import record
from sagaz_integration_core.contract.records import NewRun
from sagaz_integration_core.contract.statuses import WebhookOutcome
from sagaz_integration_core.contract.waits import NewSignal

__all__ = [
    "DELAYED_UNTIL", "RUN_ENDED", "SENT_OTHERWISE", "STARTED_OTHERWISE", "TOLD_OTHERWISE", "NewWebhook", "StartLimit",
    "WebhookFilter", "WebhookOutcome", "WebhookRecord", "WebhookStore", "webhook_subject",
]  # fmt: skip

TOLD_OTHERWISE = "the same event was delivered before, and meant something else"
STARTED_OTHERWISE = "the run of this key is there, and was started with another context"
SENT_OTHERWISE = "the same signal was sent before, with another payload"
RUN_ENDED = "the run has ended, and would never take the signal"

DELAYED_UNTIL = datetime(9000, 1, 1, tzinfo=UTC)
"""When a run is due that is delayed until there is room for it: nobody claims it before. A deadline that is counted
from its start is kept as so long after this."""


@record
class NewWebhook:
    """What one trigger or mapping of a saga makes of one event; at most one of ``run`` and ``signal`` is given.

    Attributes:
        id: A digest of source, delivery id and handler, 64 characters.
        other_id: A digest of these and the fingerprint, for an event that was delivered before with another meaning.
        delivery_id: What the sender calls the event, the same in each delivery.
        handler: Saga and method, as ``OrderSaga.on_paid``; empty for an event that none of them wants.
        fingerprint: Of the run's context or of the signal's payload; empty if there is neither.
        reason: Why the event is quarantined as it comes; None if it is not.
        body: As it came; None if it is not kept.
        delayed: Whether the run, which is due at `DELAYED_UNTIL`, starts when `WebhookStore.start_delayed` says so.
    """

    id: str
    other_id: str
    source: str
    delivery_id: str
    event_type: str | None
    handler: str
    fingerprint: str = field(repr=False)
    body: str | None = field(repr=False)
    correlation_id: str | None = None
    reason: str | None = None
    run: NewRun | None = None
    signal: NewSignal | None = None
    delayed: bool = False


@record
class StartLimit:
    """How many runs one trigger may start; with neither ``max_concurrent`` nor ``starts``, all.

    Attributes:
        handler: As `NewWebhook` has it.
        saga_name: Of the runs that it starts.
        max_concurrent: How many of its runs may be under way; one that waits for a signal is.
        starts, seconds: How many of its runs may start in any so many seconds.
    """

    handler: str
    saga_name: str
    max_concurrent: int | None = None
    starts: int | None = None
    seconds: float = 0.0

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit."""
        return self.max_concurrent is not None or self.starts is not None

    def since(self, moment: datetime) -> datetime:
        """Return the time after which starts are counted."""
        return moment - timedelta(seconds=self.seconds)

    def room(self, under_way: int, started: int) -> int | None:
        """Return how many more may start beside those that are under way, and those that started in this time.

        None if there is no limit.
        """
        rooms = [(self.max_concurrent, under_way), (self.starts, started)]
        narrowest = min((most - there for most, there in rooms if most is not None), default=None)
        return None if narrowest is None else max(0, narrowest)


@record
class WebhookRecord:
    """One row of ``sagaz_webhook``; datetimes are aware, in UTC.

    Attributes:
        saga_id: Of the run that it started, or that its signal is for.
        signal: The name of its signal.
        key: What its signal's run waits under.
    """

    id: str
    source: str
    delivery_id: str
    handler: str
    event_type: str | None
    received_at: datetime
    outcome: WebhookOutcome
    reason: str | None
    saga_id: str | None
    signal: str | None
    key: str | None
    fingerprint: str = field(repr=False)
    body: str | None = field(repr=False)
    correlation_id: str | None


@record
class WebhookFilter:
    """Which events to list, the newest first; by default, all."""

    id: str | None = None
    outcome: WebhookOutcome | None = None
    source: str | None = None
    saga_id: str | None = None
    limit: int = 50
    before: tuple[datetime, str] | None = None


def webhook_subject(webhook_id: str) -> str:
    """Return what stands for a run's saga_id in the audit of an event: what people have decided about it."""
    return f"webhook:{webhook_id}"


class WebhookStore(Protocol):
    """What a store does about webhooks; see `SagaStore`."""

    async def receive_webhook(self, events: Sequence[NewWebhook]) -> list[WebhookRecord]:
        """Record one delivery of an event, and start and send what it leads to, in one transaction; wake workers.

        All are of one source and delivery id. One that was delivered before starts and sends nothing, and what is
        known of it is returned; whatever it means now that it did not mean then is quarantined beside that. One that no
        saga wanted and that one wants now is taken as new, beside what is known.

        A run that is there already with the same context, or that an event has started under its saga_id before, even
        if it was pruned since, is not started again: that is the run which this event started, too. One with another
        context, a signal that was sent with another payload, and one to a run that has ended are quarantined.
        """
        ...

    async def start_delayed(self, limit: StartLimit) -> int:
        """Start the runs of a trigger's delayed events, the oldest first, as far as there is room; return how many.

        Processes that do so at the same time never start more than the limit allows, together. What is counted is the
        runs that events of this trigger have started, as long as these events are kept. A run's ``created_at`` is
        afterwards when it started, and its deadline is counted from then.
        """
        ...

    async def count_delayed(self) -> int:
        """Return how many events are delayed."""
        ...

    async def replay_webhook(self, event: NewWebhook, actor: str, reason: str) -> WebhookRecord | None:
        """Do what a quarantined or ignored event leads to now, note whose decision it was, and return what it is then.

        None if it is not there under its ``id``, or neither of both. The note's ``saga_id`` is `webhook_subject`.
        """
        ...

    async def dismiss_webhook(self, webhook_id: str, actor: str, reason: str) -> WebhookRecord | None:
        """Have a quarantined event be ignored, note whose decision it was, and return what it is then.

        None if it is not there, or not quarantined. What it is known by stays, so that it is not quarantined again when
        it is delivered again.
        """
        ...

    async def find_webhooks(self, query: WebhookFilter) -> list[WebhookRecord]:
        """Return events, the newest first."""
        ...

    async def count_quarantined(self) -> int:
        """Return how many events are quarantined."""
        ...

    async def prune_webhooks(self, before: datetime, ignored_before: datetime, limit: int) -> int:
        """Delete at most ``limit`` events that came before, or that no saga wanted and came before; return how many.

        Quarantined and delayed ones stay however old they are. What people decided about the others is deleted with
        them.
        """
        ...

    async def count_prunable_webhooks(self, before: datetime, ignored_before: datetime) -> int:
        """Return how many events `prune_webhooks` would delete without a limit."""
        ...
