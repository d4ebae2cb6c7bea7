"""What the command for events does beneath its options, in every framework; it returns what to print."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from sagaz_durable.cli.render_runs import time_text
from sagaz_durable.cli.runs import LISTED, Format
from sagaz_durable.cli.said import Said
from sagaz_durable.problem_types import EVENT_NOT_SET_ASIDE, references
from sagaz_durable.redaction import masked, secret_keys
from sagaz_durable.serialization.client_ids import findable
from sagaz_integration_core.contract.events import EventFilter, EventStatus, EventStore, OutboxRecord
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.error_text import json_text, visible
from sagaz_integration_core.errors import SettingsError

__all__ = ["EventsRequest", "answer"]

logger = logging.getLogger(__name__)

_PAGE = 500
_LISTED: tuple[EventStatus, ...] = ("pending", "dead")


@record
class EventsRequest:
    """What the command was given."""

    event_ids: Sequence[str] = ()
    statuses: tuple[EventStatus, ...] = ()
    topic: str | None = None
    key: str | None = None
    limit: int | None = None
    payload: bool = False
    retry: bool = False
    every: bool = False
    by: str = ""
    dry_run: bool = False
    output: Format = "text"

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            SettingsError: Saying what.
        """
        if not self.retry:
            if self.every or self.dry_run:
                raise SettingsError("--all and --dry-run say how to retry; add --retry, or leave them out.")
            return
        if bool(self.event_ids) == self.every:
            raise SettingsError("Name the events by their event_id, or say --all for all that match; one of the two.")
        if self.event_ids and (self.topic is not None or self.key is not None):
            raise SettingsError("--topic and --key choose among all events; leave them out, or say --all.")
        if self.statuses:
            raise SettingsError("Only events that were set aside can be retried; leave out --status.")
        if self.limit is not None or self.payload:
            word = "--payload" if self.limit is None else "--limit"
            raise SettingsError(f"{word} is about events that are listed; leave it out, or --retry.")

    @property
    def query(self) -> EventFilter:
        """Which events it is about."""
        named = tuple(self.event_ids) or None
        statuses = self.statuses or (() if named else _LISTED)
        return EventFilter(statuses, self.topic, self.key, named, self.limit or LISTED)


async def answer(store: EventStore, request: EventsRequest, *, redact_keys: Sequence[str] = ()) -> Said:
    """List events, or retry them.

    Args:
        redact_keys: The setting of that name.

    Raises:
        SettingsError: What was asked for contradicts itself.
    """
    request.check()
    if not findable(request.topic, request.key, *request.event_ids):
        raise SettingsError("An id, a topic or a key has characters that no text has; expected Unicode without NUL.")
    return await _retry(store, request) if request.retry else await _list(store, request, secret_keys(redact_keys))


async def _list(store: EventStore, request: EventsRequest, is_secret: Callable[[str], bool]) -> Said:
    events = await store.find_events(request.query)
    shown = [(event, _values(event, is_secret) if request.payload else {}) for event in events]
    if request.output == "json":
        return Said(json_text([_row(event) | values for event, values in shown], indent=2))
    lines = [visible(line) for event, values in shown for line in _lines(event, values)]
    if len(events) == request.query.limit and (more := await store.count_events(request.query) - len(events)) > 0:
        lines.append(f"… and {more} more; see --limit.")
    return Said("\n".join(lines) or "No events.")


async def _retry(store: EventStore, request: EventsRequest) -> Said:
    found = await _dead(store, request)
    event_ids = [event.event_id for event in found]
    retried: list[str] = []
    for first in range(0, 0 if request.dry_run else len(event_ids), _PAGE):
        retried += await store.retry_events(event_ids[first : first + _PAGE])
    for event_id in retried:
        who = visible(request.by, 255)
        logger.info("Event %s, which was set aside, is published again at the word of %s.", visible(event_id), who)
    done = event_ids if request.dry_run else retried
    refused = [event_id for event_id in dict.fromkeys([*request.event_ids, *event_ids]) if event_id not in set(done)]
    if request.output == "json":
        kind = EVENT_NOT_SET_ASIDE.address if refused else None
        told = {"retried": done, "refused": refused, "dry_run": request.dry_run, "type": kind}
        return Said(json.dumps(told, indent=2), not refused)
    verb = "would be published again" if request.dry_run else "is due again"
    lines = [f"{event_id}  {verb}" for event_id in done]
    lines += [f"{event_id}  refused: no event with this id is set aside" for event_id in refused]
    lines += references([EVENT_NOT_SET_ASIDE] if refused else [])
    return Said("\n".join(map(visible, lines)) or "No events were set aside.", not refused)


async def _dead(store: EventStore, request: EventsRequest) -> list[OutboxRecord]:
    """Return all that is to be retried, read before the first is: one that fails again must not be met twice."""
    query = replace(request.query, statuses=("dead",), limit=_PAGE)
    found: list[OutboxRecord] = []
    while page := await store.find_events(query):
        found += page
        query = replace(query, after=page[-1].id)
    return found


def _lines(event: OutboxRecord, values: dict[str, Any]) -> list[str]:
    head = f"{time_text(event.created_at)}  {event.status:<7}  {event.event_id}  {event.topic}  of {event.saga_id}"
    if event.attempts:
        head += f"  {event.attempts} attempts"
    head = f"{head}: {event.error}" if event.error else head
    return [head, *(f"    {name} {json_text(value)}" for name, value in values.items())]


def _row(event: OutboxRecord) -> dict[str, Any]:
    row = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(event).items()}
    del row["payload"], row["headers"]
    return row


def _values(event: OutboxRecord, is_secret: Callable[[str], bool]) -> dict[str, Any]:
    headers = {name: value for name, value in json.loads(event.headers).items() if not name.startswith("__")}
    return {"payload": masked(json.loads(event.payload), is_secret), "headers": masked(headers, is_secret)}
