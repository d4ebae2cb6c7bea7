"""Events that senders deliver, and what each of them led to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from file_store import runs, signals
from file_store.tables import Tables, now
from sagaz_durable.stores.webhook_rules import receive as receive_events
from sagaz_durable.stores.webhook_rules import replayed
from sagaz_integration_core.contract.decisions import AuditRecord
from sagaz_integration_core.contract.records import ERASED, Inserted, NewRun
from sagaz_integration_core.contract.waits import NewSignal, Sent
from sagaz_integration_core.contract.webhooks import NewWebhook, WebhookFilter, WebhookRecord, webhook_subject


class Rows:
    """What the rules ask for."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def now(self) -> datetime:
        return now()

    def of_delivery(self, source: str, delivery_id: str) -> list[WebhookRecord]:
        known = self.tables.webhooks.values()
        return [one for one in known if (one.source, one.delivery_id) == (source, delivery_id)]

    def add(self, record: WebhookRecord) -> None:
        self.tables.webhooks[record.id] = record

    def started(self, saga_id: str) -> str | None:
        known = self.tables.webhooks.values()
        return next((one.fingerprint for one in known if (one.saga_id, one.outcome) == (saga_id, "started")), None)

    def start(self, run: NewRun) -> Inserted:
        return runs.insert(self.tables, [run], 0.0)[0]

    def send(self, signal: NewSignal) -> Sent:
        return signals.send(self.tables, [signal])[0]

    def is_awaited(self, signal: NewSignal) -> bool:
        waits = [wait for run in self.tables.runs.values() for wait in run.waits]
        if signal.key is not None:
            return any((wait.name, wait.key) == (signal.name, signal.key) for wait in waits)
        return any((w.name, w.saga_id, w.outcome) == (signal.name, signal.saga_id, None) for w in waits)


def receive(tables: Tables, events: Sequence[NewWebhook]) -> list[WebhookRecord]:
    return receive_events(Rows(tables), events)


def replay(tables: Tables, event: NewWebhook, actor: str, reason: str) -> WebhookRecord | None:
    known = tables.webhooks.get(event.id)
    if known is None or known.outcome != "quarantined":
        return None
    record = tables.webhooks[event.id] = replayed(Rows(tables), event, known.received_at)
    note = AuditRecord(webhook_subject(event.id), "replay", actor, reason, "quarantined", record.outcome, now())
    tables.webhook_notes.append(note)
    return record


def find(tables: Tables, query: WebhookFilter) -> list[WebhookRecord]:
    def age(one: WebhookRecord) -> tuple[datetime, str]:
        return one.received_at, one.id

    found = [
        one
        for one in tables.webhooks.values()
        if query.id in (None, one.id)
        and query.outcome in (None, one.outcome)
        and query.source in (None, one.source)
        and query.saga_id in (None, one.saga_id)
        and (query.before is None or age(one) < query.before)
    ]
    return sorted(found, key=age, reverse=True)[: query.limit]


def count_quarantined(tables: Tables) -> int:
    return sum(one.outcome == "quarantined" for one in tables.webhooks.values())


def prune(tables: Tables, before: datetime, ignored_before: datetime, limit: int) -> int:
    old = _old(tables, before, ignored_before)[:limit]
    for its_id in old:
        del tables.webhooks[its_id]
    subjects = set(map(webhook_subject, old))
    tables.webhook_notes = [note for note in tables.webhook_notes if note.saga_id not in subjects]
    return len(old)


def count_prunable(tables: Tables, before: datetime, ignored_before: datetime) -> int:
    return len(_old(tables, before, ignored_before))


def erase(tables: Tables, saga_id: str) -> None:
    """Forget what the events said that started a run, or whose signals it took."""
    taken = {(one.name, one.signal_id) for one in tables.signals.values() if one.taken_by == saga_id}
    for one in tables.webhooks.values():
        if one.saga_id == saga_id or (one.signal, one.delivery_id) in taken:
            tables.webhooks[one.id] = replace(one, body=None, fingerprint=ERASED)


def _old(tables: Tables, before: datetime, ignored_before: datetime) -> list[str]:
    limits = {"started": before, "resumed": before, "early": before, "ignored": ignored_before}
    return [
        one.id for one in tables.webhooks.values() if one.outcome in limits and one.received_at < limits[one.outcome]
    ]
