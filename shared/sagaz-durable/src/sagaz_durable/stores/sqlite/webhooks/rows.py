"""The rows of ``sagaz_webhook``: how they are found, read and inserted."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from sagaz_durable.stores.sqlite.rows import stamp, when
from sagaz_integration_core.contract.webhooks import WebhookRecord

__all__ = ["COLUMNS", "insert", "records", "update"]

COLUMNS = (
    "id, source, delivery_id, handler, event_type, received_at, outcome, reason, saga_id, signal, key, fingerprint, "
    "body, correlation_id"
)
_INSERT = f"INSERT INTO sagaz_webhook ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_UPDATE = """
    UPDATE sagaz_webhook SET outcome = ?, reason = ?, saga_id = ?, signal = ?, key = ?, fingerprint = ? WHERE id = ?
"""


def records(sqlite: sqlite3.Connection, condition: str, values: Sequence[Any] = ()) -> list[WebhookRecord]:
    """Return the rows that match."""
    statement = f"SELECT {COLUMNS} FROM sagaz_webhook WHERE {condition}"  # noqa: S608
    return [_record(row) for row in sqlite.execute(statement, tuple(values))]


def insert(sqlite: sqlite3.Connection, record: WebhookRecord) -> None:
    """Insert a row."""
    values = [getattr(record, name) for name in COLUMNS.split(", ")]
    sqlite.execute(_INSERT, (*values[:5], stamp(record.received_at), *values[6:]))


def update(sqlite: sqlite3.Connection, record: WebhookRecord) -> None:
    """Replace what became of an event."""
    sqlite.execute(
        _UPDATE,
        (
            record.outcome, record.reason, record.saga_id, record.signal, record.key, record.fingerprint, record.id,
        ),
    )  # fmt: skip


def _record(row: tuple[Any, ...]) -> WebhookRecord:
    values = [*row[:5], when(row[5]), *row[6:]]
    return WebhookRecord(*values)
