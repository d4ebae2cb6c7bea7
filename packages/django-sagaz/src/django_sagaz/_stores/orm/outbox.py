"""Events wait here for a broker; those of one saga leave in the order in which they came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.db.models import Exists, F, OuterRef, QuerySet

from django_sagaz._stores.orm.rows import Moment, as_text, aware, event_record, json_text, stored
from django_sagaz.models import OutboxEvent, Run
from sagaz_integration_core.contract.events import EventFilter, EventOutcome, EventWrite, NewEvent, OutboxRecord, of_run

__all__ = ["count", "due", "find", "insert", "insert_of_run", "prune", "retry", "settle"]


def insert(connection: Any, events: Sequence[NewEvent]) -> list[bool]:
    """Insert events; False for each that was there already."""
    if not events:
        return []
    moment = Moment(connection)
    return [_insert(connection, event, moment) for event in events]


def insert_of_run(connection: Any, saga_id: str, events: Sequence[EventWrite]) -> None:
    """Insert events of a run, as a part of the transaction that records what they tell of."""
    if events:
        runs = Run.objects.using(connection.alias)
        created_at = runs.values_list("created_at", flat=True).get(pk=saga_id)
        insert(connection, [of_run(saga_id, event, created_at) for event in events])


def _insert(connection: Any, event: NewEvent, moment: Moment) -> bool:
    events = OutboxEvent.objects.using(connection.alias)
    if events.filter(event_id=event.event_id).exists():
        return False
    new = OutboxEvent(
        event_id=event.event_id,
        saga_id=event.key,
        topic=event.topic,
        payload=json_text(event.payload),
        headers=json_text(event.headers),
        status="pending",
        attempts=0,
        available_at=moment.now,
        created_at=moment.now,
    )
    # Somebody else may be inserting it too, and an error would spoil the caller's transaction.
    events.bulk_create([new], ignore_conflicts=connection.features.supports_ignore_conflicts)
    return True


def due(connection: Any, limit: int, lease_seconds: float) -> list[OutboxRecord]:
    """Lease the events to publish next, at most one of each saga."""
    moment = Moment(connection)
    pending = OutboxEvent.objects.using(connection.alias).filter(status="pending")
    older = pending.filter(saga_id=OuterRef("saga_id"), id__lt=OuterRef("id"))
    found = pending.filter(~Exists(older), available_at__lte=moment.now).order_by("available_at", "id")
    until = moment.after(lease_seconds)
    taken = [event for event in _with_texts(found)[:limit] if _take(connection, event, until)]
    return [replace(event_record(event), available_at=aware(until)) for event in taken]


def _take(connection: Any, event: OutboxEvent, until: datetime) -> bool:
    # Somebody else may have been faster.
    same = OutboxEvent.objects.using(connection.alias).filter(
        pk=event.pk, status="pending", available_at=event.available_at
    )
    return same.update(available_at=until) == 1


def settle(connection: Any, outcomes: Sequence[EventOutcome]) -> None:
    """Record what became of leased events."""
    moment = Moment(connection)
    # In the order of their ids, so that no two relays wait for each other.
    for outcome in sorted(outcomes, key=lambda outcome: outcome.id):
        sent = outcome.status == "sent"
        changes: dict[str, Any] = {
            "status": outcome.status,
            "attempts": F("attempts") + int(outcome.charged),
            "available_at": moment.after(outcome.delay) if outcome.status == "pending" else None,
            "sent_at": moment.now if sent else None,
        }
        if sent or outcome.error is not None:
            changes["error"] = None if sent else outcome.error
        events = OutboxEvent.objects.using(connection.alias)
        events.filter(pk=outcome.id, status__in=("pending", "dead") if sent else ("pending",)).update(**changes)


def find(connection: Any, query: EventFilter) -> list[OutboxRecord]:
    """Return events, oldest first."""
    found = _matching(connection, query).filter(id__gt=query.after).order_by("id")
    return [event_record(event) for event in _with_texts(found)[: query.limit]]


def count(connection: Any, query: EventFilter) -> int:
    """Return how many events match."""
    return _matching(connection, query).count()


def _matching(connection: Any, query: EventFilter) -> QuerySet[OutboxEvent]:
    given: dict[str, Any] = {
        "status__in": query.statuses or None,
        "topic": query.topic,
        "saga_id": query.saga_id,
        "event_id__in": query.event_ids,
    }
    return OutboxEvent.objects.using(connection.alias).filter(
        **{name: value for name, value in given.items() if value is not None}
    )


def _with_texts(events: QuerySet[OutboxEvent]) -> QuerySet[OutboxEvent]:
    texts = {"payload_text": as_text("payload"), "headers_text": as_text("headers")}
    return events.annotate(**texts).defer("payload", "headers")


def retry(connection: Any, event_ids: Sequence[str]) -> list[str]:
    """Make dead events pending again; return which of them were dead."""
    dead = OutboxEvent.objects.using(connection.alias).filter(event_id__in=event_ids, status="dead")
    # Locked, so that two people who do it at once are not both told that they did.
    found = list(dead.select_for_update().values_list("event_id", flat=True))
    dead.filter(event_id__in=found).update(status="pending", attempts=0, available_at=Moment(connection).now)
    return found


def prune(connection: Any, older_than: datetime, limit: int) -> int:
    """Delete events that were sent before a time; return how many."""
    events = OutboxEvent.objects.using(connection.alias)
    old = list(events.filter(sent_at__lt=stored(older_than)).order_by("sent_at").values_list("pk", flat=True)[:limit])
    return events.filter(pk__in=old).delete()[0]
