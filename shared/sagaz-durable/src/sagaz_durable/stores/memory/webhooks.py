"""Webhooks, in a dictionary; called under the store's lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from sagaz_durable.stores.memory.rows import Rows
from sagaz_durable.stores.webhook_rules import receive as receive_events
from sagaz_durable.stores.webhook_rules import replayed
from sagaz_integration_core.contract.decisions import AuditRecord
from sagaz_integration_core.contract.records import ERASED, Inserted, NewRun
from sagaz_integration_core.contract.waits import NewSignal, Sent
from sagaz_integration_core.contract.webhooks import NewWebhook, WebhookFilter, WebhookRecord, webhook_subject

__all__ = [
    "count_prunable_webhooks", "count_quarantined", "erase", "find_webhooks", "prune_webhooks", "receive", "replay",
]  # fmt: skip


class _Webhooks:
    """What the rules ask for."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._moment = datetime.now(UTC)

    def now(self) -> datetime:
        return self._moment

    def of_delivery(self, source: str, delivery_id: str) -> list[WebhookRecord]:
        known = self._rows.webhooks.values()
        return [one for one in known if (one.source, one.delivery_id) == (source, delivery_id)]

    def add(self, record: WebhookRecord) -> None:
        self._rows.keep_webhook(record)

    def started(self, saga_id: str) -> str | None:
        events = self._rows.webhooks.values()
        found = (one.fingerprint for one in events if one.saga_id == saga_id and one.outcome == "started")
        return next(found, None)

    def start(self, run: NewRun) -> Inserted:
        return self._rows.insert(run, self._moment, 0.0)

    def send(self, signal: NewSignal) -> Sent:
        return self._rows.send(signal, self._moment)

    def is_awaited(self, signal: NewSignal) -> bool:
        return self._rows.waits.is_awaited(signal)


def receive(rows: Rows, events: Sequence[NewWebhook]) -> list[WebhookRecord]:
    """Record one delivery of an event, with what it leads to."""
    return receive_events(_Webhooks(rows), events)


def replay(rows: Rows, event: NewWebhook, actor: str, reason: str) -> WebhookRecord | None:
    """Do what a quarantined event leads to now, and note whose decision it was."""
    known = rows.webhooks.get(event.id)
    if known is None or known.outcome != "quarantined":
        return None
    record = rows.webhooks[event.id] = replayed(_Webhooks(rows), event, known.received_at)
    subject, moment = webhook_subject(event.id), datetime.now(UTC)
    rows.runs.note(AuditRecord(subject, "replay", actor, reason, known.outcome, record.outcome, moment))
    return record


def find_webhooks(rows: Rows, query: WebhookFilter) -> list[WebhookRecord]:
    """Return events, the newest first."""
    found = [one for one in rows.webhooks.values() if _matches(one, query)]
    return sorted(found, key=_age, reverse=True)[: query.limit]


def count_quarantined(rows: Rows) -> int:
    """Return how many events are quarantined."""
    return sum(one.outcome == "quarantined" for one in rows.webhooks.values())


def prune_webhooks(rows: Rows, before: datetime, ignored_before: datetime, limit: int) -> int:
    """Delete old events; return how many."""
    old = [one.id for one in rows.webhooks.values() if _is_old(one, before, ignored_before)][:limit]
    for its_id in old:
        del rows.webhooks[its_id]
        rows.runs.forget_notes(webhook_subject(its_id))
    return len(old)


def count_prunable_webhooks(rows: Rows, before: datetime, ignored_before: datetime) -> int:
    """Return how many events are old."""
    return sum(_is_old(one, before, ignored_before) for one in rows.webhooks.values())


def erase(rows: Rows, saga_id: str) -> None:
    """Forget what the events said that started a run, or whose signals it took."""
    is_meant = _of_run(rows, saga_id)
    for one in rows.webhooks.values():
        if is_meant(one):
            rows.webhooks[one.id] = replace(one, body=None, fingerprint=ERASED)


def _of_run(rows: Rows, saga_id: str) -> Callable[[WebhookRecord], bool]:
    taken = rows.waits.taken_by(saga_id)
    return lambda one: one.saga_id == saga_id or (one.signal, one.delivery_id) in taken


def _is_old(one: WebhookRecord, before: datetime, ignored_before: datetime) -> bool:
    return one.outcome != "quarantined" and one.received_at < (ignored_before if one.outcome == "ignored" else before)


def _matches(one: WebhookRecord, query: WebhookFilter) -> bool:
    return (
        query.id in (None, one.id)
        and query.outcome in (None, one.outcome)
        and query.source in (None, one.source)
        and query.saga_id in (None, one.saga_id)
        and (query.before is None or _age(one) < query.before)
    )


def _age(one: WebhookRecord) -> tuple[datetime, str]:
    return one.received_at, one.id
