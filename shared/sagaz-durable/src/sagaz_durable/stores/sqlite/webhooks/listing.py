"""What people are told of events, and the removal of those that are old."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Any

from sagaz_durable.stores.sqlite.rows import stamp
from sagaz_durable.stores.sqlite.webhooks.rows import records
from sagaz_integration_core.contract.webhooks import WebhookFilter, WebhookRecord, webhook_subject

__all__ = ["count_prunable_webhooks", "count_quarantined", "find_webhooks", "prune_webhooks"]

_OLD = (
    "received_at < ? AND outcome NOT IN ('quarantined', 'ignored', 'delayed') "
    "OR received_at < ? AND outcome = 'ignored'"
)
_FIND_OLD = f"SELECT id FROM sagaz_webhook WHERE {_OLD} ORDER BY received_at LIMIT ?"  # noqa: S608
_COUNT_OLD = f"SELECT count(*) FROM sagaz_webhook WHERE {_OLD}"  # noqa: S608
_COUNT_QUARANTINED = "SELECT count(*) FROM sagaz_webhook WHERE outcome = 'quarantined'"


def find_webhooks(sqlite: sqlite3.Connection, query: WebhookFilter) -> list[WebhookRecord]:
    """Return events, the newest first."""
    chosen = {"id": query.id, "outcome": query.outcome, "source": query.source, "saga_id": query.saga_id}
    conditions = [f"{column} = ?" for column, value in chosen.items() if value is not None]
    values: list[Any] = [value for value in chosen.values() if value is not None]
    if query.before is not None:
        conditions.append("(received_at, id) < (?, ?)")
        values += [stamp(query.before[0]), query.before[1]]
    where = " AND ".join(conditions) or "true"
    return records(sqlite, f"{where} ORDER BY received_at DESC, id DESC LIMIT ?", (*values, query.limit))


def count_quarantined(sqlite: sqlite3.Connection) -> int:
    """Return how many events are quarantined."""
    return int(sqlite.execute(_COUNT_QUARANTINED).fetchone()[0])


def prune_webhooks(sqlite: sqlite3.Connection, before: datetime, ignored_before: datetime, limit: int) -> int:
    """Delete old events; return how many."""
    old = sqlite.execute(_FIND_OLD, (stamp(before), stamp(ignored_before), limit)).fetchall()
    sqlite.executemany("DELETE FROM sagaz_webhook WHERE id = ?", old)
    sqlite.executemany("DELETE FROM sagaz_audit WHERE saga_id = ?", [(webhook_subject(one),) for (one,) in old])
    return len(old)


def count_prunable_webhooks(sqlite: sqlite3.Connection, before: datetime, ignored_before: datetime) -> int:
    """Return how many events are old."""
    return int(sqlite.execute(_COUNT_OLD, (stamp(before), stamp(ignored_before))).fetchone()[0])
