"""How events are read from PostgreSQL's rows."""

from __future__ import annotations

from datetime import UTC

from sagaz_durable.stores.postgresql.database.statements import Row
from sagaz_integration_core.contract.webhooks import WebhookRecord

__all__ = ["webhook_record"]


def webhook_record(row: Row) -> WebhookRecord:
    """Read a row of ``sagaz_webhook``; what stands behind its columns is left out."""
    values = [*row[:5], row[5].astimezone(UTC), *row[6:14]]
    return WebhookRecord(*values)
