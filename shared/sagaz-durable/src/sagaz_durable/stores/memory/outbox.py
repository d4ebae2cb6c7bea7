"""Events in dictionaries; those of one saga leave in the order in which they came."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count, islice

from sagaz_integration_core.contract.events import EventFilter, EventOutcome, NewEvent, OutboxRecord

__all__ = ["Outbox"]


class Outbox:
    """All events of a store.

    Args:
        keep_sent: How many sent events are kept; beyond it those that were sent first are forgotten.
    """

    def __init__(self, keep_sent: int) -> None:
        self._keep_sent = keep_sent
        self._ids = count(1)
        self._events: dict[int, OutboxRecord] = {}
        self._by_event_id: dict[str, int] = {}
        self._by_saga: dict[str, list[int]] = defaultdict(list)
        # Those that wait, and those that were sent, each in their order.
        self._pending: dict[int, None] = {}
        self._sent: dict[int, None] = {}

    def add(self, event: NewEvent, moment: datetime) -> bool:
        """Take an event in, unless it is there already."""
        if event.event_id in self._by_event_id:
            return False
        id_ = self._by_event_id[event.event_id] = next(self._ids)
        self._events[id_] = OutboxRecord(
            id_, event.event_id, event.key, event.topic, event.payload, event.headers, "pending", 0, None, moment,
            moment, None,
        )  # fmt: skip
        self._by_saga[event.key].append(id_)
        self._pending[id_] = None
        return True

    def count_waiting(self) -> tuple[int, datetime | None]:
        """Return how many events were set aside, and when the oldest of those that are to be sent was made."""
        dead = sum(event.status == "dead" for event in self._events.values())
        return dead, min((self._events[id_].created_at for id_ in self._pending), default=None)

    def lease(self, limit: int, moment: datetime, seconds: float) -> list[OutboxRecord]:
        """Lease the events to publish next, at most one of each saga."""
        oldest: dict[str, int] = {}
        for id_ in self._pending:
            oldest.setdefault(self._events[id_].saga_id, id_)
        due = sorted((self._due(id_), id_) for id_ in oldest.values() if self._due(id_) <= moment)
        for _, id_ in due[:limit]:
            self._events[id_] = replace(self._events[id_], available_at=moment + timedelta(seconds=seconds))
        return [self._events[id_] for _, id_ in due[:limit]]

    def settle(self, outcome: EventOutcome, moment: datetime) -> None:
        """Record what became of an event."""
        event = self._events.get(outcome.id)
        if event is None or event.status == "sent" or (event.status == "dead" and outcome.status != "sent"):
            return
        pending, sent = outcome.status == "pending", outcome.status == "sent"
        self._events[event.id] = replace(
            event,
            status=outcome.status,
            error=None if sent else outcome.error or event.error,
            attempts=event.attempts + outcome.charged,
            available_at=moment + timedelta(seconds=outcome.delay) if pending else None,
            sent_at=moment if sent else None,
        )
        if not pending:
            self._pending.pop(event.id, None)
        if sent:
            self._sent[event.id] = None
            self._forget(islice(self._sent, max(0, len(self._sent) - self._keep_sent)))

    def find(self, query: EventFilter) -> Iterator[OutboxRecord]:
        """Yield the events that match, the oldest first."""
        wanted = None if query.event_ids is None else set(query.event_ids)
        for event in self._events.values():
            if (
                event.id > query.after
                and (not query.statuses or event.status in query.statuses)
                and query.topic in (None, event.topic)
                and query.saga_id in (None, event.saga_id)
                and (wanted is None or event.event_id in wanted)
            ):
                yield event

    def retry(self, event_id: str, moment: datetime) -> bool:
        """Make a dead event pending again."""
        event = self._events.get(self._by_event_id.get(event_id, 0))
        if event is None or event.status != "dead":
            return False
        self._events[event.id] = replace(event, status="pending", attempts=0, available_at=moment)
        # It is older than those of its saga that came meanwhile.
        self._pending = dict.fromkeys(sorted([*self._pending, event.id]))
        return True

    def prune(self, before: datetime, limit: int) -> int:
        """Forget events that were sent before a time; return how many."""
        old = [id_ for id_ in self._sent if (sent_at := self._events[id_].sent_at) and sent_at < before][:limit]
        self._forget(old)
        return len(old)

    def forget_sent(self, saga_id: str) -> None:
        """Forget a deleted run's events, but for those that still wait or were set aside."""
        self._forget(id_ for id_ in self._by_saga.get(saga_id, ()) if id_ in self._sent)

    def has_unsent(self, saga_id: str) -> bool:
        """Whether events of a run wait or were set aside."""
        return any(id_ not in self._sent for id_ in self._by_saga.get(saga_id, ()))

    def empty_sent(self, saga_id: str) -> None:
        """Erase what the sent events of a run told."""
        for id_ in self._by_saga.get(saga_id, ()):
            if id_ in self._sent:
                self._events[id_] = replace(self._events[id_], payload="{}", headers="{}")

    def _due(self, id_: int) -> datetime:
        event = self._events[id_]
        return event.available_at or event.created_at

    def _forget(self, ids: Iterator[int] | list[int]) -> None:
        for id_ in list(ids):
            event = self._events.pop(id_)
            del self._by_event_id[event.event_id], self._sent[id_]
            self._by_saga[event.saga_id].remove(id_)
            if not self._by_saga[event.saga_id]:
                del self._by_saga[event.saga_id]
