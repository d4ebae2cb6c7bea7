"""An event is recorded together with the run that it starts, or the signal that it sends."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sagaz_durable.stores.postgresql.database.statements import Database, Row, Values
from sagaz_durable.stores.postgresql.webhooks.listing import find_webhooks
from sagaz_durable.stores.postgresql.webhooks.rows import webhook_record
from sagaz_durable.stores.postgresql.webhooks.sql import ARE_KNOWN, DISMISS, RECEIVE, REPLAY
from sagaz_durable.stores.webhook_rules import REPLAYABLE
from sagaz_integration_core.contract.records import NewRun
from sagaz_integration_core.contract.webhooks import NewWebhook, WebhookFilter, WebhookRecord
from sagaz_integration_core.errors import WriteRefused

__all__ = ["dismiss", "receive", "replay"]

_TRIES = 10
"""Each shows what the one before has waited for."""


async def receive(db: Database, events: Sequence[NewWebhook]) -> list[WebhookRecord]:
    """Record one delivery of an event, with what it leads to."""
    values = {**_given(events), "source": events[0].source, "delivery_id": events[0].delivery_id}
    for _ in range(_TRIES):
        try:
            rows = await db.fetch(RECEIVE, values)
        except WriteRefused:
            [[known]] = await db.fetch(ARE_KNOWN, {"ids": [event.id for event in events]})
            if not known:
                raise
            continue
        if rows:
            return [webhook_record(row) for row in rows]
    raise _restless(events[0])


async def replay(db: Database, event: NewWebhook, actor: str, reason: str) -> WebhookRecord | None:
    """Do what a quarantined or ignored event leads to now, and note whose decision it was."""
    values = {**_given([event]), "id": event.id, "actor": actor, "why": reason}
    for _ in range(_TRIES):
        if rows := await _replayed(db, values):
            return webhook_record(rows[0])
        known = await find_webhooks(db, WebhookFilter(id=event.id, limit=1))
        if not known or known[0].outcome not in REPLAYABLE:
            return None
    raise _restless(event)


async def dismiss(db: Database, webhook_id: str, actor: str, reason: str) -> WebhookRecord | None:
    """Have a quarantined event be ignored, and note whose decision it was."""
    rows = await db.fetch(DISMISS, {"id": webhook_id, "actor": actor, "why": reason})
    return webhook_record(rows[0]) if rows else None


async def _replayed(db: Database, values: Values) -> list[Row]:
    return await db.fetch(REPLAY, values)


def _restless(event: NewWebhook) -> WriteRefused:
    return WriteRefused(f"What event {event.delivery_id!r} of {event.source!r} leads to is being changed by others.")


def _given(events: Sequence[NewWebhook]) -> dict[str, Any]:
    return {"given": json.dumps([_as_row(event) for event in events], ensure_ascii=False), "count": len(events)}


def _as_row(event: NewWebhook) -> dict[str, Any]:
    names = (
        "id", "other_id", "source", "delivery_id", "handler", "event_type", "fingerprint", "body", "correlation_id",
        "reason",
    )  # fmt: skip
    row = {name: getattr(event, name) for name in names}
    if event.run is not None:
        row |= _run(event.run) | {"delayed": event.delayed}
    elif (signal := event.signal) is not None:
        row |= {"its_id": signal.id, "signal": signal.name, "saga_id": signal.saga_id, "key": signal.key}
        row |= {"signal_id": signal.signal_id, "payload": signal.payload}
    return row


def _run(run: NewRun) -> dict[str, Any]:
    deadline = {"deadline": run.deadline.isoformat()} if isinstance(run.deadline, datetime) else {}
    return {
        "saga_id": run.saga_id,
        "saga_name": run.saga_name,
        "context": run.context,
        "run_correlation_id": run.correlation_id,
        "not_before": None if run.not_before is None else run.not_before.isoformat(),
        "deadline_seconds": run.deadline if isinstance(run.deadline, float) else None,
        "owner": run.owner,
        **deadline,
    }
