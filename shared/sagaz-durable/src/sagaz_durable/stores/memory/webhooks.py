"""Webhooks, in a dictionary; called under the store's lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from sagaz_durable.stores.delayed_starts import deadline_from
from sagaz_durable.stores.delayed_starts import start_delayed as start_in_turn
from sagaz_durable.stores.memory.rows import Rows
from sagaz_durable.stores.webhook_rules import REPLAYABLE, replayed
from sagaz_durable.stores.webhook_rules import receive as receive_events
from sagaz_integration_core.contract.decisions import AuditRecord
from sagaz_integration_core.contract.records import ERASED, FINISHED, Inserted, NewRun, RunRecord
from sagaz_integration_core.contract.waits import NewSignal, Sent
from sagaz_integration_core.contract.webhooks import (
    DELAYED_UNTIL,
    NewWebhook,
    StartLimit,
    WebhookFilter,
    WebhookRecord,
    webhook_subject,
)

__all__ = [
    "count_delayed", "count_prunable_webhooks", "count_quarantined", "erase", "find_webhooks", "prune_webhooks",
    "receive", "replay", "start_delayed",
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

    def delayed(self, handler: str) -> list[str]:
        events = [one for one in self._rows.webhooks.values() if (one.outcome, one.handler) == ("delayed", handler)]
        return [one.saga_id or "" for one in sorted(events, key=_age)]

    def under_way(self, limit: StartLimit) -> int:
        return sum(run.status not in FINISHED for run in self._started(limit))

    def started_since(self, limit: StartLimit, since: datetime) -> int:
        return sum(run.created_at > since for run in self._started(limit))

    def start_now(self, saga_id: str, moment: datetime) -> None:
        run = self._rows.runs.rows.get(saga_id)
        if run is not None and run.status == "pending" and run.available_at == DELAYED_UNTIL:
            self._rows.put(
                replace(
                    run,
                    available_at=moment,
                    created_at=moment,
                    updated_at=moment,
                    version=run.version + 1,
                    deadline=deadline_from(run.deadline, moment),
                )
            )
        for one in [one for one in self._rows.webhooks.values() if one.saga_id == saga_id]:
            if one.outcome == "delayed":
                self._rows.webhooks[one.id] = replace(one, outcome="started")

    def _started(self, limit: StartLimit) -> list[RunRecord]:
        events = self._rows.webhooks.values()
        known = {one.saga_id for one in events if (one.outcome, one.handler) == ("started", limit.handler)}
        return [run for run in map(self._rows.runs.rows.get, map(str, known)) if run is not None]


def receive(rows: Rows, events: Sequence[NewWebhook]) -> list[WebhookRecord]:
    """Record one delivery of an event, with what it leads to."""
    return receive_events(_Webhooks(rows), events)


def replay(rows: Rows, event: NewWebhook, actor: str, reason: str) -> WebhookRecord | None:
    """Do what a quarantined or ignored event leads to now, and note whose decision it was."""
    known = rows.webhooks.get(event.id)
    if known is None or known.outcome not in REPLAYABLE:
        return None
    record = rows.webhooks[event.id] = replayed(_Webhooks(rows), event, known.received_at)
    subject, moment = webhook_subject(event.id), datetime.now(UTC)
    rows.runs.note(AuditRecord(subject, "replay", actor, reason, known.outcome, record.outcome, moment))
    return record


def find_webhooks(rows: Rows, query: WebhookFilter) -> list[WebhookRecord]:
    """Return events, the newest first."""
    found = [one for one in rows.webhooks.values() if _matches(one, query)]
    return sorted(found, key=_age, reverse=True)[: query.limit]


def start_delayed(rows: Rows, limit: StartLimit) -> int:
    """Start the runs of a trigger's delayed events as far as there is room; return how many."""
    return start_in_turn(_Webhooks(rows), limit)


def count_delayed(rows: Rows) -> int:
    """Return how many events are delayed."""
    return sum(one.outcome == "delayed" for one in rows.webhooks.values())


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
    limit = ignored_before if one.outcome == "ignored" else before
    return one.outcome not in ("quarantined", "delayed") and one.received_at < limit


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
