"""Events that senders deliver, and what each of them led to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from file_store import runs, signals
from file_store.tables import Tables, now
from sagaz_durable.stores.delayed_starts import deadline_from
from sagaz_durable.stores.delayed_starts import start_delayed as start_in_turn
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

    def delayed(self, handler: str) -> list[str]:
        known = [one for one in self.tables.webhooks.values() if (one.outcome, one.handler) == ("delayed", handler)]
        return [one.saga_id or "" for one in sorted(known, key=lambda one: (one.received_at, one.id))]

    def under_way(self, limit: StartLimit) -> int:
        return sum(row.status not in FINISHED for row in self._started(limit))

    def started_since(self, limit: StartLimit, since: datetime) -> int:
        return sum(row.created_at > since for row in self._started(limit))

    def start_now(self, saga_id: str, moment: datetime) -> None:
        run = self.tables.runs.get(saga_id)
        if run is not None and run.row.status == "pending" and run.row.available_at == DELAYED_UNTIL:
            run.row = replace(
                run.row,
                available_at=moment,
                created_at=moment,
                updated_at=moment,
                version=run.row.version + 1,
                deadline=deadline_from(run.row.deadline, moment),
            )
        for one in self.tables.webhooks.values():
            if (one.saga_id, one.outcome) == (saga_id, "delayed"):
                self.tables.webhooks[one.id] = replace(one, outcome="started")

    def _started(self, limit: StartLimit) -> list[RunRecord]:
        known = self.tables.webhooks.values()
        started = {one.saga_id for one in known if (one.outcome, one.handler) == ("started", limit.handler)}
        return [run.row for run in self.tables.runs.values() if run.row.saga_id in started]


def receive(tables: Tables, events: Sequence[NewWebhook]) -> list[WebhookRecord]:
    return receive_events(Rows(tables), events)


def replay(tables: Tables, event: NewWebhook, actor: str, reason: str) -> WebhookRecord | None:
    known = tables.webhooks.get(event.id)
    if known is None or known.outcome not in REPLAYABLE:
        return None
    record = tables.webhooks[event.id] = replayed(Rows(tables), event, known.received_at)
    note = AuditRecord(webhook_subject(event.id), "replay", actor, reason, known.outcome, record.outcome, now())
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


def start_delayed(tables: Tables, limit: StartLimit) -> int:
    return start_in_turn(Rows(tables), limit)


def count_delayed(tables: Tables) -> int:
    return sum(one.outcome == "delayed" for one in tables.webhooks.values())


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
