"""Events wait here for a broker; those of one saga leave in the order in which they came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Exists, F, OuterRef

from django_sagaz.engines.orm_rows import Moment, as_text, event_record
from django_sagaz.models import OutboxEvent, Run
from sagaz_integration_core.protocols import OutboxRecord

__all__ = ["due_events", "settle_events"]


def due_events(connection: Any, limit: int, lease_seconds: float) -> list[OutboxRecord]:
    """Lease the events to publish next, at most one of each saga."""
    moment = Moment(connection)
    pending = OutboxEvent.objects.using(connection.alias).filter(status="pending")
    older = pending.filter(saga_id=OuterRef("saga_id"), id__lt=OuterRef("id"))
    due = pending.filter(~Exists(older), available_at__lte=moment.now).order_by("available_at", "id")
    due = due.annotate(payload_text=as_text("payload"), headers_text=as_text("headers")).defer("payload", "headers")
    return [event_record(event) for event in due[:limit] if _take(connection, event, moment, lease_seconds)]


def _take(connection: Any, event: OutboxEvent, moment: Moment, lease_seconds: float) -> bool:
    # Somebody else may have been faster.
    same = OutboxEvent.objects.using(connection.alias).filter(
        pk=event.pk, status="pending", attempts=event.attempts, available_at=event.available_at
    )
    taken = same.update(attempts=F("attempts") + 1, available_at=moment.after(lease_seconds))
    event.attempts += 1
    return taken == 1


def settle_events(connection: Any, sent: Sequence[int], failed: Sequence[tuple[int, str, float, bool]]) -> None:
    """Record which events were sent, which are to be tried again, and which are set aside."""
    moment = Moment(connection)
    events = OutboxEvent.objects.using(connection.alias)
    # An event that was sent after its run had been deleted has nothing to be kept for.
    runs = Run.objects.using(connection.alias).filter(saga_id=OuterRef("saga_id"))
    orphans = list(events.filter(~Exists(runs), pk__in=sent).values_list("pk", flat=True))
    events.filter(pk__in=orphans).delete()
    events.filter(pk__in=sent).update(status="sent", error=None, available_at=None, sent_at=moment.now)
    for id_, error, delay, dead in failed:
        events.filter(pk=id_, status="pending").update(
            status="dead" if dead else "pending", error=error, available_at=None if dead else moment.after(delay)
        )
