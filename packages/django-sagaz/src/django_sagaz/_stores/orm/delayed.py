"""Events whose runs start when the limits of their trigger allow it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Exists, F, OuterRef, QuerySet

from django_sagaz._stores.identity import read_store_id
from django_sagaz._stores.orm.rows import Moment, aware, stored
from django_sagaz.models import Run, StoreInfo, Webhook
from sagaz_durable.stores.delayed_starts import deadline_from
from sagaz_durable.stores.delayed_starts import start_delayed as start_in_turn
from sagaz_integration_core.contract.records import ACTIVE
from sagaz_integration_core.contract.webhooks import DELAYED_UNTIL, StartLimit

__all__ = ["count_delayed", "start_delayed"]


class _Delayed:
    """What the rules ask for."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._events = Webhook.objects.using(connection.alias)

    def now(self) -> datetime:
        return Moment(self._connection).utc

    def delayed(self, handler: str) -> list[str]:
        found = self._events.filter(outcome="delayed", handler=handler).order_by("received_at", "id")
        return list(found.values_list("saga_id", flat=True))

    def under_way(self, limit: StartLimit) -> int:
        return int(self._started(limit).filter(status__in=ACTIVE).count())

    def started_since(self, limit: StartLimit, since: datetime) -> int:
        return int(self._started(limit).filter(created_at__gt=stored(since)).count())

    def start_now(self, saga_id: str, moment: datetime) -> None:
        runs = Run.objects.using(self._connection.alias).filter(pk=saga_id)
        delayed = runs.filter(status="pending", available_at=stored(DELAYED_UNTIL))
        for run in delayed.select_for_update().only("deadline"):
            at, deadline = stored(moment), deadline_from(aware(run.deadline), moment)
            due = None if deadline is None else stored(deadline)
            runs.update(available_at=at, created_at=at, updated_at=at, deadline=due, version=F("version") + 1)
        self._events.filter(saga_id=saga_id, outcome="delayed").update(outcome="started")

    def _started(self, limit: StartLimit) -> QuerySet[Run]:
        events = self._events.filter(saga_id=OuterRef("saga_id"), handler=limit.handler, outcome="started")
        runs = Run.objects.using(self._connection.alias).filter(saga_name=limit.saga_name)
        return runs.filter(Exists(events))


def start_delayed(connection: Any, limit: StartLimit) -> int:
    """Start the runs of a trigger's delayed events as far as there is room; return how many."""
    # Whoever else does so waits here until this transaction has ended. It is changed, not only locked, and before
    # anything is read: with REPEATABLE READ, what is read first decides what is seen.
    lock = StoreInfo.objects.using(connection.alias).filter(key="store_id")
    if not lock.update(value=F("value")):
        # ``flush`` has deleted it.
        read_store_id(connection)
        lock.update(value=F("value"))
    return start_in_turn(_Delayed(connection), limit)


def count_delayed(connection: Any) -> int:
    """Return how many events are delayed."""
    return int(Webhook.objects.using(connection.alias).filter(outcome="delayed").count())
