"""An event is recorded together with the run that it starts, or the signal that it sends."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime

from sagaz_durable.stores.sqlite.leases import insert as insert_runs
from sagaz_durable.stores.sqlite.rows import now, stamp
from sagaz_durable.stores.sqlite.signals import send as send_signals
from sagaz_durable.stores.sqlite.webhooks.rows import insert, records, update
from sagaz_durable.stores.webhook_rules import receive as receive_events
from sagaz_durable.stores.webhook_rules import replayed
from sagaz_integration_core.contract.records import Inserted, NewRun
from sagaz_integration_core.contract.waits import NewSignal, Sent
from sagaz_integration_core.contract.webhooks import NewWebhook, WebhookRecord, webhook_subject

__all__ = ["receive", "replay"]

_STARTED = "SELECT fingerprint FROM sagaz_webhook WHERE saga_id = ? AND outcome = 'started' LIMIT 1"
_AWAITED = "SELECT 1 FROM sagaz_wait WHERE name = ? AND outcome IS NULL AND {column} = ?"
_NOTE = "INSERT INTO sagaz_audit (saga_id, action, actor, reason, found, status, at) VALUES (?, ?, ?, ?, ?, ?, ?)"


class _Webhooks:
    """What the rules ask for."""

    def __init__(self, sqlite: sqlite3.Connection) -> None:
        self._sqlite = sqlite

    def now(self) -> datetime:
        return now()

    def of_delivery(self, source: str, delivery_id: str) -> list[WebhookRecord]:
        return records(self._sqlite, "source = ? AND delivery_id = ?", (source, delivery_id))

    def add(self, record: WebhookRecord) -> None:
        insert(self._sqlite, record)

    def started(self, saga_id: str) -> str | None:
        row = self._sqlite.execute(_STARTED, (saga_id,)).fetchone()
        return None if row is None else str(row[0])

    def start(self, run: NewRun) -> Inserted:
        [inserted] = insert_runs(self._sqlite, [run], 0.0)
        return inserted

    def send(self, signal: NewSignal) -> Sent:
        [sent] = send_signals(self._sqlite, [signal])
        return sent

    def is_awaited(self, signal: NewSignal) -> bool:
        column, address = ("key", signal.key) if signal.key is not None else ("saga_id", signal.saga_id)
        statement = _AWAITED.replace("{column}", column)
        return self._sqlite.execute(statement, (signal.name, address)).fetchone() is not None


def receive(sqlite: sqlite3.Connection, events: Sequence[NewWebhook]) -> list[WebhookRecord]:
    """Record one delivery of an event, with what it leads to."""
    return receive_events(_Webhooks(sqlite), events)


def replay(sqlite: sqlite3.Connection, event: NewWebhook, actor: str, reason: str) -> WebhookRecord | None:
    """Do what a quarantined or ignored event leads to now, and note whose decision it was."""
    known = records(sqlite, "id = ? AND outcome IN ('quarantined', 'ignored')", (event.id,))
    if not known:
        return None
    record = replayed(_Webhooks(sqlite), event, known[0].received_at)
    update(sqlite, record)
    subject = webhook_subject(event.id)
    sqlite.execute(_NOTE, (subject, "replay", actor, reason, known[0].outcome, record.outcome, stamp(now())))
    return record
