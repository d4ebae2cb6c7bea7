"""sagaz's ``OutboxStorage`` interface over a store, so that unmodified sagaz code can write and publish its events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sagaz.core.outbox.types import OutboxEvent, OutboxStatus
from sagaz.core.storage.interfaces.outbox import OutboxStorage, OutboxStorageError

from sagaz_durable._upstream.broker_messages import from_event, to_event
from sagaz_durable.serialization import codec
from sagaz_durable.settings.wording import NEUTRAL, Wording
from sagaz_integration_core.contract.events import EventFilter, EventOutcome, EventStore, OutboxRecord
from sagaz_integration_core.error_text import storable

__all__ = ["StoreOutboxStorage"]

_PAGE = 500


class StoreOutboxStorage(OutboxStorage):
    """The outbox of a store: what is inserted here is published by the store's workers, or by sagaz's own.

    A claim is a lease, which ends by itself, so that there are no stuck events. Within a saga events are handed out in
    order, one after the other.

    Args:
        store: An open store; it is closed by whoever opened it.
        claim_seconds: How long a claimed event is nobody else's; sagaz's own default for that.
        backoff_seconds: The pause after the first failed publication; it doubles, up to five minutes.
        max_bytes: The most that a payload may measure.
        wording: How the setting that says so is spelled.
    """

    def __init__(
        self,
        store: EventStore,
        *,
        claim_seconds: float = 300.0,
        backoff_seconds: float = 1.0,
        max_bytes: int = 1_048_576,
        wording: Wording = NEUTRAL,
    ) -> None:
        self._store = store
        self._claim_seconds = claim_seconds
        self._backoff_seconds = backoff_seconds
        self._max_bytes = max_bytes
        self._wording = wording

    def _encoded(self, value: Mapping[str, Any], what: str) -> str:
        return codec.encode_payload(value, what, max_bytes=self._max_bytes, wording=self._wording)

    async def insert(self, event: OutboxEvent, connection: Any | None = None) -> OutboxEvent:
        """Insert an event, once for each event_id; with ``connection`` it is part of that one's transaction.

        Raises:
            OutboxStorageError: Its payload or headers cannot be kept faithfully.
            TransactionRequired, WrongDatabase: The connection cannot carry the event.
        """
        try:
            self._encoded(event.headers, "the event's headers")
            payload = self._encoded(event.payload, "the event's payload")
        except ValueError as error:
            raise OutboxStorageError(str(error)) from error
        new = from_event(event, payload)
        if connection is None:
            await self._store.insert_events([new])
        else:
            from sagaz_durable.transactions.sessions import join_events

            await join_events(connection, self._store, [new])
        return event

    async def get_by_id(self, event_id: str) -> OutboxEvent | None:
        """Return one event."""
        found = await self._store.find_events(EventFilter(event_ids=(event_id,)))
        return to_event(found[0]) if found else None

    async def update_status(
        self, event_id: str, status: OutboxStatus, error_message: str | None = None, connection: Any | None = None
    ) -> OutboxEvent:
        """Record what became of an event; one that failed is due again after a pause.

        Raises:
            OutboxStorageError: There is no such event, or ``connection`` was given: outcomes are recorded alone.
        """
        if connection is not None:
            raise OutboxStorageError("An event's status is not part of another transaction; leave out connection=.")
        found = await self._store.find_events(EventFilter(event_ids=(event_id,)))
        if not found:
            raise OutboxStorageError(f"There is no event {event_id}.")
        outcome = self._outcome(found[0], status, error_message)
        if outcome is not None:
            await self._store.settle_events([outcome])
        event = await self.get_by_id(event_id)
        if event is None:
            raise OutboxStorageError(f"Event {event_id} was deleted meanwhile.")
        event.status = status
        return event

    def _outcome(self, record: OutboxRecord, status: OutboxStatus, error: str | None) -> EventOutcome | None:
        text = None if error is None else storable(error)
        if status is OutboxStatus.SENT:
            return EventOutcome(record.id, "sent")
        if status is OutboxStatus.DEAD_LETTER:
            return EventOutcome(record.id, "dead", text)
        if status is OutboxStatus.FAILED:
            # sagaz's worker says next whether it is pending again or dead; nobody takes it before.
            return EventOutcome(record.id, "pending", text, self._claim_seconds, charged=True)
        if status is OutboxStatus.PENDING:
            # That worker itself does not pause.
            pause = self._backoff_seconds * 2 ** min(record.attempts - 1, 30) if record.attempts else 0.0
            return EventOutcome(record.id, "pending", text, min(pause, 300.0))
        return None

    async def claim_batch(
        self, worker_id: str, batch_size: int = 100, older_than_seconds: float = 0.0
    ) -> list[OutboxEvent]:
        """Lease events to publish, at most the oldest pending one of each saga."""
        records = await self._store.due_events(batch_size, self._claim_seconds)
        oldest = datetime.now(UTC) - timedelta(seconds=older_than_seconds)
        young = [record for record in records if older_than_seconds and record.created_at > oldest]
        if young:
            await self._store.settle_events([EventOutcome(record.id, "pending") for record in young])
        events = [to_event(record) for record in records if record not in young]
        for event in events:
            event.status, event.worker_id, event.claimed_at = OutboxStatus.CLAIMED, worker_id, datetime.now(UTC)
        return events

    async def get_events_by_saga(self, saga_id: str) -> list[OutboxEvent]:
        """Return all events of a saga, oldest first."""
        return [to_event(record) async for record in self._all(EventFilter(saga_id=saga_id))]

    async def get_stuck_events(self, claimed_older_than_seconds: float = 300.0) -> list[OutboxEvent]:
        """Return nothing: a claim ends by itself."""
        return []

    async def release_stuck_events(self, claimed_older_than_seconds: float = 300.0) -> int:
        """Release nothing: a claim ends by itself."""
        return 0

    async def get_pending_count(self) -> int:
        """Return how many events wait, leased ones among them."""
        return await self._store.count_events(EventFilter(statuses=("pending",)))

    async def get_dead_letter_events(self, limit: int = 100) -> list[OutboxEvent]:
        """Return events that were set aside, oldest first."""
        return [to_event(record) for record in await self._store.find_events(EventFilter(("dead",), limit=limit))]

    async def count(self) -> int:
        """Return how many events there are."""
        return await self._store.count_events(EventFilter())

    async def export_all(self) -> AsyncIterator[dict[str, Any]]:
        """Yield all events, oldest first, as sagaz writes them."""
        async for record in self._all(EventFilter()):
            yield to_event(record).to_dict()

    async def import_record(self, record: dict[str, Any]) -> None:
        """Insert an event that another storage exported; what was sent or set aside there is kept so."""
        event = OutboxEvent.from_dict(record)
        await self.insert(event)
        if event.status in (OutboxStatus.SENT, OutboxStatus.DEAD_LETTER):
            await self.update_status(event.event_id, event.status, record.get("last_error"))

    async def archive_events(self, older_than_days: int = 30, statuses: list[OutboxStatus] | None = None) -> int:
        """Delete events that were sent so many days ago; others are not archived.

        Raises:
            OutboxStorageError: Another status than SENT was asked for.
        """
        if statuses not in (None, [OutboxStatus.SENT]):
            raise OutboxStorageError("Only sent events are archived; those set aside need manual intervention.")
        before, total = datetime.now(UTC) - timedelta(days=older_than_days), 0
        while deleted := await self._store.prune_events(before, _PAGE):
            total += deleted
        return total

    async def _all(self, query: EventFilter) -> AsyncIterator[OutboxRecord]:
        after = 0
        while page := await self._store.find_events(
            EventFilter(query.statuses, query.topic, query.saga_id, query.event_ids, _PAGE, after)
        ):
            for record in page:
                yield record
            after = page[-1].id
