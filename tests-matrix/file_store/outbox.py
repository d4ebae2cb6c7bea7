"""Events that wait for a broker, were sent, or were set aside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from file_store.tables import Tables, now
from sagaz_integration_core.contract.events import EventFilter, EventOutcome, NewEvent, OutboxRecord

EMPTIED = {"payload": "{}", "headers": "{}"}


def add(tables: Tables, event: NewEvent) -> bool:
    if any(event.event_id == known.event_id for known in tables.events.values()):
        return False
    tables.last_event += 1
    moment = now()
    tables.events[tables.last_event] = OutboxRecord(
        tables.last_event, event.event_id, event.key, event.topic, event.payload, event.headers, "pending", 0, None,
        moment, moment, None,
    )  # fmt: skip
    return True


def insert(tables: Tables, events: Sequence[NewEvent]) -> list[bool]:
    return [add(tables, event) for event in events]


def due(tables: Tables, limit: int, lease_seconds: float) -> list[OutboxRecord]:
    moment, oldest = now(), dict[str, OutboxRecord]()
    for event in tables.events.values():
        if event.status == "pending":
            oldest.setdefault(event.saga_id, event)
    found = sorted((_available_at(e), e.id) for e in oldest.values() if _available_at(e) <= moment)[:limit]
    for _, id_ in found:
        tables.events[id_] = replace(tables.events[id_], available_at=moment + timedelta(seconds=lease_seconds))
    return [tables.events[id_] for _, id_ in found]


def _available_at(event: OutboxRecord) -> datetime:
    return event.available_at or event.created_at


def settle(tables: Tables, outcomes: Sequence[EventOutcome]) -> None:
    for outcome in outcomes:
        event, moment, sent = tables.events.get(outcome.id), now(), outcome.status == "sent"
        if event is None or event.status == "sent" or (event.status == "dead" and not sent):
            continue
        again = moment + timedelta(seconds=outcome.delay)
        tables.events[event.id] = replace(
            event, status=outcome.status, attempts=event.attempts + outcome.charged,
            error=None if sent else outcome.error or event.error,
            available_at=again if outcome.status == "pending" else None, sent_at=moment if sent else None,
        )  # fmt: skip


def find(tables: Tables, query: EventFilter) -> list[OutboxRecord]:
    return [
        event
        for event in tables.events.values()
        if event.id > query.after
        and (not query.statuses or event.status in query.statuses)
        and query.topic in (None, event.topic)
        and query.saga_id in (None, event.saga_id)
        and (query.event_ids is None or event.event_id in query.event_ids)
    ][: query.limit]


def count(tables: Tables, query: EventFilter) -> int:
    return len(find(tables, replace(query, after=0, limit=len(tables.events))))


def retry(tables: Tables, event_ids: Sequence[str]) -> list[str]:
    retried = [e for e in tables.events.values() if e.status == "dead" and e.event_id in event_ids]
    for event in retried:
        tables.events[event.id] = replace(event, status="pending", attempts=0, available_at=now())
    return [event.event_id for event in retried]


def prune(tables: Tables, older_than: datetime, limit: int) -> int:
    old = sorted((e.sent_at, e.id) for e in tables.events.values() if e.sent_at is not None and e.sent_at < older_than)
    return _forget(tables, [id_ for _, id_ in old[:limit]])


def _forget(tables: Tables, ids: Iterable[int]) -> int:
    return len([tables.events.pop(id_) for id_ in ids])


def _of_run(tables: Tables, saga_id: str) -> list[OutboxRecord]:
    return [event for event in tables.events.values() if event.saga_id == saga_id]


def forget_sent(tables: Tables, saga_id: str) -> None:
    """Forget the events of a deleted run, but for those that still wait or were set aside."""
    _forget(tables, [event.id for event in _of_run(tables, saga_id) if event.status == "sent"])


def has_unsent(tables: Tables, saga_id: str) -> bool:
    return any(event.status != "sent" for event in _of_run(tables, saga_id))


def empty_sent(tables: Tables, saga_id: str) -> None:
    """Erase what the sent events of a run told."""
    tables.events.update({event.id: replace(event, **EMPTIED) for event in _of_run(tables, saga_id)})
