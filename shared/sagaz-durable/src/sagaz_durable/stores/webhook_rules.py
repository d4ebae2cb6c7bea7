"""What becomes of a webhook's event, by the same rules in every store; called inside of one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from sagaz_integration_core.contract.records import ERASED, Inserted, NewRun
from sagaz_integration_core.contract.waits import NewSignal, Sent
from sagaz_integration_core.contract.webhooks import (
    RUN_ENDED,
    SENT_OTHERWISE,
    STARTED_OTHERWISE,
    TOLD_OTHERWISE,
    NewWebhook,
    WebhookOutcome,
    WebhookRecord,
)

__all__ = ["REPLAYABLE", "WebhookRows", "means", "receive", "replayed"]


REPLAYABLE: tuple[WebhookOutcome, ...] = ("quarantined", "ignored")
"""What an event has become that a person may have replayed."""


class WebhookRows(Protocol):
    """What a store does inside of the transaction."""

    def now(self) -> datetime:
        """Return the time by the store's clock, aware."""
        ...

    def of_delivery(self, source: str, delivery_id: str) -> list[WebhookRecord]:
        """Return what is known of an event."""
        ...

    def add(self, record: WebhookRecord) -> None:
        """Insert a row."""
        ...

    def started(self, saga_id: str) -> str | None:
        """Return the fingerprint of an event that has started the run, which may have been pruned since."""
        ...

    def start(self, run: NewRun) -> Inserted:
        """Insert a run, unless it is there."""
        ...

    def send(self, signal: NewSignal) -> Sent:
        """Insert a signal, unless it is there or its run has ended."""
        ...

    def is_awaited(self, signal: NewSignal) -> bool:
        """Whether a run waits for it."""
        ...


def receive(rows: WebhookRows, events: Sequence[NewWebhook]) -> list[WebhookRecord]:
    """Record one delivery of an event, with what it leads to; see `WebhookStore.receive_webhook`."""
    moment = rows.now()
    known = rows.of_delivery(events[0].source, events[0].delivery_id)
    if _is_new(known, events):
        fresh = [_record(event, moment, *_done(rows, event)) for event in events]
    else:
        fresh = [_quarantined(event, moment) for event in events if not means(known, event)]
    for record in fresh:
        rows.add(record)
    return known + fresh


def _is_new(known: Sequence[WebhookRecord], events: Sequence[NewWebhook]) -> bool:
    """Whether nothing has come of an event so far: it was not delivered, or no saga wanted it and one does now."""
    return not known or (events[0].handler != "" and all(record.handler == "" for record in known))


def means(known: Sequence[WebhookRecord], event: NewWebhook) -> bool:
    """Whether an event that was delivered before meant this then; one that no saga wants now means nothing else."""
    if not event.handler:
        return True
    is_recorded = any(record.id == event.other_id for record in known)
    return is_recorded or any(
        record.handler == event.handler and record.fingerprint in (event.fingerprint, ERASED) for record in known
    )


def replayed(rows: WebhookRows, event: NewWebhook, received_at: datetime) -> WebhookRecord:
    """Do what a quarantined or ignored event leads to, and return its row as it is to be."""
    return _record(event, received_at, *_done(rows, event))


def _done(rows: WebhookRows, event: NewWebhook) -> tuple[WebhookOutcome, str | None]:
    if event.reason is not None:
        return "quarantined", event.reason
    if event.run is not None:
        return _started(rows, event.run, delayed=event.delayed)
    return ("ignored", None) if event.signal is None else _sent(rows, event.signal)


def _started(rows: WebhookRows, run: NewRun, *, delayed: bool) -> tuple[WebhookOutcome, str | None]:
    there = rows.started(run.saga_id)
    outcome: WebhookOutcome = "delayed" if delayed and there is None else "started"
    if there is None:
        inserted = rows.start(run)
        there = run.fingerprint if inserted.created else inserted.fingerprint
    # Of a run that was erased it is not known any more what it was given.
    if there != run.fingerprint and not there.startswith(ERASED):
        return "quarantined", STARTED_OTHERWISE
    return outcome, None


def _sent(rows: WebhookRows, signal: NewSignal) -> tuple[WebhookOutcome, str | None]:
    sent = rows.send(signal)
    if sent.fingerprint is None:
        return "quarantined", RUN_ENDED
    if sent.fingerprint not in (signal.fingerprint, ERASED):
        return "quarantined", SENT_OTHERWISE
    return ("resumed" if not sent.created or rows.is_awaited(signal) else "early"), None


def _quarantined(event: NewWebhook, moment: datetime) -> WebhookRecord:
    return _record(replace(event, id=event.other_id), moment, "quarantined", event.reason or TOLD_OTHERWISE)


def _record(event: NewWebhook, moment: datetime, outcome: WebhookOutcome, reason: str | None) -> WebhookRecord:
    signal = event.signal
    saga_id = event.run.saga_id if event.run is not None else None if signal is None else signal.saga_id
    return WebhookRecord(
        event.id, event.source, event.delivery_id, event.handler, event.event_type, moment, outcome, reason, saga_id,
        None if signal is None else signal.name, None if signal is None else signal.key, event.fingerprint, event.body,
        event.correlation_id,
    )  # fmt: skip
