"""Events that senders deliver, and what each of them led to."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q

from django_sagaz._stores.orm.rows import Moment, stored, webhook_record
from django_sagaz._stores.orm.runs import insert as insert_runs
from django_sagaz._stores.orm.signals import send as send_signals
from django_sagaz.models import AuditEntry, Signal, Wait, Webhook
from sagaz_durable.stores.webhook_rules import REPLAYABLE, replayed
from sagaz_durable.stores.webhook_rules import receive as receive_events
from sagaz_integration_core.contract.records import ERASED, Inserted, NewRun
from sagaz_integration_core.contract.waits import NewSignal, Sent
from sagaz_integration_core.contract.webhooks import NewWebhook, WebhookFilter, WebhookRecord, webhook_subject

__all__ = [
    "count_prunable_webhooks", "count_quarantined", "dismiss", "erase", "find_webhooks", "prune_webhooks", "receive",
    "replay",
]  # fmt: skip


_TRIES = 10
"""Each sees what the one before has waited for."""


class _Webhooks:
    """What the rules ask for."""

    def __init__(self, connection: Any, *, locks: bool = False) -> None:
        self._connection = connection
        self._events = Webhook.objects.using(connection.alias)
        self._deliveries = self._events.select_for_update() if locks else self._events

    def now(self) -> datetime:
        return Moment(self._connection).utc

    def of_delivery(self, source: str, delivery_id: str) -> list[WebhookRecord]:
        return list(map(webhook_record, self._deliveries.filter(source=source, delivery_id=delivery_id)))

    def add(self, record: WebhookRecord) -> None:
        self._events.create(**{**asdict(record), "received_at": stored(record.received_at)})

    def started(self, saga_id: str) -> str | None:
        found = self._events.filter(saga_id=saga_id, outcome="started").values_list("fingerprint", flat=True)
        fingerprint: str | None = found.first()
        return fingerprint

    def start(self, run: NewRun) -> Inserted:
        [inserted] = insert_runs(self._connection, [run], 0.0)
        return inserted

    def send(self, signal: NewSignal) -> Sent:
        [sent] = send_signals(self._connection, [signal])
        return sent

    def is_awaited(self, signal: NewSignal) -> bool:
        address = {"key": signal.key} if signal.key is not None else {"saga_id": signal.saga_id}
        waits = Wait.objects.using(self._connection.alias).filter(name=signal.name, outcome=None, **address)
        return bool(waits.exists())


def receive(connection: Any, events: Sequence[NewWebhook]) -> list[WebhookRecord]:
    """Record one delivery of an event, with what it leads to."""
    locks = False
    for _ in range(_TRIES):
        # Where another delivery was faster, what this one would have led to is taken back.
        with suppress(IntegrityError), transaction.atomic(connection.alias):
            return receive_events(_Webhooks(connection, locks=locks), events)
        # With REPEATABLE READ, the other one's rows may not be seen yet: only a lock shows them.
        locks = True
    with transaction.atomic(connection.alias):
        return receive_events(_Webhooks(connection, locks=locks), events)


def replay(connection: Any, event: NewWebhook, actor: str, reason: str) -> WebhookRecord | None:
    """Do what a quarantined or ignored event leads to now, and note whose decision it was."""
    events = Webhook.objects.using(connection.alias).filter(pk=event.id)
    known = events.select_for_update().filter(outcome__in=REPLAYABLE).first()
    if known is None:
        return None
    record = replayed(_Webhooks(connection), event, webhook_record(known).received_at)
    changed = ("outcome", "reason", "saga_id", "signal", "key", "fingerprint")
    events.update(**{name: getattr(record, name) for name in changed})
    AuditEntry.objects.using(connection.alias).create(
        saga_id=webhook_subject(event.id), action="replay", actor=actor, reason=reason, found=known.outcome,
        status=record.outcome, at=Moment(connection).now,
    )  # fmt: skip
    return record


def dismiss(connection: Any, webhook_id: str, actor: str, reason: str) -> WebhookRecord | None:
    """Have a quarantined event be ignored, and note whose decision it was."""
    known = Webhook.objects.using(connection.alias).select_for_update().filter(pk=webhook_id, outcome="quarantined")
    event = known.first()
    if event is None:
        return None
    event.outcome = "ignored"
    event.save(update_fields=["outcome"], using=connection.alias)
    AuditEntry.objects.using(connection.alias).create(
        saga_id=webhook_subject(webhook_id), action="dismiss", actor=actor, reason=reason, found="quarantined",
        status=event.outcome, at=Moment(connection).now,
    )  # fmt: skip
    return webhook_record(event)


def find_webhooks(connection: Any, query: WebhookFilter) -> list[WebhookRecord]:
    """Return events, the newest first."""
    events = Webhook.objects.using(connection.alias).order_by("-received_at", "-id")
    chosen = {"id": query.id, "outcome": query.outcome, "source": query.source, "saga_id": query.saga_id}
    events = events.filter(**{name: value for name, value in chosen.items() if value is not None})
    if query.before is not None:
        received_at, before = stored(query.before[0]), query.before[1]
        events = events.filter(Q(received_at__lt=received_at) | Q(received_at=received_at, id__lt=before))
    return [webhook_record(event) for event in events[: query.limit]]


def count_quarantined(connection: Any) -> int:
    """Return how many events are quarantined."""
    return int(Webhook.objects.using(connection.alias).filter(outcome="quarantined").count())


def prune_webhooks(connection: Any, before: datetime, ignored_before: datetime, limit: int) -> int:
    """Delete old events; return how many."""
    using = connection.alias
    old = _old(connection, before, ignored_before).order_by("received_at")
    ids = list(old.values_list("pk", flat=True)[:limit])
    AuditEntry.objects.using(using).filter(saga_id__in=list(map(webhook_subject, ids))).delete()
    return Webhook.objects.using(using).filter(pk__in=ids).delete()[0]


def count_prunable_webhooks(connection: Any, before: datetime, ignored_before: datetime) -> int:
    """Return how many events are old."""
    return int(_old(connection, before, ignored_before).count())


def erase(connection: Any, saga_id: str) -> None:
    """Forget what the events said that started a run, or whose signals it took."""
    events = Webhook.objects.using(connection.alias)
    events.filter(saga_id=saga_id).update(body=None, fingerprint=ERASED)
    taken = Signal.objects.using(connection.alias).filter(taken_by=saga_id, taken_at__isnull=False)
    for name, signal_id in taken.values_list("name", "signal_id"):
        events.filter(signal=name, delivery_id=signal_id).update(body=None, fingerprint=ERASED)


def _old(connection: Any, before: datetime, ignored_before: datetime) -> Any:
    kept = Q(received_at__lt=stored(before)) & ~Q(outcome__in=("quarantined", "ignored", "delayed"))
    ignored = Q(received_at__lt=stored(ignored_before), outcome="ignored")
    return Webhook.objects.using(connection.alias).filter(kept | ignored)
