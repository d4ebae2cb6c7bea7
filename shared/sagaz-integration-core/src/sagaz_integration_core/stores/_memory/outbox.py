"""Events in dictionaries; those of one saga leave in the order in which they came."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count

from sagaz_integration_core.protocols import EventWrite, OutboxRecord

__all__ = ["Outbox"]


class Outbox:
    """All events of a store."""

    def __init__(self) -> None:
        self._ids = count(1)
        self._events: dict[int, OutboxRecord] = {}
        self._by_event_id: dict[str, int] = {}
        self._by_saga: dict[str, list[int]] = defaultdict(list)
        self._pending: dict[int, datetime] = {}
        """When each event that waits is due, in the order in which they came."""

    def add(self, saga_id: str, event: EventWrite, moment: datetime) -> None:
        """Take an event in, unless it is there already."""
        if event.event_id in self._by_event_id:
            return
        id_ = self._by_event_id[event.event_id] = next(self._ids)
        self._events[id_] = OutboxRecord(
            id_, event.event_id, saga_id, event.topic, event.payload, event.headers, "pending", 0, None, moment
        )
        self._by_saga[saga_id].append(id_)
        self._pending[id_] = moment

    def lease(self, limit: int, moment: datetime, seconds: float) -> list[OutboxRecord]:
        """Lease the events to publish next, at most one of each saga."""
        oldest: dict[str, int] = {}
        for id_ in self._pending:
            oldest.setdefault(self._events[id_].saga_id, id_)
        due = sorted((self._pending[id_], id_) for id_ in oldest.values() if self._pending[id_] <= moment)
        for _, id_ in due[:limit]:
            self._pending[id_] = moment + timedelta(seconds=seconds)
            self._events[id_] = replace(self._events[id_], attempts=self._events[id_].attempts + 1)
        return [self._events[id_] for _, id_ in due[:limit]]

    def sent(self, id_: int, *, keep: bool) -> None:
        """Note that an event was published; ``keep`` it as long as its run is there."""
        if id_ not in self._events:
            return
        self._pending.pop(id_, None)
        if keep:
            self._events[id_] = replace(self._events[id_], status="sent", error=None)
        else:
            self._forget(id_)

    def failed(self, id_: int, error: str, due: datetime, *, dead: bool) -> None:
        """Note that an event could not be published, and is to be tried again or set aside."""
        if id_ not in self._pending:
            return
        self._events[id_] = replace(self._events[id_], error=error, status="dead" if dead else "pending")
        if dead:
            del self._pending[id_]
        else:
            self._pending[id_] = due

    def saga_of(self, id_: int) -> str | None:
        """Return whose event it is."""
        event = self._events.get(id_)
        return None if event is None else event.saga_id

    def forget_sent(self, saga_id: str) -> None:
        """Forget a deleted run's events, but for those that still wait or were set aside."""
        for id_ in list(self._by_saga.get(saga_id, ())):
            if self._events[id_].status == "sent":
                self._forget(id_)

    def _forget(self, id_: int) -> None:
        event = self._events.pop(id_)
        del self._by_event_id[event.event_id]
        self._by_saga[event.saga_id].remove(id_)
        if not self._by_saga[event.saga_id]:
            del self._by_saga[event.saga_id]
